/** What every kind of fence must do, against its real resource. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openList, type FencedList } from '../fixtures/fences/resources.ts';
import { until } from '../support/cluster.ts';

const program = join(import.meta.dirname, '../fixtures/fences/appender.ts');

interface Appender {
  /** The next line that it says. */
  next(): Promise<Record<string, unknown>>;
  child: ChildProcess;
}

/** `place()` names an empty resource of the kind, the same one until the next test. */
export function fenceConformance(kind: string, place: () => string): void {
  const lists: FencedList[] = [];
  const children: ChildProcess[] = [];
  async function open(owner?: string): Promise<FencedList> {
    const list = await openList(kind, place(), owner);
    lists.push(list);
    return list;
  }
  function start(fence: bigint, ...words: string[]): Appender {
    const child = spawn(process.execPath, [program, kind, place(), String(fence), ...words], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return {
      child,
      async next() {
        const { value, done } = await lines.next();
        assert(!done, 'the process ended without a word');
        return JSON.parse(value) as Record<string, unknown>;
      },
    };
  }
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    await Promise.all(lists.splice(0).map(list => list.close()));
  });

  const fencedBy = (fence: string) => ({ name: 'HoldfastError', code: 'HF_FENCED', details: { fence } });

  it('refuses writes of an owner once a newer one has taken over, and says whose fence it holds', async () => {
    const [older, newer] = [await open(), await open()];
    await older.install(1n);
    await older.append(1n, 'first');
    await newer.install(2n);
    await assert.rejects(older.append(1n, 'late'), fencedBy('2'));
    await newer.append(2n, 'second');
    assert.deepEqual(await newer.read(), ['first', 'second']);
  });

  it('refuses to install a fence that it has seen, or one below', async () => {
    const list = await open();
    await list.install(10n);
    for (const fence of [10n, 9n, 1n]) await assert.rejects(list.install(fence), fencedBy('10'));
    await list.append(10n, 'still its own');
  });

  it('lets the same owner install its fence again, and nobody else', async () => {
    const list = await open('one');
    await list.install(10n);
    await (await open('one')).install(10n);
    await assert.rejects((await open('two')).install(10n), fencedBy('10'));
    await assert.rejects((await open()).install(10n), fencedBy('10'));
    await assert.rejects(list.install(9n), fencedBy('10'));
    await list.append(10n, 'still its own');
  });

  it('compares fences beyond 2^53 exactly, up to 2^63 - 1', async () => {
    const list = await open();
    const edge = 2n ** 53n;
    for (const fence of [9n, 10n, edge, edge + 1n, 2n ** 63n - 2n, 2n ** 63n - 1n]) {
      await list.install(fence);
      await assert.rejects(list.install(fence - 1n), fencedBy(String(fence)));
      await assert.rejects(list.append(fence - 1n, 'late'), fencedBy(String(fence)));
      await list.append(fence, String(fence));
    }
    await assert.rejects(list.install(2n ** 63n), RangeError);
    await assert.rejects(list.install(0n), RangeError);
  });

  it('refuses writes under a fence that nobody has installed', async () => {
    const list = await open();
    await assert.rejects(list.append(1n, 'x'), fencedBy('0'));
    await list.install(1n);
    await assert.rejects(list.append(2n, 'x'), fencedBy('1'));
  });

  it('lets no write of an older owner in, and loses none, while owners race', async function () {
    this.timeout(60_000);
    const looker = await open();
    const appenders: Appender[] = [];
    const owners = [1n, 2n, 3n, 4n];
    const found: number[] = [];
    for (const fence of owners) {
      appenders.push(start(fence));
      found.push((await appenders.at(-1)!.next())['found'] as number);
      await until(`fence ${fence} appends`, async () => {
        const entries = await looker.read();
        return entries.filter(entry => entry.startsWith(`${fence}:`)).length >= 20;
      });
    }
    await looker.install(5n);
    const ends = await Promise.all(appenders.map(appender => appender.next()));
    const entries = await looker.read();
    for (const [index, fence] of owners.entries()) {
      const { code, acknowledged } = ends[index]!;
      assert.equal(code, 'HF_FENCED');
      // What it had been told is what there is, one after the other; and it began with all that was before.
      const expected = Array.from({ length: acknowledged as number }, (_, n) => `${fence}:${n + 1}`);
      assert.deepEqual(entries.splice(0, expected.length), expected);
      if (index > 0)
        assert.equal(found[index], found[index - 1]! + (ends[index - 1]!['acknowledged'] as number));
    }
    assert.deepEqual(entries, []);
  });

  it('refuses a writer that was frozen in the middle of its write and wakes under a newer owner', async function () {
    this.timeout(60_000);
    const frozen = start(1n, 'freeze');
    await frozen.next();
    const { pid } = frozen.child;
    await until('it is frozen', async () =>
      / T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/\(.*\)/, '')),
    );
    const newer = await open();
    await newer.install(2n);
    assert.deepEqual(await newer.read(), ['1:1', '1:2']);
    await newer.append(2n, '2:1');
    frozen.child.kill('SIGCONT');
    const end = await frozen.next();
    assert.equal(end['acknowledged'], 2);
    await newer.append(2n, '2:2');
    assert.deepEqual(await newer.read(), ['1:1', '1:2', '2:1', '2:2']);
  });
}
