/** The loop of a running manager: what a plan shows is what is done, one run at a time, and everybody sees how far it is. */
import assert from 'node:assert/strict';
import type { ActionProgress } from '#core';
import { zipOf } from './fake-node.ts';
import { copyCounts, createCluster, secret, until, type Cluster } from './running-manager.ts';

const app = (id: string, instances: number) => ({ id, packageName: 'app', instances });

const isStuck = ({ type, state, target }: ActionProgress) =>
  type === 'start' && state === 'running' && target.endsWith('node-2');

describe('reconciliation', function () {
  this.timeout(30_000);
  let cluster: Cluster;
  afterEach(() => cluster.stop());

  async function clusterWith(nodeCount: number, instances: object[]): Promise<void> {
    cluster = await createCluster(nodeCount, { componentInstances: instances as never });
    await fetch(`${cluster.nodes[0]!.uri()}/api/node/packages`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/zip' },
      body: new Uint8Array(zipOf('app', '1.0.0')),
    });
  }
  const settled = (id: string, counts: number[]) =>
    until(
      () => copyCounts(cluster, id),
      seen => JSON.stringify(seen) === JSON.stringify(counts),
    );

  it('does exactly what the plan showed, and then plans nothing', async () => {
    await clusterWith(3, [app('one', 3), app('two', 3)]);
    const { client } = await cluster.start();
    await settled('one', [1, 1, 1]);
    await settled('two', [1, 1, 1]);
    await client.pauseReconciliation();
    cluster.nodes[1]!.crash(cluster.nodes[1]!.processes[0]!.processId);
    const document = { ...cluster.document, componentInstances: [app('one', 3), app('three', 2)] };
    await client.putSettings(JSON.stringify(document));
    const { actions: planned } = await until(
      () => client.plan(),
      // Two of `two` or three are stopped, whichever crashed; two of `three` are started.
      plan => plan.actions.filter(action => action.type === 'start').length >= 2,
    );
    assert.deepEqual((await client.plan()).actions, planned);

    const stop = new AbortController();
    const done: { target: unknown; reason: unknown }[] = [];
    const listening = (async () => {
      for await (const event of client.events(stop.signal)) {
        if (event.type === 'action') done.push({ target: event.target, reason: event.reason });
      }
    })().catch(() => {}); // aborted
    await client.resumeReconciliation();
    await until(
      () => client.plan(),
      plan => plan.actions.length === 0,
    );
    await until(
      () => done.length,
      count => count >= planned.length,
    );
    stop.abort();
    await listening;
    const words = (items: readonly { target: unknown; reason: unknown }[]) =>
      items.map(({ target, reason }) => `${String(target)}: ${String(reason)}`).sort();
    assert.deepEqual(words(done), words(planned));
    assert.deepEqual((await client.sync()).actions, []);
  });

  it('shows the run under way with every action, its reason and its state; one run at a time', async () => {
    await clusterWith(2, [app('one', 2)]);
    const release = Promise.withResolvers<void>();
    let inside = 0;
    let most = 0;
    cluster.nodes[1]!.onStart = async () => {
      most = Math.max(most, ++inside);
      await release.promise;
      inside -= 1;
    };
    try {
      const { client } = await cluster.start();
      const busy = await until(
        () => client.syncStatus(),
        status => status.actions.some(isStuck),
      );
      const start = busy.actions.find(isStuck)!;
      assert.match(start.target, /^one\/[01]\/[0-9a-f]{12} on node-2$/);
      assert.equal(start.reason, 'it is missing');
      assert.notEqual(start.startedAt, null);
      // However often it is asked for, what is under way is not begun again.
      await Promise.all([client.sync(), client.sync(), client.sync()]);
      assert.equal(most, 1);
      release.resolve();
      const over = await until(
        () => client.syncStatus(),
        status => status.running === null && status.actions.every(({ state }) => state !== 'running'),
      );
      assert.deepEqual(
        over.actions.filter(({ state }: ActionProgress) => state === 'failed' || state === 'waiting'),
        [],
      );
      await settled('one', [1, 1]);
      assert.equal(most, 1);
    } finally {
      release.resolve();
    }
  });
});
