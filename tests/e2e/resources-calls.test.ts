/** Components that call each other's keys, wake them later and let idle ones go, on a running cluster. */
import assert from 'node:assert/strict';
import type { ErrorBody, ResourceInfo } from '#core';
import { startCluster, until, type Cluster } from '../support/cluster.ts';
import { ledgerPackage, startLedgerClients, type LedgerView } from '../support/ledger.ts';

const idleMs = 2_000;

describe('resources that call each other, wake up and go to sleep', function () {
  this.timeout(120_000);
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster({
      nodes: 3,
      edit: document => Object.assign(document, { sessionTtlMs: 2_000, holdMs: 8_000 }),
    });
    const uploaded = await cluster.master('/api/master/packages', {
      method: 'POST',
      headers: { 'content-type': 'application/zip' },
      body: ledgerPackage(),
    });
    assert.equal(uploaded.status, 201, await uploaded.text());
    await cluster.editSettings(document => {
      for (const id of ['callers', 'ledgers']) {
        document.componentInstances.push({ id, packageName: 'ledger', instances: 2, concurrency: 1 });
        document.routes.push({ pathPrefix: `/${id}`, componentInstanceId: id });
      }
      document.componentInstances.push({ id: 'sleepers', packageName: 'ledger', instances: 2, idleMs });
      document.routes.push({ pathPrefix: '/sleepers', componentInstanceId: 'sleepers' });
    });
    await Promise.all(['callers', 'ledgers', 'sleepers'].map(runs));
  });
  after(() => cluster?.dispose());

  async function runs(id: string): Promise<void> {
    await until(`both copies of ${id} run`, async () => {
      const found = (await cluster.status()).instances.find(item => item.id === id);
      return found?.running === 2 && found.live === 2;
    });
  }

  const get = (path: string, init: RequestInit = {}) => fetch(cluster.routerUris[0] + path, init);

  async function view(path: string, init: RequestInit = {}): Promise<LedgerView> {
    const response = await get(path, init);
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()) as LedgerView;
  }

  async function ownerOf(key: string): Promise<ResourceInfo | null> {
    const response = await cluster.master(`/api/master/resources/${encodeURIComponent(key)}`);
    return response.ok ? ((await response.json()) as ResourceInfo) : null;
  }

  async function move(key: string): Promise<void> {
    const now = await ownerOf(key);
    const others = (await cluster.processes()).filter(
      ({ component, processId }) =>
        component?.instanceId === now!.instanceId && processId !== now!.owner.processId,
    );
    const response = await cluster.master(`/api/master/resources/${encodeURIComponent(key)}/move`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ to: others[0]!.processId }),
    });
    assert.equal(response.status, 200, await response.clone().text());
  }

  const calling = (...hops: [instance: string, key: string][]) =>
    `?${new URLSearchParams({ call: JSON.stringify(hops) }).toString()}`;

  it('calls a key on another host while both keys are moved, without a failed or doubled call', async () => {
    // Each caller has a ledger of its own: what its clients have written must be what the ledger shows.
    const callers = Array.from({ length: 8 }, (_, index) => `/callers/k${index}`);
    const clients = callers.map((caller, index) =>
      startLedgerClients(cluster.routerUris, [caller], {
        workers: 1,
        query: calling(['ledgers', `/ledgers/k${index}`]),
      }),
    );
    await Promise.all(clients.map(each => each.more(10)));
    for (let round = 0; round < 3; round++) {
      for (const [index, caller] of callers.entries()) {
        await Promise.all([move(caller), move(`/ledgers/k${index}`)]);
      }
    }
    await Promise.all(clients.map(each => each.more(10)));
    for (const [index, each] of clients.entries()) {
      const report = await each.stop();
      assert.deepEqual(report.problems, []);
      const { entries } = await view(`/ledgers/k${index}`);
      assert.deepEqual(entries, [...report.written.values()][0]);
    }
  });

  it('tells the client of a cycle with 508 and the chain of calls', async () => {
    const response = await get(
      `/callers/a${calling(['ledgers', '/ledgers/b'], ['callers', '/callers/c'], ['callers', '/callers/a'])}`,
    );
    const body = (await response.json()) as ErrorBody;
    assert.equal(response.status, 508, JSON.stringify(body));
    assert.equal(body.code, 'HF_CALL_CYCLE');
    const chain = JSON.stringify(body.details);
    for (const link of ['callers/callers/a', 'ledgers/ledgers/b', 'callers/callers/c']) {
      assert(chain.includes(link), chain);
    }
    assert.equal((await view('/callers/a')).instance, 'callers', 'and all of them go on');
  });

  it('rings an alarm at the new owner when the one that set it was killed', async () => {
    const { owner } = await view('/ledgers/alarmed?alarmMs=4000');
    const victim = (await cluster.processes()).find(({ processId }) => processId === owner)!;
    process.kill(victim.pid!, 'SIGKILL');
    const rung = await until('it rang', async () => {
      const { entries } = await view('/ledgers/alarmed');
      return entries.find(entry => entry.startsWith('alarm by '));
    });
    assert.notEqual(rung, `alarm by ${owner}`);
    await runs('ledgers');
  });

  it('closes keys that nobody asks for, and opens them with their content under a higher fence', async () => {
    const keys = Array.from({ length: 20 }, (_, index) => `/sleepers/k${index}`);
    const before = await Promise.all(keys.map(key => view(key, { method: 'POST', body: `in ${key}` })));
    await until('all are asleep', async () => {
      const response = await cluster.master('/api/master/resources?instance=sleepers');
      return ((await response.json()) as ResourceInfo[]).length === 0;
    });
    for (const [index, key] of keys.entries()) {
      const after = await view(key);
      assert.deepEqual([after.entries, after.hadOwner], [[`in ${key}`], true]);
      assert(BigInt(after.fence) > BigInt(before[index]!.fence));
    }
  });

  it('keeps a key that is asked for again and again', async () => {
    const key = '/sleepers/awake';
    const { fence } = await view(key);
    const end = performance.now() + 2 * idleMs;
    while (performance.now() < end) {
      assert.equal((await view(key)).fence, fence);
      await new Promise(resolve => setTimeout(resolve, idleMs / 10));
    }
  });

  it('wakes a key that sleeps when its alarm is due', async () => {
    const key = '/sleepers/alarmed';
    const alarmMs = 3 * idleMs;
    const before = await view(`${key}?alarmMs=${alarmMs}`);
    await until('it sleeps', async () => (await ownerOf(key)) === null);
    const woken = await until('it is awake', async () => await ownerOf(key));
    assert(BigInt(woken.fence) > BigInt(before.fence));
    const { entries } = await until('it has rung', async () => {
      const seen = await view(key);
      return seen.entries.length > 0 && seen;
    });
    assert.equal(entries.length, 1, 'it rang once');
    assert.match(entries[0]!, /^alarm by /);
  });
});
