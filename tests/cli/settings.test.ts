import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { SettingsRevision } from '#core';
import { createCluster, secret, type Cluster, type RunningManager } from '../node-manager/running-manager.ts';
import { holdfast, makeFolder, type Folder } from './helpers.ts';

describe('holdfast settings', function () {
  this.timeout(60_000);
  let cluster: Cluster;
  let running: RunningManager;
  let folder: Folder;

  before(async () => {
    cluster = await createCluster(1);
    running = await cluster.start();
    folder = makeFolder();
    folder.write({ token: secret });
  });
  after(async () => {
    folder[Symbol.dispose]();
    await cluster.stop();
  });

  const run = (...words: string[]) =>
    holdfast(
      ['settings', ...words, '--uri', running.client.uri, '--token-file', join(folder.path, 'token')],
      { cwd: folder.path },
    );
  const write = (name: string, more: object) =>
    writeFileSync(join(folder.path, name), `// mine\n${JSON.stringify({ ...cluster.document, ...more })}\n`);

  it('puts a file, keeps its comments, and tells what differs', async () => {
    write('a.json', { syncIntervalMs: 20_000 });
    const differs = await run('diff', 'a.json');
    assert.equal(differs.stdout, '+ $.syncIntervalMs: 20000\n');
    const put = await run('put', 'a.json');
    assert.deepEqual([put.code, put.stdout], [0, '+ $.syncIntervalMs: 20000\n']);
    assert.equal((await run('get')).stdout, readFileSync(join(folder.path, 'a.json'), 'utf8'));
    assert.match((await run('put', 'a.json')).stdout, /^nothing changed/);
    write('b.json', { syncIntervalMs: 30_000 });
    assert.equal((await run('put', 'b.json', '--if-match', '"old"')).code, 1);
    assert.equal((await run('put', 'b.json')).code, 0);
  });

  it('lists who changed them, shows a revision, and what differs between two', async () => {
    const listed = JSON.parse((await run('history', '--json')).stdout) as SettingsRevision[];
    assert.deepEqual(
      listed.map(one => one.revision),
      [3, 2, 1],
    );
    assert(listed[0]!.updatedBy.startsWith(`api: ${userInfo().username}@`), listed[0]!.updatedBy);
    assert.match((await run('history')).stdout, /^REVISION +WHEN +SIZE +WHO +ETAG\n3 /);
    assert.equal((await run('show', '2')).stdout, readFileSync(join(folder.path, 'a.json'), 'utf8'));
    assert.match(
      (await run('diff')).stdout,
      /^from revision 2 .*\nto revision 3 .*\n~ \$\.syncIntervalMs: 20000 → 30000\n$/,
    );
    assert.match((await run('diff', '--from', '3', '--to', '1')).stdout, /- \$\.syncIntervalMs: 30000/);
    const nobody = await run('show', '99');
    assert.deepEqual([nobody.code, nobody.stderr.split(':')[0]], [1, 'HF_NOT_FOUND']);
  });

  it('undoes', async () => {
    const undone = await run('undo');
    assert.equal(undone.stdout, 'the settings are revision 4 now\n~ $.syncIntervalMs: 30000 → 20000\n');
    assert.equal((await run('undo', '--to', '1', '--json')).code, 0);
    assert.equal((await running.client.settings()).text, await cluster.readFile());
  });

  it('answers wrong words with 2', async () => {
    for (const words of [
      ['show', 'first'],
      ['undo', '--to', '0'],
      ['diff', 'a.json', '--to', '1'],
      ['put', 'none.json'],
    ]) {
      assert.equal((await run(...words)).code, 2, words.join(' '));
    }
  });
});
