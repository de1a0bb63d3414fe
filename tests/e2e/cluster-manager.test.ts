/**
 * Four machines in namespaces of their own, two node managers, one Redis: what a cluster manager is for, one thing after the other and under load. The
 * steps build on each other.
 */
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MasterInstance, MasterNode, MasterStatus, ProcessInfo } from '#core';
import { until } from '../support/cluster.ts';
import { ledgerPackage, startLedgerClients, type LedgerReport } from '../support/ledger.ts';
import { createMachines, type MachineCluster } from '../support/machines.ts';
import { makePackage } from '../support/make-package.ts';
import { lacksNetworks, type Machine } from '../support/netns.ts';
import { hasRedis } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { stepByStep } from '../support/step-by-step.ts';

const leaseTtlMs = 2_000;
const keys = Array.from({ length: 80 }, (_, index) => `/ledger/k${index}`);

describe('four machines and two node managers', function () {
  this.timeout(180_000);
  stepByStep();
  let cluster: MachineCluster;
  let machines: Machine[];
  let shared: string;
  /** What clients have written, over all steps. */
  const written = new Map<string, string[]>();

  before(async function () {
    const reason = hasRedis() ? lacksNetworks() : 'redis-server is not installed';
    if (reason) skipLoudly(this, reason);
    cluster = await createMachines(
      ['m1', 'm2', 'm3', 'm4'],
      {
        managers: 2,
        sessionTtlMs: 2_000,
        holdMs: 10_000,
        componentPackages: [{ name: 'ledger', version: '1.0.0', packagePath: 'ledger.zip' }],
        componentInstances: [
          {
            id: 'node-manager',
            packageName: 'node-manager',
            settings: {
              host: '0.0.0.0',
              leaseTtlMs,
              livenessMs: 500,
              nodeTimeoutMs: 1_000,
              deadAfterMs: 4_000,
              rebalanceThreshold: 0.1,
            },
          },
          {
            id: 'router',
            packageName: 'router',
            instances: 'perNode',
            settings: { host: '0.0.0.0', port: 8000 },
          },
        ],
        routes: [],
      },
      { later: ['m4'], packages: { 'ledger.zip': ledgerPackage('1.0.0') } },
    );
    machines = [...cluster.network.machines];
    shared = join(cluster.directory, 'shared');
    await mkdir(shared);
    await Promise.all(machines.map(machine => cluster.startNode(machine)));
    const { code, output } = await cluster.bootstrap(machines[0]!);
    assert.equal(code, 0, output);
    await cluster.editSettings(document => {
      document.componentInstances.push({
        id: 'ledgers',
        packageName: 'ledger',
        packageVersion: '1.0.0',
        instances: 6,
        settings: { directory: shared },
        update: { healthyAfterMs: 300 },
      });
      document.routes.push({ pathPrefix: '/ledger', componentInstanceId: 'ledgers' });
    });
    await runs('ledgers', 6);
  });
  after(() => cluster?.dispose());

  const machine = (name: string) => cluster.network.machine(name);
  const status = async () => (await (await cluster.master('/api/master')).json()) as MasterStatus;
  const node = async (name: string) => (await status()).nodes.find(one => one.networkName === name)!;

  function runs(
    id: string,
    copies: number,
    more: (found: MasterInstance) => boolean = () => true,
  ): Promise<MasterInstance> {
    return until(
      `${copies} copies of ${id} run`,
      async () => {
        const found = (await status()).instances.find(one => one.id === id);
        return found?.running === copies && found.live === copies && more(found) ? found : null;
      },
      90_000,
    );
  }

  async function copiesOn(name: string, id: string): Promise<ProcessInfo[]> {
    const all = await cluster.processes(machine(name));
    return all.filter(one => one.settingsId?.startsWith(`${id}/`) && one.state === 'Running');
  }

  /** Through the routers of these machines. */
  async function underLoad(routers: string[], change: () => Promise<void>): Promise<LedgerReport> {
    const uris = routers.map(name => cluster.routerUri(machine(name)));
    const clients = startLedgerClients(uris, keys, { written, workers: 4 });
    await clients.more(keys.length);
    await change();
    await clients.more(keys.length);
    const report = await clients.stop();
    assert.deepEqual(report.problems, []);
    console.error(
      `      ${report.total} requests, p99 ${report.p99Ms} ms, longest ${report.longestMs} ms, none failed`,
    );
    return report;
  }

  async function upload(zip: Buffer, method: 'POST' | 'PUT'): Promise<void> {
    const response = await cluster.master('/api/master/packages', {
      method,
      headers: { 'content-type': 'application/zip' },
      body: new Uint8Array(zip),
    });
    assert.equal(response.status, 201, await response.text());
  }

  it('have a second manager, which is on another machine and answers that it does not lead', async () => {
    const seen = await until('two managers', async () => {
      const { managers } = await status();
      const addresses = new Set(managers.map(manager => manager.address));
      return managers.length === 2 && addresses.size === 2 ? managers : null;
    });
    assert.equal(new Set(seen.map(manager => manager.nodeName)).size, 2);
    const standby = seen.find(manager => !manager.leads)!;
    const refused = await fetch(`${standby.address}/api/master/sync`, {
      method: 'POST',
      headers: { authorization: `Bearer ${cluster.token}` },
    });
    assert.equal(refused.status, 503);
    const body = (await refused.json()) as { code: string; details: { leader: string } };
    assert.equal(body.code, 'HF_NOT_LEADER');
    assert.equal(body.details.leader, seen.find(manager => manager.leads)!.address);
  });

  it('run a package everywhere that was uploaded once', async () => {
    await upload(watcherPackage(), 'POST');
    await cluster.editSettings(document => {
      document.componentInstances.push({ id: 'watchers', packageName: 'watcher', instances: 'perNode' });
    });
    const found = await runs('watchers', 3);
    assert.deepEqual(found.nodes, ['m1', 'm2', 'm3']);
  });

  it('give a fourth its packages, its share of the copies and of the keys, under load', async () => {
    await underLoad(['m1', 'm2'], async () => {
      await cluster.editSettings(
        document => void document.nodeServers.push(cluster.nodeServer(machine('m4'))),
      );
      const everywhere = await runs('watchers', 4);
      assert.deepEqual(everywhere.nodes, ['m1', 'm2', 'm3', 'm4']);
      await until(
        'it has its share of the copies',
        async () => (await copiesOn('m4', 'ledgers')).length >= 1 && (await runs('ledgers', 6)),
        60_000,
      );
      await until(
        'it owns keys',
        async () => {
          const response = await cluster.master('/api/master/resources?instance=ledgers&limit=1000');
          const owned = (await response.json()) as { owner: { nodeName: string } }[];
          return owned.some(({ owner }) => owner.nodeName === 'm4');
        },
        60_000,
      );
    });
  });

  it('are drained of one under load without a failed request, and get it back', async () => {
    await underLoad(['m1', 'm4'], async () => {
      const drained = await cluster.master('/api/master/nodes/m2/drain', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ deadlineMs: 60_000 }),
      });
      assert(drained.ok, await drained.text());
      await until(
        'nothing of the ledgers is left there',
        async () => (await copiesOn('m2', 'ledgers')).length === 0,
        60_000,
      );
      await runs('ledgers', 6, found => !found.nodes.includes('m2'));
      assert.equal((await node('m2')).maintenance?.state, 'draining');
    });
    const undrained = await cluster.master('/api/master/nodes/m2/undrain', { method: 'POST' });
    assert(undrained.ok, await undrained.text());
    await runs('watchers', 4);
  });

  it('take a bad version back by themselves, while the old one goes on serving', async () => {
    await underLoad(['m1', 'm3'], async () => {
      await upload(badLedger('1.0.1'), 'PUT');
      await until(
        'it was rolled back',
        async () => {
          const list = (await (await cluster.master('/api/master/deployments?instance=ledgers')).json()) as {
            state: string;
            to: { packageVersion: string };
          }[];
          return list.some(({ state, to }) => state === 'rolled-back' && to.packageVersion === '1.0.1');
        },
        90_000,
      );
      await runs('ledgers', 6, found => found.versions['1.0.0'] === 6);
    });
  });

  it('finish a rolling update whose leader is killed in the middle', async () => {
    await underLoad(['m3', 'm4'], async () => {
      const before = (await cluster.leader())!;
      await upload(ledgerPackage('1.1.0'), 'PUT');
      await until('it has begun', async () => {
        const found = (await status()).instances.find(one => one.id === 'ledgers')!;
        return (found.versions['1.1.0'] ?? 0) >= 1 && (found.versions['1.0.0'] ?? 0) >= 1;
      });
      const [manager] = await copiesOn(before.name, 'node-manager');
      process.kill(manager!.pid!, 'SIGKILL');
      await runs('ledgers', 6, found => found.versions['1.1.0'] === 6);
      await until('it says that it succeeded', async () => {
        const list = (await (await cluster.master('/api/master/deployments?instance=ledgers')).json()) as {
          state: string;
          to: { packageVersion: string };
        }[];
        return list.some(({ state, to }) => state === 'succeeded' && to.packageVersion === '1.1.0');
      });
    });
  });

  it('go on with scheduled work elsewhere when the node that did it dies, each run fenced', async () => {
    await upload(tickPackage(), 'POST');
    await cluster.editSettings(document => {
      document.componentInstances.push({
        id: 'ticks',
        packageName: 'tick',
        settings: { file: join(shared, 'ticks') },
        job: { cron: '* * * * * *', retries: 3 },
      });
    });
    const lines = async () =>
      (await readFile(join(shared, 'ticks'), 'utf8').catch(() => ''))
        .split('\n')
        .slice(0, -1)
        .map(line => JSON.parse(line) as { node: string; fence: string; runId: string; attempt: number });
    const some = await until('it ran', async () => ((await lines()).length >= 2 ? lines() : null), 60_000);
    const leader = (await cluster.leader())!;
    // Not the leader's own: that is another step.
    const victim =
      some.at(-1)!.node === leader.name ? machines.find(one => one !== leader)! : machine(some.at(-1)!.node);
    const count = (await lines()).length;
    await cluster.network.isolate(victim);
    await until('it is given up', async () => (await node(victim.name)).state === 'dead', 60_000);
    await until('the others go on', async () => (await lines()).length >= count + 3, 60_000);
    await cluster.network.heal();
    await until('it is back', async () => (await node(victim.name)).state === 'ready', 60_000);
    const all = await lines();
    for (const [index, { fence }] of all.entries()) {
      if (index > 0) assert(BigInt(fence) > BigInt(all[index - 1]!.fence), JSON.stringify(all));
    }
    // What the lost node did and could not tell is tried again, as another attempt.
    assert.equal(
      new Set(all.map(({ runId, attempt }) => `${runId} ${attempt}`)).size,
      all.length,
      JSON.stringify(all),
    );
    await cluster.editSettings(document => {
      document.componentInstances = document.componentInstances.filter(({ id }) => id !== 'ticks');
    });
    await runs('ledgers', 6);
  });

  it('serve every key while the leader and its node are on the wrong side of a partition, and run nothing twice afterwards', async () => {
    const leader = (await cluster.leader())!;
    const others = machines.filter(one => one !== leader);
    const clients = startLedgerClients([cluster.routerUri(others[0]!)], keys, { written, workers: 4 });
    await clients.more(keys.length);
    await clients.stop();
    await cluster.network.isolate(leader);
    const next = await until('another leads', async () => {
      const found = await cluster.leader();
      return found && found !== leader ? found : null;
    });
    assert.notEqual(next.name, leader.name);
    const seen: MasterNode = await until('the node is given up', async () => {
      const found = await node(leader.name);
      return found.state === 'dead' ? found : null;
    });
    assert.match(seen.problem ?? '', /HF_NODE_UNREACHABLE/);
    await underLoad([others[0]!.name, others[1]!.name], async () => {
      await runs('ledgers', 6, found => !found.nodes.includes(leader.name));
    });
    await cluster.network.heal();
    await until('the node is back', async () => (await node(leader.name)).state === 'ready', 60_000);
    await runs('ledgers', 6);
    await runs('watchers', 4);
    await until('two managers, one of which leads', async () => {
      const { managers } = await status();
      return managers.length === 2 && managers.filter(manager => manager.leads).length === 1;
    });
    // The sum over the agents themselves, not what a manager believes; one that is being moved is there twice for a moment.
    await until(
      'six copies on all of them',
      async () => {
        const counts = await Promise.all(
          machines.map(async one => (await copiesOn(one.name, 'ledgers')).length),
        );
        return counts.reduce((sum, count) => sum + count, 0) === 6;
      },
      60_000,
    );
    await underLoad(
      machines.map(one => one.name),
      async () => {},
    );
  });

  it('have nothing left to do', async () => {
    await until(
      'a plan without an action',
      async () => {
        const { actions } = (await (await cluster.master('/api/master/plan')).json()) as {
          actions: unknown[];
        };
        return actions.length === 0;
      },
      60_000,
    );
    const outcome = (await (await cluster.master('/api/master/sync', { method: 'POST' })).json()) as {
      actions: unknown[];
    };
    assert.deepEqual(outcome.actions, []);
  });
});

function component(packageName: string, packageVersion: string, code: string): Buffer {
  return makePackage(
    { packageName, packageVersion, kind: 'component', contentRoot: 'content', main: 'index.js' },
    { 'content/index.js': code },
  );
}

function watcherPackage(): Buffer {
  return component('watcher', '1.0.0', 'export default () => ({ async start() {}, async stop() {} });');
}

function badLedger(version: string): Buffer {
  return component(
    'ledger',
    version,
    'export default () => ({ async start() { throw new Error("it is bad"); }, async stop() {} });',
  );
}

function tickPackage(): Buffer {
  return component(
    'tick',
    '1.0.0',
    `
    import { appendFileSync } from 'node:fs';
    export default context => ({
      async start() {},
      async stop() {},
      async run({ runId, attempt, fence, assertCurrent }) {
        assertCurrent();
        appendFileSync(context.settings.file, JSON.stringify({ node: context.nodeName, fence: String(fence), runId, attempt }) + '\\n');
      },
    });`,
  );
}
