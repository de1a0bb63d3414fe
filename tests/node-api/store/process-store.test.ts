import { strict as assert } from 'node:assert';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openProcessStore } from '../../../node-api/store/process-store.ts';

const log = { warn() {} };

describe('node API: process store', () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hf-store-'));
    path = join(folder, 'processes.json');
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const onDisk = async () => JSON.parse(await readFile(path, 'utf8')) as { leaders: Record<string, unknown> };
  const leader = { incarnation: 'i', fence: '1', former: [] };

  it('has on disk, for its user only, what was saved', async () => {
    const store = await openProcessStore(path, log);
    store.document.leaders.a = leader;
    await store.save();
    assert.deepEqual((await onDisk()).leaders, { a: leader });
    assert.equal((await stat(path)).mode & 0o777, 0o600);
  });

  it('resolves each save only when a write that began after it is done', async () => {
    const store = await openProcessStore(path, log);
    const checks = Array.from({ length: 20 }, async (_, index) => {
      store.document.leaders[`c${index}`] = leader;
      await store.save();
      assert.ok(`c${index}` in (await onDisk()).leaders);
    });
    await Promise.all(checks);
    await store.settled();
  });

  it('takes the generation before when the last one is damaged or is not ours', async () => {
    const store = await openProcessStore(path, log);
    store.document.leaders.a = leader;
    await store.save();
    store.document.leaders.b = leader;
    await store.save();
    for (const broken of ['', '{"format":1', '{"format":1,"hosts":[]}', '[]']) {
      await writeFile(path, broken);
      const problems: object[] = [];
      const again = await openProcessStore(path, { warn: facts => problems.push(facts) });
      assert.deepEqual(Object.keys(again.document.leaders), ['a']);
      assert.equal(problems.length, 1);
    }
  });

  it('refuses to forget: neither the file nor its backup usable', async () => {
    await writeFile(path, 'x');
    await assert.rejects(openProcessStore(path, log), { code: 'HF_STATE_UNUSABLE' });
  });
});
