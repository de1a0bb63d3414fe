/** Three machines with one Redis, as `docs/operator.md` tells a user to make them. The steps build on each other. */
import assert from 'node:assert/strict';
import { until } from '../support/cluster.ts';
import { createMachines, type MachineCluster } from '../support/machines.ts';
import { lacksNetworks, type Machine } from '../support/netns.ts';
import { hasRedis } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { stepByStep } from '../support/step-by-step.ts';

const ttlMs = 2_000;

describe('three machines on Redis', function () {
  this.timeout(120_000);
  stepByStep();
  let cluster: MachineCluster;
  let m1: Machine;
  let m2: Machine;
  let m3: Machine;

  before(async function () {
    const reason = hasRedis() ? lacksNetworks() : 'redis-server is not installed';
    if (reason) skipLoudly(this, reason);
    cluster = await createMachines(['m1', 'm2', 'm3'], { sessionTtlMs: ttlMs, holdMs: 10_000 });
    [m1, m2, m3] = cluster.network.machines as [Machine, Machine, Machine];
    await Promise.all([cluster.startNode(m1), cluster.startNode(m2)]);
  });
  after(() => cluster?.dispose());

  async function ask(router: Machine, key: string): Promise<{ node: string; fence: string }> {
    const response = await fetch(`${cluster.routerUri(router)}${key}`, {
      signal: AbortSignal.timeout(15_000),
    });
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()) as { node: string; fence: string };
  }
  async function runs(copies: number): Promise<void> {
    await until(`${copies} copies of everything`, async () => {
      const { instances } = await cluster.status();
      return (
        instances.length === 2 &&
        instances.every(({ running, live }) => running === copies && live === copies)
      );
    });
  }

  it('are made by `holdfast node` on each and one `holdfast bootstrap`, which says whom it did not reach', async () => {
    assert.equal((await cluster.coordination(m2)).source, 'default');
    const { code, output } = await cluster.bootstrap(m1);
    assert.equal(code, 0, output);
    assert.match(output, new RegExp(`not reached: ${cluster.nodeUri(m3)}`));
    assert.match(output, /the node manager runs as m1-/);
    for (const machine of [m1, m2]) {
      const seen = await cluster.coordination(machine);
      assert.equal(seen.source, 'assigned');
      assert.equal(seen.reachable, true);
      assert.deepEqual(seen.endpoints, [`${cluster.network.gateway}:${cluster.redis.port}/0`]);
    }
    await runs(2);
    await ask(m1, '/keep/a');
    assert.equal((await ask(m2, '/keep/a')).node, (await ask(m1, '/keep/a')).node);
  });

  it('may be bootstrapped again', async () => {
    const { code, output } = await cluster.bootstrap(m1);
    assert.equal(code, 0, output);
  });

  it('grow by one that is started later, with no further command', async () => {
    await cluster.startNode(m3);
    await until('it has the store', async () => (await cluster.coordination(m3)).source === 'assigned');
    await runs(3);
    const owners = new Set<string>();
    for (let index = 0; index < 12; index++) owners.add((await ask(m3, `/keep/k${index}`)).node);
    assert.deepEqual([...owners].sort(), ['m1', 'm2', 'm3']);
  });

  it('serve the keys of one that is cut off after the time of a session, and take it back', async () => {
    const keys = Array.from({ length: 12 }, (_, index) => `/keep/k${index}`);
    const before = await Promise.all(keys.map(async key => [key, await ask(m1, key)] as const));
    await cluster.network.isolate(m3);
    for (const [key, { node, fence }] of before) {
      const now = await ask(m1, key);
      assert.notEqual(now.node, 'm3');
      if (node === 'm3') assert(BigInt(now.fence) > BigInt(fence), key);
      else assert.deepEqual({ node: now.node, fence: now.fence }, { node, fence }, key);
    }
    await cluster.network.heal();
    await runs(3);
    await until('it sees the store', async () => (await cluster.coordination(m3)).reachable);
    await until('it answers through its own router', async () => (await ask(m3, '/keep/k0')).node);
  });

  it('keep their store when a node is killed and started again, and its hosts', async () => {
    const before = (await cluster.processes(m2)).map(({ processId }) => processId).sort();
    await cluster.killNode(m2);
    await cluster.startNode(m2);
    assert.equal((await cluster.coordination(m2)).source, 'assigned');
    const after = await until('it has its hosts', async () => {
      const found = await cluster.processes(m2);
      return found.length === before.length && found.every(({ state }) => state === 'Running') ? found : null;
    });
    assert.deepEqual(after.map(({ processId }) => processId).sort(), before);
  });
});
