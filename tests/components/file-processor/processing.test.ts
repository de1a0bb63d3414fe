import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystem, type Message } from '#core';
import { createService } from '../../../components/file-processor/service.ts';
import { contentOf, deliveryOf, makeTestContext, started } from '../../support/component-context.ts';

describe('file-processor', () => {
  let directory: string;
  let folder: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-processor-'));
    folder = join(directory, 'in');
    await mkdir(folder);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  async function processor(
    settings: Record<string, unknown> = {},
    publish?: (message: Message) => Promise<void>,
  ) {
    const context = await makeTestContext({
      component: 'file-processor',
      dataDirectory: directory,
      settings: { folder, ...settings },
      ...(publish ? { publish } : {}),
    });
    const component = createService(context, createSystem());
    await started(component);
    const send = (content: object, attempt = 1) =>
      component.onMessage!(
        {
          messageId: 'file-1',
          source: 'watcher',
          timestamp: '',
          content: JSON.stringify(content),
          properties: {},
        },
        deliveryOf(attempt),
      );
    return {
      context,
      send,
      /** Writes the file and sends what a watcher would. */
      async process(name: string, text: string, attempt = 1) {
        await writeFile(join(folder, name), text);
        const { size, mtime } = await stat(join(folder, name));
        const change = { relativePath: name, sizeBytes: size, modifiedAt: mtime.toISOString() };
        await send(change, attempt);
        return change;
      },
      rows: () => context.published.flatMap(message => contentOf(message).rows as object[]),
    };
  }

  it('reads CSV, JSON and NDJSON by their endings', async () => {
    const { process, rows } = await processor();
    await process('a.csv', '\uFEFFid,name\n1,"Ada, Countess"\n2,"a ""b""\nc"\n');
    await process('b.tsv', 'id\tname\n3\tC\n');
    await process('c.json', '[{"id": 4}, {"id": 5}]');
    await process('d.json', '{"id": 6}');
    await process('e.ndjson', '{"id": 7}\n\n{"id": 8}');
    assert.deepEqual(rows(), [
      { id: '1', name: 'Ada, Countess' },
      { id: '2', name: 'a "b"\nc' },
      { id: '3', name: 'C' },
      ...[4, 5, 6, 7, 8].map(id => ({ id })),
    ]);
  });

  it('makes rows by the mapping, in messages whose ids do not change with the attempt', async () => {
    const mapping = {
      id: { from: 'No', type: 'integer', required: true },
      name: 'Name',
      price: { type: 'number', default: 0 },
      active: { type: 'boolean' },
      source: { value: 'shop' },
    };
    const { process, send, rows, context } = await processor({ mapping, rowsPerMessage: 2, delimiter: ';' });
    const change = await process('a.csv', 'No;Name;price;active\n1;Ada;1.5;yes\n2;Bob;;no\n3;;2;\n');
    assert.deepEqual(rows(), [
      { id: 1, name: 'Ada', price: 1.5, active: true, source: 'shop' },
      { id: 2, name: 'Bob', price: 0, active: false, source: 'shop' },
      { id: 3, name: '', price: 2, active: null, source: 'shop' },
    ]);
    await send(change, 2);
    const ids = context.published.map(message => message.messageId);
    assert.deepEqual(ids, ['file-1-1', 'file-1-3', 'file-1-1', 'file-1-3']);
    assert.equal(context.published[0]!.properties.correlationId, 'file-1');
  });

  it('publishes nothing of a file with a bad row; after the last attempt it goes to the error folder, with the reason', async () => {
    const { process, send, context } = await processor({
      mapping: { id: { type: 'integer', required: true } },
      rowsPerMessage: 1,
      attemptsMax: 2,
    });
    const text = 'id\n1\nx\n';
    await assert.rejects(process('a.csv', text), /row 2: "id" is "x", but integer is expected/);
    assert.deepEqual(await readdir(folder), ['a.csv']);
    await process('a.csv', text, 2);
    assert.deepEqual(context.published, []);
    assert.deepEqual(await readdir(folder), []);
    const moved = (await readdir(join(directory, 'errors'))).sort();
    assert.equal(moved.length, 2);
    assert.equal(await readFile(join(directory, 'errors', moved[0]!), 'utf8'), text);
    const reason = JSON.parse(await readFile(join(directory, 'errors', moved[1]!), 'utf8')) as {
      reason: string;
    };
    assert.match(reason.reason, /row 2/);
    await process('b.json', '{"id": ', 2);
    await process('c.ndjson', '{"id": 1}\nnot json\n', 2);
    await process('d.unknown', '', 2);
    assert.equal((await readdir(join(directory, 'errors'))).length, 8);
    await send({ relativePath: 'gone.csv' }, 2);
    assert.equal((await readdir(join(directory, 'errors'))).length, 9);
  });

  it('what cannot be published is no fault of the file', async () => {
    const { process } = await processor({ attemptsMax: 1 }, async () => {
      throw Object.assign(new Error('full'), { code: 'HF_OUTBOX_FULL' });
    });
    await assert.rejects(process('a.csv', 'id\n1\n'), /full/);
    assert.deepEqual(await readdir(folder), ['a.csv']);
  });

  it('moves what is done, and knows it again when the message comes once more', async () => {
    const { process, send, context } = await processor({ after: 'move' });
    const change = await process('a.csv', 'id\n1\n');
    assert.deepEqual(await readdir(folder), []);
    assert.equal((await readdir(join(directory, 'done'))).length, 1);
    await send(change, 2);
    assert.equal(context.published.length, 1);
  });

  it('leaves a file that has changed since to the message about that', async () => {
    const { process, send, context } = await processor();
    const change = await process('a.csv', 'id\n1\n');
    await writeFile(join(folder, 'a.csv'), 'id\n1\n2\n');
    await send(change, 2);
    assert.equal(context.published.length, 1);
  });

  it('reads nothing outside of its folder, and no row without an end', async () => {
    const { process, send } = await processor({ rowBytesMax: 200 });
    await writeFile(join(directory, 'secret.csv'), 'id\n1\n');
    await assert.rejects(send({ relativePath: '../secret.csv' }), /not below/);
    await assert.rejects(process('long.ndjson', 'x'.repeat(500)), /rowBytesMax/);
    await assert.rejects(process('long.csv', `id\n"${'x'.repeat(500)}`), /[Ss]ize/);
  });
});
