/**
 * What it costs to keep what 100 hosts own: their sessions renewed every third of 5 s, with 1,000 to 1,000,000 keys owned in the store.
 * Peer: one Redis lock per key, each renewed as often (`PEXPIRE`), with as many keys as a bounded load allows. Also the memory that a
 * key takes in the store. The hosts are simulated in this process; the stores are real processes.
 */
import type { ResourceKey, SessionId } from '#core';
import type { Figure, Scenario } from '../measure.ts';
import { openSession, pool, rate, startEmbeddedStore, startRedisStore, type BenchStore } from '../stores.ts';

const hosts = 100;
const ttlMs = 5_000;
const everyMs = ttlMs / 3;
const windowMs = 8_000;
const sizes = [1_000, 100_000, 1_000_000];
const batchSize = 500;
const lockCounts = [1_000, 10_000];

export const renewals: Scenario = {
  name: 'renewals',
  async run() {
    const figures: Figure[] = [];
    for (const start of [startEmbeddedStore, () => startRedisStore(ttlMs)]) {
      const store = await start();
      try {
        figures.push(...(await grow(store)));
        if (store.redis) figures.push(...(await locks(store)));
      } finally {
        await store.stop();
      }
    }
    return figures;
  },
};

async function grow(store: BenchStore): Promise<Figure[]> {
  const { directory } = store.coordination;
  const sessionIds: SessionId[] = [];
  for (let index = 0; index < hosts; index++) sessionIds.push(await openSession(store, index, ttlMs));
  const load = startRenewing(store, sessionIds);
  const figures: Figure[] = [];
  try {
    // A Redis that is asked for the first time gives nothing out for one time to live.
    while (!(await directory.claim(pool, '/first' as ResourceKey)).owned) await pause(100);
    const beforeBytes = store.rssBytes();
    let owned = 0;
    for (const size of sizes) {
      await rate((size - owned) / batchSize, 2, async batch => {
        const keys = Array.from({ length: batchSize }, (_, i) => `/${owned}/${batch}/${i}` as ResourceKey);
        // Said again when a busy machine makes the answer late: a claim is sticky.
        const outcomes = await directory.claimMany(pool, keys).catch(() => directory.claimMany(pool, keys));
        if (!outcomes.every(outcome => outcome.owned)) throw new Error('not all were given out');
      });
      owned = size;
      await pause(2_000); // what the claims left to do is done
      const { perSecond, lateMs, cpu, lost, unanswered } = await load.measure();
      if (lost > 0) throw new Error(`${lost} sessions were lost at ${size} keys`);
      const name = `${store.kind}, ${size.toLocaleString('en')} keys`;
      figures.push(
        { name: `renewals, ${name}`, unit: '1/s', samples: [perSecond], peer: null, aim: 'flat' },
        { name: `unanswered, ${name}`, unit: 'requests', samples: [unanswered], peer: null, aim: '0' },
        { name: `their latency, ${name}`, unit: 'ms', samples: lateMs, peer: null, aim: 'flat' },
        { name: `CPU of the store, ${name}`, unit: '% of a core', samples: [cpu], peer: null, aim: 'flat' },
      );
    }
    const each = (store.rssBytes() - beforeBytes) / owned;
    figures.push({
      name: `memory of a key, ${store.kind}`,
      unit: 'bytes',
      samples: [each],
      peer: null,
      aim: '–',
    });
  } finally {
    load.stop();
  }
  return figures;
}

function startRenewing(store: BenchStore, sessionIds: SessionId[]) {
  let renewed = 0;
  let lost = 0;
  let unanswered = 0;
  let lateMs: number[] = [];
  let stopped = false;
  const running = sessionIds.map(async (sessionId, index) => {
    await pause((index / sessionIds.length) * everyMs); // hosts do not beat together
    while (!stopped) {
      const sentMs = performance.now();
      const answer = await store.coordination.directory.renewSession(sessionId).catch(() => null);
      if (answer) renewed++;
      else unanswered++; // hosts try again, too
      if (answer && !answer.alive) lost++;
      lateMs.push(performance.now() - sentMs);
      await pause(Math.max(0, everyMs - (performance.now() - sentMs)));
    }
  });
  return {
    async measure() {
      [renewed, lost, unanswered, lateMs] = [0, 0, 0, []];
      const cpuMs = store.cpuMs();
      await pause(windowMs);
      const cpu = ((store.cpuMs() - cpuMs) / windowMs) * 100;
      return { perSecond: (renewed / windowMs) * 1_000, lateMs, cpu, lost, unanswered };
    },
    stop() {
      stopped = true;
      void Promise.allSettled(running); // a renewal that the end of the store breaks off is nothing to report
    },
  };
}

/** The same promise by a lock for each key, renewed in pipelines of 100. */
async function locks(store: BenchStore): Promise<Figure[]> {
  const redis = store.redis!;
  const figures: Figure[] = [];
  for (const count of lockCounts) {
    const names = Array.from({ length: count }, (_, index) => `lock-${index}`);
    await redis.mset(Object.fromEntries(names.map(name => [name, 'me'])));
    const cpuMs = store.cpuMs();
    const startMs = performance.now();
    for (let round = 1; round * everyMs <= windowMs; round++) {
      for (let from = 0; from < count; from += 100) {
        const pipeline = redis.pipeline();
        for (const name of names.slice(from, from + 100)) pipeline.pexpire(name, ttlMs);
        await pipeline.exec();
      }
      await pause(Math.max(0, startMs + round * everyMs - performance.now()));
    }
    const cpu = ((store.cpuMs() - cpuMs) / (performance.now() - startMs)) * 100;
    const name = `peer: CPU of Redis with a lock for each of ${count.toLocaleString('en')} keys`;
    figures.push({ name, unit: '% of a core', samples: [cpu], peer: null, aim: '–' });
  }
  return figures;
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
