/**
 * The store falls silent for three times as long as a session lasts: fenced resources go on, the others stop and come back by themselves,
 * and no key moves without need. The steps build on each other.
 */
import assert from 'node:assert/strict';
import type { ErrorBody } from '#core';
import { startCluster, until, type Cluster } from '../support/cluster.ts';
import { ledgerPackage, startLedgerClients, type LedgerView } from '../support/ledger.ts';
import { hasRedis, type RedisServer } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { stepByStep } from '../support/step-by-step.ts';

const ttlMs = 2_000;
const fenced = Array.from({ length: 16 }, (_, index) => `/fenced/k${index}`);
const plain = Array.from({ length: 16 }, (_, index) => `/plain/k${index}`);

describe('a cluster whose Redis falls silent for longer than sessions last', function () {
  this.timeout(120_000);
  stepByStep();
  let cluster: Cluster;
  let redis: RedisServer;
  const written = new Map<string, string[]>();

  before(async function () {
    if (!hasRedis()) skipLoudly(this, 'redis-server is not installed');
    cluster = await startCluster({
      coordination: 'redis',
      nodes: 3,
      routers: 2,
      edit: document => Object.assign(document, { sessionTtlMs: ttlMs, holdMs: 4_000 }),
    });
    redis = cluster.redis!;
    const uploaded = await cluster.master('/api/master/packages', {
      method: 'POST',
      headers: { 'content-type': 'application/zip' },
      body: ledgerPackage(),
    });
    assert.equal(uploaded.status, 201, await uploaded.text());
    await cluster.editSettings(document => {
      for (const [id, onAuthorityLoss] of [
        ['fenced', 'serveFenced'],
        ['plain', 'stop'],
      ] as const) {
        document.componentInstances.push({ id, packageName: 'ledger', instances: 2, onAuthorityLoss });
        document.routes.push({ pathPrefix: `/${id}`, componentInstanceId: id });
      }
    });
    await until('both copies of both run', async () => {
      const { instances } = await cluster.status();
      return ['fenced', 'plain'].every(id => {
        const found = instances.find(item => item.id === id);
        return found?.running === 2 && found.live === 2;
      });
    });
  });
  after(() => cluster?.dispose());

  const get = (path: string, init: RequestInit = {}) => fetch(cluster.routerUris[0] + path, init);

  async function view(path: string, init: RequestInit = {}): Promise<LedgerView> {
    const response = await get(path, init);
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()) as LedgerView;
  }

  const views = (keys: string[]) => Promise.all(keys.map(key => view(key)));
  const ownersOf = (seen: LedgerView[]) => seen.map(({ owner }) => owner);

  const silences: [name: string, begin: () => Promise<void>, end: () => Promise<void>][] = [
    ['stopped (SIGSTOP)', async () => redis.pause(), async () => redis.resume()],
    ['killed, and started again empty', () => redis.kill(), () => redis.start()],
  ];
  for (const [how, begin, end] of silences) {
    it(`goes on where commits are fenced and stops elsewhere while Redis is ${how}`, async () => {
      const processes = await pids();
      for (const key of plain) await view(key, { method: 'POST', body: `before ${how}` });
      const before = { fenced: await views(fenced), plain: await views(plain) };
      const clients = startLedgerClients(cluster.routerUris, fenced, { workers: 3, written });
      await clients.more(60);
      await begin();
      const endsAt = performance.now() + 3 * ttlMs;
      try {
        const refused = await until('what is not fenced is refused', async () => {
          const response = await get(plain[0]!);
          return response.status === 503 && ((await response.json()) as ErrorBody).code;
        });
        assert(['HF_COORDINATION_UNAVAILABLE', 'HF_NO_OWNER'].includes(refused), refused);
        await new Promise(resolve => setTimeout(resolve, Math.max(0, endsAt - performance.now())));
        await clients.more(60);
      } finally {
        await end();
      }
      const back = await until('what is not fenced is back', async () => {
        const seen = await Promise.all(plain.map(key => get(key)));
        return seen.every(({ status }) => status === 200) && views(plain);
      });
      await clients.more(60);
      const report = await clients.stop();
      assert.deepEqual(report.problems, []);
      console.error(`      fenced keys: ${report.total} requests, longest ${report.longestMs} ms`);

      const after = await views(fenced);
      assert.deepEqual(ownersOf(after), ownersOf(before.fenced), 'a fenced key has moved');
      for (const [index, { fence, entries }] of after.entries()) {
        assert(BigInt(fence) >= BigInt(before.fenced[index]!.fence));
        const written = report.written.get(fenced[index]!);
        if (written) assert.deepEqual(entries, written);
      }
      for (const [index, { fence, entries }] of back.entries()) {
        assert(BigInt(fence) > BigInt(before.plain[index]!.fence), 'a new right has a higher fence');
        assert.deepEqual(entries, before.plain[index]!.entries);
      }
      assert.deepEqual(await pids(), processes, 'no process was ended');
    });
  }

  /** Of the hosts that own keys. */
  async function pids(): Promise<number[]> {
    const live = await cluster.processes();
    return live
      .filter(({ component }) => ['fenced', 'plain'].includes(component?.instanceId ?? ''))
      .map(({ pid }) => pid!)
      .toSorted((a, b) => a - b);
  }
});
