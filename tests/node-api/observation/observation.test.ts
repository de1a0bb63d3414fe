import { strict as assert } from 'node:assert';
import { appendFile, mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFakeSystem } from '#core';
import { createEventLog } from '../../../node-api/observation/event-log.ts';
import { limitLogs, logStreams, readLogs } from '../../../node-api/observation/log-files.ts';

describe('node API: log files', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hf-logs-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('gives the last lines of one file bare, of several under headings', async () => {
    assert.equal(await readLogs(folder, logStreams, 5), '');
    await writeFile(join(folder, 'stdout.log'), 'a\nb\nc\n');
    assert.equal(await readLogs(folder, logStreams, 2), 'b\nc\n');
    await writeFile(join(folder, 'stderr.log'), 'x');
    assert.equal(
      await readLogs(folder, logStreams, 2),
      '==> stdout.log <==\nb\nc\n\n==> stderr.log <==\nx\n',
    );
    assert.equal(await readLogs(folder, ['stderr'], 2), 'x\n');
  });

  it('reads a bounded piece of a large file, beginning with a whole line', async () => {
    await writeFile(join(folder, 'host.log'), `${'0123456789abcde\n'.repeat(400_000)}end\n`);
    const text = await readLogs(folder, ['host'], 1_000_000);
    assert.ok(text.length <= 4 * 1024 * 1024);
    assert.match(text, /^0123456789abcde\n/);
    assert.match(text, /\nend\n$/);
  });

  it('moves an overlong file aside while its writer goes on', async () => {
    const hostFolder = join(folder, 'h1');
    await mkdir(hostFolder);
    const path = join(hostFolder, 'stdout.log');
    const writer = await open(path, 'a');
    try {
      await writer.write(Buffer.alloc(11 * 1024 * 1024, 'x'));
      await limitLogs(folder);
      await writer.write('on it goes\n');
      assert.equal(await readFile(path, 'utf8'), 'on it goes\n');
      assert.equal((await stat(`${path}.1`)).size, 11 * 1024 * 1024);
      await appendFile(path, 'short\n');
      await limitLogs(folder);
      assert.match(await readFile(path, 'utf8'), /short/);
    } finally {
      await writer.close();
    }
  });

  it('keeps the end of what came too fast, and no more', async () => {
    const hostFolder = join(folder, 'h1');
    await mkdir(hostFolder);
    const path = join(hostFolder, 'stdout.log');
    await writeFile(path, `begin${'x'.repeat(60 * 1024 * 1024)}end`);
    await limitLogs(folder);
    assert.equal((await stat(path)).size, 0);
    const { size, mode } = await stat(`${path}.1`);
    assert.equal(size, 20 * 1024 * 1024);
    assert.equal(mode & 0o777, 0o600);
    assert.match((await readFile(`${path}.1`, 'utf8')).slice(-10), /xend$/);
  });
});

describe('node API: event log', () => {
  it('numbers upwards, keeps the last thousand, and repeats what came after an id', () => {
    const events = createEventLog(createFakeSystem());
    const heard: number[] = [];
    const stop = events.subscribe(({ id }) => heard.push(id));
    for (let count = 0; count < 1_200; count++) events.publish('tick', { count });
    stop();
    events.publish('tick', { count: 1_200 });
    assert.equal(heard.length, 1_200);
    const kept = events.since(0);
    assert.equal(kept.length, 1_000);
    assert.equal(kept.at(-1)?.event.count, 1_200);
    assert.deepEqual(
      events.since(kept[997]!.id).map(({ event }) => event.count),
      [1_199, 1_200],
    );
    assert.equal(events.since(Number.MAX_SAFE_INTEGER).length, 1_000);
  });
});
