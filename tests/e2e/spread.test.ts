/**
 * What moves many keys at once while clients use them: a host that joins, a host that leaves, a new version. The clients notice nothing but
 * the waiting. The steps build on each other.
 */
import assert from 'node:assert/strict';
import type { ApiEvent, MasterHost } from '#core';
import { startCluster, until, type Cluster } from '../support/cluster.ts';
import { ledgerPackage, startLedgerClients, type LedgerReport } from '../support/ledger.ts';
import { stepByStep } from '../support/step-by-step.ts';

const keys = Array.from({ length: 300 }, (_, index) => `/ledger/k${index}`);
const threshold = 0.1;

describe('keys under load while hosts come and go', function () {
  this.timeout(120_000);
  stepByStep();
  let cluster: Cluster;
  const written = new Map<string, string[]>();

  before(async () => {
    cluster = await startCluster({
      nodes: 4,
      routers: 2,
      edit(document) {
        Object.assign(document, { sessionTtlMs: 3_000, holdMs: 10_000 });
        const manager = document.componentInstances.find(({ id }) => id === 'node-manager')!;
        Object.assign(manager.settings as object, {
          rebalanceThreshold: threshold,
          // Too few for one go: what is left is the business of the manager that comes after the killed one.
          rebalanceMovesPerMinute: 45,
        });
      },
    });
    await upload('POST', '1.0.0');
    await cluster.editSettings(document => {
      document.componentInstances.push({ id: 'ledgers', packageName: 'ledger', instances: 3 });
      document.routes.push({ pathPrefix: '/ledger', componentInstanceId: 'ledgers' });
    });
    await runs(3, '1.0.0');
  });
  after(() => cluster?.dispose());

  async function upload(method: 'POST' | 'PUT', version: string): Promise<void> {
    const response = await cluster.master('/api/master/packages', {
      method,
      headers: { 'content-type': 'application/zip' },
      body: ledgerPackage(version),
    });
    assert.equal(response.status, 201, await response.text());
  }

  async function runs(copies: number, version: string): Promise<void> {
    await until(
      `${copies} copies of ${version} run, and no other`,
      async () => {
        const found = (await cluster.status()).instances.find(item => item.id === 'ledgers');
        return found?.running === copies && found.live === copies && found.versions[version] === copies;
      },
      60_000,
    );
  }

  async function hosts(): Promise<MasterHost[]> {
    const response = await cluster.master('/api/master/hosts');
    const all = (await response.json()) as MasterHost[];
    return all.filter(({ component, state }) => component?.instanceId === 'ledgers' && state === 'Running');
  }

  /** Keys by host, as the directory tells. */
  async function shares(): Promise<Map<string, number>> {
    const counts = new Map((await hosts()).map(({ processId }) => [processId, 0]));
    const response = await cluster.master('/api/master/resources?instance=ledgers&limit=1000');
    for (const { owner } of (await response.json()) as { owner: { processId: string } }[]) {
      counts.set(owner.processId, (counts.get(owner.processId) ?? 0) + 1);
    }
    return counts;
  }

  function isEven(counts: Map<string, number>, copies: number): boolean {
    const share = keys.length / copies;
    return (
      counts.size === copies &&
      [...counts.values()].every(count => Math.abs(count - share) <= Math.ceil(share * threshold))
    );
  }

  async function underLoad(change: () => Promise<void>): Promise<LedgerReport> {
    const clients = startLedgerClients(cluster.routerUris, keys, { written });
    await clients.more(2 * keys.length);
    await change();
    await clients.more(2 * keys.length);
    const report = await clients.stop();
    assert.deepEqual(report.problems, []);
    return report;
  }

  function figure(what: string, { total, p99Ms, longestMs }: LedgerReport): void {
    console.error(`      ${what}: ${total} requests, p99 ${p99Ms} ms, longest ${longestMs} ms`);
  }

  /** Events of rebalancing, until the test ends. */
  async function* rebalances(signal: AbortSignal): AsyncGenerator<ApiEvent> {
    const response = await cluster.master('/api/master/events', { signal });
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of response.body!) {
      text += decoder.decode(chunk, { stream: true });
      const parts = text.split('\n\n');
      text = parts.pop()!;
      for (const part of parts) {
        const data = /^data: (.*)$/m.exec(part)?.[1];
        const event = data === undefined ? null : (JSON.parse(data) as ApiEvent);
        if (event?.type === 'rebalance') yield event;
      }
    }
  }

  it('gives a host that joins its share, though the node manager is killed in the middle, and then rests', async () => {
    const report = await underLoad(async () => {
      const before = new Set((await hosts()).map(({ processId }) => processId));
      await cluster.editSettings(document => {
        document.componentInstances.find(({ id }) => id === 'ledgers')!.instances = 4;
      });
      await runs(4, '1.0.0');
      const joined = (await hosts()).find(({ processId }) => !before.has(processId))!;
      const manager = (await cluster.processes()).find(
        ({ component }) => component?.instanceId === 'node-manager',
      )!;
      await until('it has got its first key', async () => ((await shares()).get(joined.processId) ?? 0) > 0);
      assert(!isEven(await shares(), 4), 'it is still to be finished');
      process.kill(manager.pid!, 'SIGKILL');
      await until('the keys are even', async () => isEven(await shares(), 4), 60_000);
    });
    figure('a fourth host joins', report);
  });

  it('leaves keys alone that are spread well enough', async () => {
    const before = await shares();
    const stop = new AbortController();
    const seen: ApiEvent[] = [];
    const listening = (async () => {
      for await (const event of rebalances(stop.signal)) seen.push(event);
    })().catch((error: unknown) => {
      if (!stop.signal.aborted) throw error;
    });
    // Twice as long as a pool must be quiet before it is rebalanced.
    await new Promise(resolve => setTimeout(resolve, 6_000));
    stop.abort();
    await listening;
    assert.deepEqual(seen, []);
    assert.deepEqual(await shares(), before);
  });

  it('takes all keys from a host that is taken away', async () => {
    const report = await underLoad(async () => {
      await cluster.editSettings(document => {
        document.componentInstances.find(({ id }) => id === 'ledgers')!.instances = 3;
      });
      await runs(3, '1.0.0');
    });
    figure('a host leaves', report);
    assert.equal(
      [...(await shares()).values()].reduce((sum, count) => sum + count, 0),
      keys.length,
    );
  });

  it('rolls all hosts to a new version', async () => {
    const before = new Set((await hosts()).map(({ processId }) => processId));
    const report = await underLoad(async () => {
      await upload('PUT', '2.0.0');
      await runs(3, '2.0.0');
    });
    figure('a new version', report);
    assert((await hosts()).every(({ processId }) => !before.has(processId)));
  });
});
