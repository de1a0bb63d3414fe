/** What a manager sees of nodes that hang, die, come and go, or run short of something. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { steady, stepFlapping, type FlappingRule } from '#node-manager';
import { zipOf } from './fake-node.ts';
import { copyCounts, createCluster, secret, until, type Cluster } from './running-manager.ts';

const rule: FlappingRule = { lossesMax: 3, windowMs: 1_000, holdMs: 500 };

describe('flapping', () => {
  /** Looks at these times, `true`: it answered. */
  const after = (...looks: [number, boolean][]) =>
    looks.reduce((state, [atMs, ready]) => stepFlapping(state, ready, atMs, rule), steady);

  it('is what a node does that was lost several times within the window, until it was steady for a while', () => {
    const twice: [number, boolean][] = [
      [0, true],
      [10, false],
      [20, true],
      [30, false],
      [40, true],
    ];
    assert.equal(after(...twice).flapping, false);
    assert.equal(after(...twice, [50, false]).flapping, true);
    assert.equal(after(...twice, [50, false], [60, true], [559, true]).flapping, true);
    assert.equal(after(...twice, [50, false], [60, true], [560, true]).flapping, false);
    assert.equal(
      after(...twice, [50, false], [60, true], [500, false], [600, true], [1_000, true]).flapping,
      true,
    );
    // One that stays away is dead, and does not become steady by that.
    assert.equal(after(...twice, [50, false], [9_000, false]).flapping, true);
    // Losses that lie far apart do not count together.
    assert.equal(after(...twice, [1_200, false]).flapping, false);
  });

  it('begins and ends exactly by the rule, however often one looks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 400 }), fc.boolean()), { maxLength: 60 }),
        steps => {
          let state = steady;
          let nowMs = 0;
          const losses: number[] = [];
          for (const [passedMs, ready] of steps) {
            nowMs += passedMs;
            const before = state;
            state = stepFlapping(state, ready, nowMs, rule);
            if (!ready && before.readySinceMs !== null) losses.push(nowMs);
            if (state.flapping && !before.flapping) {
              assert(losses.filter(atMs => nowMs - atMs < rule.windowMs).length >= rule.lossesMax);
            }
            if (!state.flapping && before.flapping) {
              assert(ready && before.readySinceMs !== null && nowMs - before.readySinceMs >= rule.holdMs);
            }
            assert.deepEqual(stepFlapping(state, ready, nowMs, rule), state);
          }
        },
      ),
    );
  });

  it('can be turned off', () => {
    let state = steady;
    for (let look = 0; look < 100; look++) {
      state = stepFlapping(state, look % 2 === 0, look, { ...rule, lossesMax: 0 });
      assert.equal(state.flapping, false);
    }
  });
});

describe('a manager that looks at its nodes', function () {
  this.timeout(30_000);
  let cluster: Cluster;
  afterEach(() => cluster.stop());

  async function clusterWith(nodeCount: number, instances: number): Promise<void> {
    const one = { id: 'one', packageName: 'app', instances };
    cluster = await createCluster(nodeCount, { componentInstances: [one] as never });
    await fetch(`${cluster.nodes[0]!.uri()}/api/node/packages`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/zip' },
      body: new Uint8Array(zipOf('app', '1.0.0')),
    });
  }
  const settled = (counts: number[]) =>
    until(
      () => copyCounts(cluster, 'one'),
      seen => JSON.stringify(seen) === JSON.stringify(counts),
    );

  it('goes on with all others while one hangs, and gives that up when its time is over', async () => {
    await clusterWith(3, 3);
    const { client } = await cluster.start({ nodeTimeoutMs: 300, deadAfterMs: 1_500 });
    await settled([1, 1, 1]);
    const [hung, other] = cluster.nodes;
    const release = Promise.withResolvers<void>();
    const stop = new AbortController();
    const told: unknown[] = [];
    const listening = (async () => {
      for await (const event of client.events(stop.signal)) {
        if (event.type === 'node' && event.nodeName === 'node-1') told.push(event.state);
      }
    })().catch(() => {}); // aborted
    hung!.hanging = release.promise;
    try {
      await until(
        () => told.length,
        count => count > 0,
      );
      // What happens elsewhere is seen to meanwhile.
      other!.crash(other!.processes[0]!.processId);
      await until(
        () => copyCounts(cluster, 'one'),
        counts => counts[1]! > 0,
      );
      await until(
        () => copyCounts(cluster, 'one'),
        ([, second, third]) => second! + third! === 3,
      );
      await until(
        () => told.length,
        count => count > 1,
      );
      assert.deepEqual(told, ['suspect', 'dead']);
    } finally {
      release.resolve();
      hung!.hanging = null;
    }
    await until(
      () => client.nodes(),
      nodes => nodes[0]!.state === 'ready',
    );
    stop.abort();
    await listening;
  });

  it('shows and tells what a node is short of', async () => {
    await clusterWith(2, 2);
    const { client } = await cluster.start();
    await settled([1, 1]);
    const pressure = [{ kind: 'disk' as const, message: 'out of disk: 1 MiB of 9 MiB are free' }];
    cluster.nodes[1]!.pressure = pressure;
    const look = async () => {
      await client.sync();
      return client.nodes();
    };
    const nodes = await until(look, seen => seen[1]!.pressure.length > 0);
    assert.deepEqual([nodes[0]!.pressure, nodes[1]!.pressure, nodes[1]!.state], [[], pressure, 'ready']);
    cluster.nodes[1]!.pressure = [];
    await until(look, seen => seen[1]!.pressure.length === 0);
  });

  it('says of a node that comes and goes that it does, and trusts it again when it has been steady', async () => {
    await clusterWith(2, 2);
    const { client } = await cluster.start({
      flapLosses: 2,
      flapWindowMs: 60_000,
      flapHoldMs: 500,
      deadAfterMs: 60_000,
    });
    await settled([1, 1]);
    const stateOf = async () => (await client.nodes())[1]!;
    for (let round = 0; round < 2; round++) {
      await cluster.nodes[1]!.close();
      await until(stateOf, node => node.state === 'suspect' && node.flapping === (round === 1));
      await cluster.nodes[1]!.listen();
      await until(stateOf, node => node.state === 'ready');
    }
    await until(stateOf, node => !node.flapping);
  });
});
