import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  configure,
  parseManifest,
  type Logger,
  type Message,
  type MessagePublisher,
  type Settings,
} from '#core';
import create from '../../../publishers/basic/main.ts';
import { skipLoudly } from '../../support/skip-loudly.ts';

const message = (number: number, content = 'text'): Message => ({
  messageId: `m-${number}`,
  source: 'databases',
  timestamp: '2026-01-01T00:00:00.000Z',
  messageType: 'test',
  content,
  properties: { number: String(number) },
});

describe('basic-publisher', () => {
  let directory: string;
  let logged: object[];
  const open: MessagePublisher[] = [];

  async function make(settings: Record<string, unknown>): Promise<MessagePublisher> {
    const manifest = parseManifest(
      await readFile(join(import.meta.dirname, '../../../publishers/basic/manifest.json'), 'utf8'),
    );
    const silent = (): void => {};
    const log: Logger = {
      debug: silent,
      warn: silent,
      error: silent,
      info: facts => void logged.push(facts),
    };
    const publisher = create({
      name: 'basic-publisher',
      instanceId: 'databases',
      processId: 'host-1',
      nodeName: 'node-1',
      settings: configure(manifest, settings) as Settings,
      log,
      dataDirectory: directory,
    });
    open.push(publisher);
    return publisher;
  }

  async function lines(file: string): Promise<unknown[]> {
    const text = await readFile(join(directory, file), 'utf8');
    assert(text.endsWith('\n'));
    return text
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as unknown);
  }

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-publisher-'));
    logged = [];
  });
  afterEach(async () => {
    for (const publisher of open.splice(0)) await publisher.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('writes each message to the log, and to no file unless asked', async () => {
    const publisher = await make({});
    await publisher.start();
    await publisher.publish(message(1));
    assert.deepEqual(logged, [{ published: message(1) }]);
  });

  it('appends each message as one line of JSON, whatever it contains', async () => {
    const publisher = await make({ log: false, file: 'out/messages.jsonl' });
    await publisher.start();
    await publisher.publish(message(1, 'two\nlines and "quotes" \u2028'));
    await publisher.publish(message(2, ''));
    assert.deepEqual(await lines('out/messages.jsonl'), [
      message(1, 'two\nlines and "quotes" \u2028'),
      message(2, ''),
    ]);
    assert.deepEqual(logged, []);
    assert.equal((await stat(join(directory, 'out/messages.jsonl'))).mode & 0o777, 0o600);
  });

  it('does not mix the lines of several publishers that share the file', async () => {
    const publishers = await Promise.all(
      [1, 2, 3].map(() => make({ log: false, file: 'm.jsonl', sync: false })),
    );
    await Promise.all(publishers.map(publisher => publisher.start()));
    const long = 'x'.repeat(20_000);
    await Promise.all(
      publishers.flatMap((publisher, index) =>
        Array.from({ length: 50 }, (_, number) => publisher.publish(message(index * 50 + number, long))),
      ),
    );
    const ids = (await lines('m.jsonl')).map(line => (line as Message).messageId);
    assert.equal(new Set(ids).size, 150);
  });

  it('keeps what an earlier run wrote', async () => {
    for (const number of [1, 2]) {
      const publisher = await make({ log: false, file: 'm.jsonl' });
      await publisher.start();
      await publisher.publish(message(number));
      await publisher.stop();
    }
    assert.deepEqual(await lines('m.jsonl'), [message(1), message(2)]);
  });

  it('begins a new file when one has grown, keeps so many old ones, and loses no line of those who share it', async () => {
    const rotate = { sizeBytes: 1_024, files: 100 };
    const publishers = await Promise.all(
      [1, 2].map(() => make({ log: false, file: 'm.jsonl', sync: false, rotate })),
    );
    await Promise.all(publishers.map(publisher => publisher.start()));
    await Promise.all(
      publishers.map(async (publisher, index) => {
        for (let number = 0; number < 40; number++) await publisher.publish(message(index * 40 + number));
      }),
    );
    const files = (await readdir(directory)).filter(name => name.startsWith('m.jsonl'));
    assert(files.length > 3, `${files.length} files`);
    const ids = (await Promise.all(files.map(lines))).flat().map(line => (line as Message).messageId);
    assert.equal(new Set(ids).size, 80);

    const few = await make({
      log: false,
      file: 'few.jsonl',
      sync: false,
      rotate: { sizeBytes: 1_024, files: 2 },
    });
    await few.start();
    for (let number = 0; number < 60; number++) await few.publish(message(number));
    const left = (await readdir(directory)).filter(name => name.startsWith('few.jsonl')).sort();
    assert.deepEqual(left, ['few.jsonl', 'few.jsonl.1', 'few.jsonl.2']);
    assert.equal((await lines('few.jsonl')).length > 0, true);
  });

  it('writes binary content as base64', async () => {
    const publisher = await make({});
    await publisher.start();
    const { content: _, ...rest } = message(1);
    await publisher.publish({ ...rest, bytes: new Uint8Array([1, 2, 3]) });
    assert.deepEqual(logged, [{ published: { ...rest, bytes: 'AQID' } }]);
  });

  it('goes stopped, started, stopped; rejects messages unless started; start and stop are idempotent', async () => {
    const publisher = await make({ file: 'm.jsonl' });
    assert.equal(publisher.state, 'stopped');
    await assert.rejects(publisher.publish(message(1)), { name: 'HoldfastError', code: 'HF_WRONG_STATE' });
    await publisher.start();
    await publisher.start();
    assert.equal(publisher.state, 'started');
    const last = publisher.publish(message(2));
    await publisher.stop();
    await last;
    await publisher.stop();
    assert.equal(publisher.state, 'stopped');
    await assert.rejects(publisher.publish(message(3)), { code: 'HF_WRONG_STATE' });
    assert.deepEqual(await lines('m.jsonl'), [message(2)]);
  });

  it('does not start on a file that it cannot write', async () => {
    const publisher = await make({ file: '.' });
    await assert.rejects(publisher.start(), { code: 'EISDIR' });
    assert.equal(publisher.state, 'stopped');
  });

  it('rejects a message that could not be written', async function () {
    const publisher = await make({ log: false, file: '/dev/full' });
    if (!existsSync('/dev/full')) skipLoudly(this, 'there is no /dev/full');
    await publisher.start();
    await assert.rejects(publisher.publish(message(1)), { code: 'ENOSPC' });
  });
});
