import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { FOLDER_LOCK_FILES, isRunning, lockFolder, processIdentity, type HoldfastError } from '#core';

const fixture = join(import.meta.dirname, '../../fixtures/core/holds-folder.ts');

/** A process that locks when it is told to. */
interface Holder {
  child: ChildProcess;
  /** Resolves to its answer. */
  tell(command: 'lock' | 'release' | 'forget' | 'child'): Promise<string>;
  /** Resolves when it has ended. */
  end(): Promise<void>;
}

describe('folder lock', () => {
  let root: string;
  let folder: string;
  const holders: Holder[] = [];
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'holdfast-lock-'));
    folder = join(root, 'folder');
    await mkdir(folder);
  });
  afterEach(async () => {
    for (const holder of holders.splice(0)) await holder.end();
    await rm(root, { recursive: true });
  });

  async function startHolder(): Promise<Holder> {
    const child = spawn(process.execPath, ['--expose-gc', fixture, folder], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout });
    const next = async () => ((await once(lines, 'line')) as [string])[0];
    const holder = {
      child,
      async tell(command: string) {
        const answer = next();
        child.stdin.write(`${command}\n`);
        return answer;
      },
      async end() {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      },
    };
    holders.push(holder);
    assert.equal(await next(), 'ready');
    return holder;
  }
  const startHolders = (count: number) => Promise.all(Array.from({ length: count }, startHolder));

  function refusal(directory = folder): HoldfastError {
    try {
      lockFolder(directory).release();
    } catch (error) {
      return error as HoldfastError;
    }
    assert.fail('it was not refused');
  }

  it('is held by one at a time, also within a process, and free after its release', async () => {
    await symlink(folder, join(root, 'alias'));
    const other = await startHolder();
    const lock = lockFolder(folder);
    for (const directory of [folder, join(root, 'alias')]) {
      const { code, message, details } = refusal(directory);
      assert.equal(code, 'HF_ALREADY_RUNNING');
      assert.match(message, new RegExp(`this very process \\(pid ${process.pid}\\)`));
      assert.deepEqual(details, { directory, pid: process.pid });
    }
    assert.equal(await other.tell('lock'), 'HF_ALREADY_RUNNING', 'a refusal does not lose the lock');
    lock.release();
    lock.release();
    assert.equal(await other.tell('lock'), 'locked');
    lock.release();
    assert.match(refusal().message, new RegExp(`another process \\(pid ${other.child.pid}\\)`));
    assert.equal(await other.tell('release'), 'released');
    lockFolder(folder).release();
  });

  it('leaves files for its user only, and no owner after a release', async () => {
    const lock = lockFolder(folder);
    assert.deepEqual((await readdir(folder)).sort(), [...FOLDER_LOCK_FILES].sort());
    for (const name of FOLDER_LOCK_FILES) {
      assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
    }
    lock.release();
    assert.deepEqual(await readdir(folder), ['.lock']);
    assert.equal((await stat(join(folder, '.lock'))).size, 0);
  });

  it('goes to exactly one of many that try at once, and at once to another when that one is killed', async () => {
    const left = new Set(await startHolders(8));
    while (left.size > 0) {
      const racers = [...left];
      const outcomes = await Promise.all(racers.map(racer => racer.tell('lock')));
      const winners = racers.filter((_, index) => outcomes[index] === 'locked');
      assert.equal(winners.length, 1, outcomes.join());
      assert.equal(outcomes.filter(outcome => outcome === 'HF_ALREADY_RUNNING').length, racers.length - 1);
      await winners[0]!.end();
      left.delete(winners[0]!);
    }
  }).timeout(60_000);

  it('goes to exactly one, again and again, when it is released in between', async () => {
    const racers = await startHolders(4);
    for (let round = 0; round < 50; round++) {
      const outcomes = await Promise.all(racers.map(racer => racer.tell('lock')));
      assert.equal(outcomes.filter(outcome => outcome === 'locked').length, 1, outcomes.join());
      await Promise.all(racers.map(racer => racer.tell('release')));
    }
  }).timeout(60_000);

  it('is free as soon as its owner was killed, though a child of that lives on', async () => {
    const holder = await startHolder();
    const before = Number(await holder.tell('child'));
    assert.equal(await holder.tell('lock'), 'locked');
    const after = Number(await holder.tell('child'));
    const children = [before, after].map(pid => processIdentity(pid)!);
    try {
      await holder.end();
      const lock = lockFolder(folder);
      assert.ok(children.every(isRunning));
      lock.release();
    } finally {
      for (const { pid } of children) process.kill(pid, 'SIGKILL');
    }
  });

  it('stays with an owner that is frozen, or that has forgotten it', async () => {
    const holder = await startHolder();
    assert.equal(await holder.tell('lock'), 'locked');
    assert.equal(await holder.tell('forget'), 'forgotten');
    assert.equal(refusal().code, 'HF_ALREADY_RUNNING');
    holder.child.kill('SIGSTOP');
    assert.equal(refusal().code, 'HF_ALREADY_RUNNING');
  });

  it('tells whether the owner before had come to its end', async () => {
    const take = () => {
      const lock = lockFolder(folder);
      return { abandoned: lock.abandoned, release: lock.release };
    };
    const first = take();
    assert.equal(first.abandoned, false);
    first.release();
    const holder = await startHolder();
    assert.equal(await holder.tell('lock'), 'locked');
    await holder.end();
    const second = take();
    assert.equal(second.abandoned, true);
    second.release({ abandoned: true });
    const third = take();
    assert.equal(third.abandoned, true, 'handed on by one that did nothing about it');
    third.release();
    assert.equal(take().abandoned, false);
  });

  it('names no stranger: not a process that is gone, nor one with a reused pid, nor what is torn', async () => {
    const holder = await startHolder();
    assert.equal(await holder.tell('lock'), 'locked');
    const { startTime } = processIdentity(process.pid)!;
    for (const stale of [
      JSON.stringify({ pid: 4_194_305, startTime: '1' }),
      JSON.stringify({ pid: process.pid, startTime: `${startTime}0` }),
      '{"pid":',
      'null',
    ]) {
      await writeFile(join(folder, '.lock-owner'), stale);
      const { code, message, details } = refusal();
      assert.equal(code, 'HF_ALREADY_RUNNING');
      assert.match(message, /in use by another process; stop it/);
      assert.equal(details['pid'], null);
    }
  });

  it('says what is wrong with a folder that cannot be locked', async () => {
    await writeFile(join(root, 'file'), '');
    await mkdir(join(root, 'odd/.lock'), { recursive: true });
    await mkdir(join(root, 'full'));
    await writeFile(join(root, 'full/.lock'), 'x'.repeat(4096));
    await mkdir(join(root, 'owned/.lock-owner'), { recursive: true });
    for (const name of ['missing', 'file', 'odd', 'full', 'owned']) {
      const { code, message } = refusal(join(root, name));
      assert.equal(code, 'HF_STATE_UNUSABLE', message);
      assert.ok(message.startsWith(join(root, name)), message);
    }
    await rm(join(root, 'owned/.lock-owner'), { recursive: true });
    lockFolder(join(root, 'owned')).release();
  });
});
