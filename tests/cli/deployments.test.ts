import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError, type DeploymentInfo } from '#core';
import {
  createCluster,
  secret,
  until,
  type Cluster,
  type RunningManager,
} from '../node-manager/running-manager.ts';
import { makeKeeperPackage } from '../support/make-package.ts';
import { holdfast, makeFolder, type Folder } from './helpers.ts';

describe('holdfast deploy, deployments, rollback, plan and sync', function () {
  this.timeout(120_000);
  let cluster: Cluster;
  let running: RunningManager;
  let folder: Folder;

  beforeEach(async () => {
    const update = { healthyAfterMs: 50, deadlineMs: 5_000 };
    cluster = await createCluster(2, {
      componentInstances: [{ id: 'shop', packageName: 'keeper', instances: 2, update }],
      componentPackages: [{ name: 'keeper', version: '1.0.0' }],
    });
    running = await cluster.start();
    folder = makeFolder();
    folder.write({ token: secret });
  });
  afterEach(async () => {
    folder[Symbol.dispose]();
    await cluster.stop();
  });

  const run = (...words: string[]) =>
    holdfast([...words, '--uri', running.client.uri, '--token-file', join(folder.path, 'token')], {
      cwd: folder.path,
    });
  const deploy = (version: string, ...words: string[]) => {
    writeFileSync(join(folder.path, 'keeper.zip'), makeKeeperPackage(version));
    return run('deploy', 'keeper.zip', ...words);
  };

  it('follows a deploy to its end, and shows, rolls back and syncs', async () => {
    const first = await deploy('1.0.0');
    assert.equal(first.code, 0, first.stderr);
    const second = await deploy('1.1.0', '--json');
    assert.equal(second.code, 0, second.stderr);
    assert.match(
      (await run('deployments', 'list')).stdout,
      /^DEPLOYMENT .*\nshop-2 +succeeded +keeper 1\.0\.0 → 1\.1\.0/,
    );
    const listed = JSON.parse(
      (await run('deployments', 'list', '--limit', '1', '--json')).stdout,
    ) as DeploymentInfo[];
    assert.equal(listed.length, 1);
    const shown = await run('deployments', 'show', 'shop-2');
    assert.match(shown.stdout, /^shop-2\n {2}state +succeeded\n/);
    const back = await run('rollback', 'keeper');
    assert.deepEqual([back.code, back.stdout], [0, 'keeper is back at 1.0.0\n'], back.stderr);
    const none = await run('rollback', 'keeper');
    assert.equal(none.code, 1);
    assert.match(none.stderr, /^HF_ROLLBACK_IMPOSSIBLE: /);
    await until(
      () => running.client.plan(),
      ({ actions }) => actions.length === 0,
    );
    assert.match((await run('plan')).stdout, /^Nothing to do/);
    assert.deepEqual(JSON.parse((await run('plan', '--json')).stdout), { actions: [] });
    assert.equal((await run('sync')).code, 0);
    const over = await run('deployments', 'pause', 'shop-2');
    assert.equal(over.code, 1);
    assert.match(over.stderr, /^HF_WRONG_STATE: shop-2 is succeeded/);
  });

  it('ends with 1 and the reason when the version was rolled back', async () => {
    assert.equal((await deploy('1.0.0')).code, 0);
    for (const node of cluster.nodes) {
      node.onStart = (_name, request) => {
        if (request.version === '1.1.0') throw new HoldfastError('HF_START_FAILED', 'it is broken');
      };
    }
    const failed = await deploy('1.1.0');
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /the deployment failed: shop: shop-2 was rolled back: .*it is broken/);
    for (const [words, code] of [
      [['--promote-after', '10m'], 2],
      [['--canary', 'some'], 2],
      [['--canary', '1', '--promote-after', 'soon'], 2],
    ] as const) {
      assert.equal((await deploy('1.2.0', ...words)).code, code);
    }
  });
});
