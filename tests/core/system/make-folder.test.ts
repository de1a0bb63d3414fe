import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeFolder } from '#core';
import { skipLoudly } from '../../support/skip-loudly.ts';

describe('making a folder', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'holdfast-folder-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('makes what is missing, open to nobody else, also when many ask at once', async () => {
    const path = join(root, 'a/b/c');
    await Promise.all(Array.from({ length: 20 }, () => makeFolder(path)));
    assert.equal((await stat(path)).mode & 0o777, 0o700);
    assert.equal((await stat(join(root, 'a'))).mode & 0o777, 0o700);
    await makeFolder(path);
  });

  it('refuses a name that something else has', async () => {
    await writeFile(join(root, 'file'), '');
    await assert.rejects(makeFolder(join(root, 'file')), { code: 'ENOTDIR' });
    await assert.rejects(makeFolder(join(root, 'file/below')), { code: 'ENOTDIR' });
  });

  it('comes to an end where nothing can be made', async function () {
    if (process.platform !== 'linux') skipLoudly(this, 'it looks into /proc, which only Linux has');
    await assert.rejects(makeFolder('/proc/holdfast'), { code: 'ENOENT' });
    await assert.rejects(makeFolder('/proc/holdfast/state'), { code: 'ENOENT' });
  });

  it('is made once by many who need it, whatever is missing above it', async () => {
    for (let round = 0; round < 50; round++) {
      const above = join(root, `round-${round}`, 'a');
      await Promise.all(
        [above, join(above, 'b'), join(above, 'b', 'c'), join(above, 'd')].map(path => makeFolder(path)),
      );
    }
  });
});
