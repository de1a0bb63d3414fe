import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Low } from 'lowdb';
import { createDurableAdapter } from '#package-manager';

describe('durable lowdb adapter', () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
    path = join(folder, 'state.json');
  });
  afterEach(() => rm(folder, { recursive: true }));

  const write = async (...values: number[]) => {
    const adapter = createDurableAdapter<{ value: number }>(path);
    for (const value of values) await adapter.write({ value });
  };
  const read = () => createDurableAdapter<{ value: number }>(path).read();

  it('reads null when there is nothing yet', async () => {
    assert.equal(await read(), null);
  });

  it('keeps the generation before as a backup, both private to the user', async () => {
    await write(1, 2, 3);
    assert.deepEqual(await read(), { value: 3 });
    assert.deepEqual(JSON.parse(await readFile(`${path}.backup`, 'utf8')), { value: 2 });
    assert.deepEqual((await readdir(folder)).sort(), ['state.json', 'state.json.backup']);
    for (const name of await readdir(folder))
      assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600);
  });

  for (const [title, content] of [
    ['empty', ''],
    ['blank', ' \n'],
    ['not JSON', '{"value":'],
    ['not an object', '7'],
  ] as const) {
    it(`takes the backup when the file is ${title}, says so, and keeps the broken one aside`, async () => {
      await write(1, 2);
      await writeFile(path, content);
      const problems: string[] = [];
      const adapter = createDurableAdapter<{ value: number }>(path, {
        onRecovered: problem => problems.push(problem),
      });
      assert.deepEqual(await adapter.read(), { value: 1 });
      assert.equal(problems.length, 1);
      assert.equal(await readFile(`${path}.corrupt`, 'utf8'), content);
      await adapter.write({ value: 5 });
      assert.deepEqual(await read(), { value: 5 });
      assert.deepEqual(
        JSON.parse(await readFile(`${path}.backup`, 'utf8')),
        { value: 1 },
        'the good one stays',
      );
    });
  }

  it('takes the backup when the file is missing', async () => {
    await write(1, 2);
    await rm(path);
    assert.deepEqual(await read(), { value: 1 });
  });

  it('refuses to begin anew over a broken file without backup', async () => {
    await write(1);
    await writeFile(path, '');
    await assert.rejects(read(), { code: 'HF_STATE_UNUSABLE', message: /it is empty.*backup neither/s });
    assert.equal(await readFile(path, 'utf8'), '');
  });

  it('refuses content that is not usable to its owner', async () => {
    await write(1, 2);
    const adapter = createDurableAdapter<{ value: number }>(path, {
      isUsable: value => (value as { value: number }).value === 1,
    });
    assert.deepEqual(await adapter.read(), { value: 1 });
  });

  it('carries out writes in order, and goes on after one that failed', async () => {
    const database = new Low<{ value: number }>(createDurableAdapter(path), { value: 0 });
    const writes = [1, 2, 3].map(value => {
      database.data = { value };
      return database.write();
    });
    await Promise.all(writes);
    assert.deepEqual(await read(), { value: 3 });
    const circular: { value: number; self?: unknown } = { value: 9 };
    circular.self = circular;
    const adapter = createDurableAdapter<{ value: number }>(path);
    await assert.rejects(adapter.write(circular), TypeError);
    await adapter.write({ value: 4 });
    assert.deepEqual(await read(), { value: 4 });
  });
});
