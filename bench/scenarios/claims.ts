/**
 * Claims of new keys in a second, one by one (64 at a time) and 100 or 1,000 in a call, on the embedded coordinator and on one Redis. Peers,
 * in turn with ours: on the same Redis a bare claim script (take the key if nobody has it, with the next fence; no hosts, no sessions, no counts),
 * a plain `SET NX PX` with as many under way, 1,000 of them in a pipeline, and redlock's `acquire`; for the embedded store SQLite alone in WAL.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import Redlock from 'redlock';
import type { ResourceKey } from '#core';
import type { Figure, Scenario } from '../measure.ts';
import { openSession, pool, rate, startEmbeddedStore, startRedisStore, type BenchStore } from '../stores.ts';

const ttlMs = 60_000;
const concurrency = 64;
const [singles, batches, batchSize, hundreds] = [10_000, 50, 1_000, 200];

export const claims: Scenario = {
  name: 'claims',
  async run(runs) {
    const redis = await startRedisStore(1_000);
    const embedded = await startEmbeddedStore();
    const plain = redis.redis!;
    const client = {
      evalsha: (hash: string, keys: number, args: (string | number)[]) =>
        plain.evalsha(hash, keys, ...args) as Promise<number>,
      eval: (script: string, keys: number, args: (string | number)[]) =>
        plain.eval(script, keys, ...args) as Promise<number>,
    };
    const redlock = new Redlock([client], { retryCount: 0 });
    const sqlite = await openPlainClaims();
    const bare = (await plain.script('LOAD', bareScript)) as string;
    let serial = 0;
    const ours = { single: [] as number[], hundred: [] as number[], batch: [] as number[] };
    const own = { single: [] as number[], hundred: [] as number[], batch: [] as number[] };
    const cpu = { ours: [] as number[], own: [] as number[], set: [] as number[], redlock: [] as number[] };
    const peers = {
      set: [] as number[],
      sets: [] as number[],
      redlock: [] as number[],
      bare: [] as number[],
      bareHundred: [] as number[],
      sqlite: [] as number[],
      sqliteHundred: [] as number[],
    };
    try {
      for (const store of [redis, embedded]) {
        const opened = await Promise.all(
          [1, 2, 3].map(index => openSession(store, index, store.kind === 'redis' ? 1_000 : ttlMs)),
        );
        if (store.kind === 'redis') keepAlive(store, opened);
      }
      await new Promise(resolve => setTimeout(resolve, 1_500)); // until a Redis that never was asked before gives keys out
      for (let run = 0; run < runs; run++) {
        const name = `k${serial++}`;
        peers.set.push(
          await withCpu(redis, cpu.set, () =>
            rate(singles, concurrency, index => plain.set(`raw-${name}-${index}`, 'me', 'PX', ttlMs, 'NX')),
          ),
        );
        ours.single.push(await withCpu(redis, cpu.ours, () => claimSingles(redis, name)));
        peers.bare.push(
          await rate(singles, concurrency, index => plain.evalsha(bare, 1, 'bare', 'me', `${name}-${index}`)),
        );
        peers.bareHundred.push(
          (await rate(hundreds, 4, batch =>
            plain.evalsha(bare, 1, 'bare', 'me', ...keysOf(`h-${name}`, batch, 100)),
          )) * 100,
        );
        ours.hundred.push(await claimBatches(redis, `h-${name}`, hundreds, 100));
        peers.sqlite.push(await rate(singles, 1, index => sqlite.claim([`${name}-${index}`])));
        peers.sqliteHundred.push(
          (await rate(hundreds, 1, batch => sqlite.claim(keysOf(`h-${name}`, batch, 100)))) * 100,
        );
        own.hundred.push(await claimBatches(embedded, `h-${name}`, hundreds, 100));
        peers.redlock.push(
          await withCpu(redis, cpu.redlock, () =>
            rate(singles, concurrency, index => redlock.acquire([`lock-${name}-${index}`], ttlMs)),
          ),
        );
        own.single.push(await withCpu(embedded, cpu.own, () => claimSingles(embedded, name)));
        peers.sets.push(
          await rate(batches, 4, async batch => {
            const pipeline = plain.pipeline();
            for (let i = 0; i < batchSize; i++)
              pipeline.set(`rawb-${name}-${batch}-${i}`, 'me', 'PX', ttlMs, 'NX');
            await pipeline.exec();
          }).then(perSecond => perSecond * batchSize),
        );
        ours.batch.push(await claimBatches(redis, name, batches, batchSize));
        own.batch.push(await claimBatches(embedded, name, batches, batchSize));
      }
    } finally {
      for (const timer of timers) clearInterval(timer);
      await redis.stop();
      await embedded.stop();
      await sqlite.close();
    }
    const figure = (
      name: string,
      samples: number[],
      peer: string,
      peerSamples: number[],
      unit: Figure['unit'] = '1/s',
    ): Figure => ({
      name,
      unit,
      samples,
      peer: { name: peer, samples: peerSamples },
      aim: '–',
    });
    return [
      figure('claims, Redis', ours.single, 'SET NX PX', peers.set),
      figure('claims, Redis', ours.single, 'redlock acquire', peers.redlock),
      figure('claims, Redis', ours.single, 'bare claim script', peers.bare),
      figure('claims, 100 a call, Redis', ours.hundred, 'bare claim script, 100 a call', peers.bareHundred),
      figure('claims, embedded', own.single, 'SQLite alone, a transaction each', peers.sqlite),
      figure(
        'claims, 100 a call, embedded',
        own.hundred,
        'SQLite alone, 100 a transaction',
        peers.sqliteHundred,
      ),
      figure('claims, 1,000 a call, Redis', ours.batch, 'SET NX PX, pipelines of 1,000', peers.sets),
      figure('claims, embedded', own.single, 'SET NX PX on Redis', peers.set),
      figure('claims, embedded', own.single, 'redlock acquire on Redis', peers.redlock),
      figure('claims, 1,000 a call, embedded', own.batch, 'SET NX PX, pipelines of 1,000', peers.sets),
      figure('CPU of Redis for a claim', cpu.ours, 'SET NX PX', cpu.set, 'µs'),
      figure('CPU of Redis for a claim', cpu.ours, 'redlock acquire', cpu.redlock, 'µs'),
      figure('CPU of the coordinator for a claim', cpu.own, 'SET NX PX on Redis', cpu.set, 'µs'),
    ];
  },
};

/** What the store's process used for each of `singles` operations, in microseconds: says more than a rate where others use the machine too. */
async function withCpu<T>(store: BenchStore, samples: number[], work: () => Promise<T>): Promise<T> {
  const beforeMs = store.cpuMs();
  const result = await work();
  samples.push(((store.cpuMs() - beforeMs) * 1_000) / singles);
  return result;
}

const timers: NodeJS.Timeout[] = [];

/** Sessions on Redis may not live longer than its store waits after it forgot; so they are renewed, as hosts do. */
function keepAlive(store: BenchStore, sessionIds: Awaited<ReturnType<typeof openSession>>[]): void {
  const renew = () => {
    for (const sessionId of sessionIds) void store.coordination.directory.renewSession(sessionId);
  };
  timers.push(setInterval(renew, 200));
}

function claimSingles({ coordination }: BenchStore, name: string): Promise<number> {
  return rate(singles, concurrency, async index => {
    const outcome = await coordination.directory.claim(pool, `/${name}/${index}` as ResourceKey);
    if (!outcome.owned) throw new Error(`not given out: ${outcome.reason}`);
  });
}

async function claimBatches(
  { coordination }: BenchStore,
  name: string,
  calls: number,
  size: number,
): Promise<number> {
  const perSecond = await rate(calls, 4, async batch => {
    const keys = keysOf(name, batch, size) as ResourceKey[];
    const outcomes = await coordination.directory.claimMany(pool, keys);
    if (!outcomes.every(outcome => outcome.owned)) throw new Error('not all were given out');
  });
  return perSecond * size;
}

function keysOf(name: string, batch: number, size: number): string[] {
  return Array.from({ length: size }, (_, index) => `/${name}/b${batch}/${index}`);
}

/** The least that makes a claim: sticky, with a fence. */
const bareScript = `
local taken = {}
for index = 2, #ARGV do
  local owner = redis.call('HGET', KEYS[1], ARGV[index])
  if not owner then
    owner = redis.call('HINCRBY', KEYS[1], '#fence', 1) .. ':' .. ARGV[1]
    redis.call('HSET', KEYS[1], ARGV[index], owner)
  end
  taken[#taken + 1] = owner
end
return taken`;

/** The same in a SQLite file, each call one transaction, synced as the coordinator's is. */
async function openPlainClaims(): Promise<{ claim(keys: string[]): Promise<void>; close(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  const database = new DatabaseSync(join(folder, 'claims.sqlite'));
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
  database.exec('CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT, fence INTEGER) WITHOUT ROWID');
  const insert = database.prepare('INSERT OR IGNORE INTO claims VALUES (?, ?, ?)');
  let fence = 0;
  return {
    async claim(keys) {
      database.exec('BEGIN IMMEDIATE');
      for (const key of keys) insert.run(key, 'me', ++fence);
      database.exec('COMMIT');
      if (fence % 500 === 0) await new Promise(resolve => setImmediate(resolve)); // sessions on Redis must be renewed meanwhile
    },
    async close() {
      database.close();
      await rm(folder, { recursive: true });
    },
  };
}
