import assert from 'node:assert/strict';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { zipOf } from '../node-manager/fake-node.ts';
import {
  createCluster,
  secret,
  until,
  type Cluster,
  type RunningManager,
} from '../node-manager/running-manager.ts';
import { holdfast, makeFolder, type Folder } from './helpers.ts';

describe('holdfast backup and restore', function () {
  this.timeout(60_000);
  let cluster: Cluster;
  let running: RunningManager;
  let folder: Folder;

  before(async () => {
    cluster = await createCluster(1);
    running = await cluster.start();
    folder = makeFolder();
    folder.write({ token: secret });
    await until(
      () => running.client.nodes(),
      nodes => nodes[0]?.state === 'ready',
    );
    await running.client.uploadPackage(zipOf('shop', '1.0.0'), { makeCurrent: false });
  });
  after(async () => {
    folder[Symbol.dispose]();
    await cluster.stop();
  });

  const run = (...words: string[]) =>
    holdfast([...words, '--uri', running.client.uri, '--token-file', join(folder.path, 'token')], {
      cwd: folder.path,
    });
  const files = () => readdirSync(folder.path).filter(name => name !== 'token');

  it('writes a file named after cluster and time, for its owner alone, and says what is not in it', async () => {
    const { code, stdout } = await run('backup');
    assert.equal(code, 0);
    const [name] = files();
    assert.match(name!, /^test-\d{4}-\d\d-\d\dT[\d-]+Z\.zip$/);
    assert(stdout.startsWith(`${name}: `), stdout);
    assert.match(
      stdout,
      /with settings, 1 revisions, 1 packages, 0 keys.*\nThe data of components is not in it/,
    );
    assert.equal(statSync(join(folder.path, name!)).mode & 0o777, 0o600);
    rmSync(join(folder.path, name!));
  });

  it('puts it where it is told, over an older one', async () => {
    for (let time = 0; time < 2; time++) assert.equal((await run('backup', '--output', 'b.zip')).code, 0);
    assert.deepEqual(files(), ['b.zip']);
  });

  it('tells what a restore did, and why it cannot', async () => {
    const first = await run('restore', 'b.zip');
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stdout, /^restored test as it was at .*: 1 revisions, 1 packages, 0 keys/);
    const second = await run('restore', 'b.zip');
    assert.equal(second.code, 1);
    assert.match(second.stderr, /^HF_CLUSTER_NOT_EMPTY: .*was restored from a backup at/);
    assert.equal((await run('restore', 'token')).stderr.split(':')[0], 'HF_BACKUP_INVALID');
    assert.equal((await run('restore', 'none.zip')).code, 2);
  });

  it('leaves nothing behind when it is broken off, and keeps the older file', async () => {
    rmSync(join(cluster.directory, 'data/catalog/shop@1.0.0.zip'));
    await cluster.nodes[0]!.close();
    const before = statSync(join(folder.path, 'b.zip')).ino;
    const { code, stderr } = await run('backup', '--output', 'b.zip');
    assert.equal(code, 1);
    assert.match(stderr, /^HF_UNAVAILABLE: the backup was broken off/);
    assert.deepEqual(files(), ['b.zip']);
    assert.equal(statSync(join(folder.path, 'b.zip')).ino, before);
  });
});
