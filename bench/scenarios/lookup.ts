/**
 * A million known keys: the CPU time of a cached lookup in a router, and the memory of a key there and in the guard of a host that has it
 * open. Peer: a plain Map from the key to an object of the same fields. Keys are asked for in random order, as texts of their own,
 * because a key comes out of a URL and never is the very string that is stored.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Claim, Fence, NodeName, ProcessId, ResourceDirectory, ResourceKey, SessionId } from '#core';
import { createOwners, createOwnershipGuard, type Owners } from '#ownership';
import type { Scenario } from '../measure.ts';
import { silentLog } from '../../ownership/silent-log.ts';
import { pool, system } from '../stores.ts';

const known = 1_000_000;
const open = 100_000;
const asked = 300_000;
/** So many keys are what most requests are for. */
const often = 1_000;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

export const lookup: Scenario = {
  name: 'lookup',
  async run(runs) {
    const wanted = shuffled(known).slice(0, asked);
    const { owners, bytes } = await fillRouter();
    const map = await fillMap();
    const ours: number[] = [];
    const plain: number[] = [];
    const oursOften: number[] = [];
    const plainOften: number[] = [];
    const few = Array.from({ length: asked }, (_, index) => wanted[index % often]!);
    for (let run = 0; run < runs; run++) {
      // Fresh texts each time: nothing of them is hashed yet.
      ours.push(perLookup(wanted.map(keyOf), key => owners.find(pool, key)));
      plain.push(perLookup(wanted.map(keyOf), key => map.entries.get(key)));
      oursOften.push(perLookup(few.map(keyOf), key => owners.find(pool, key)));
      plainOften.push(perLookup(few.map(keyOf), key => map.entries.get(key)));
    }
    owners.stop();
    return [
      {
        name: `cached lookup, ${often.toLocaleString('en')} of 1,000,000 keys asked for`,
        unit: 'ns',
        samples: oursOften,
        peer: { name: 'plain Map', samples: plainOften },
        aim: '< 1,000',
      },
      {
        name: 'cached lookup, 300,000 of them in random order',
        unit: 'ns',
        samples: ours,
        peer: { name: 'plain Map', samples: plain },
        aim: '< 1,000',
      },
      {
        name: 'memory of a key in a router',
        unit: 'bytes',
        samples: [bytes],
        peer: { name: 'plain Map', samples: [map.bytes] },
        aim: '–',
      },
      {
        name: 'memory of an open key in the guard of a host',
        unit: 'bytes',
        samples: [await guardBytes()],
        peer: { name: 'plain Map', samples: [map.bytes] },
        aim: '–',
      },
    ];
  },
};

function perLookup(keys: readonly ResourceKey[], find: (key: ResourceKey) => unknown): number {
  let missing = 0;
  collectGarbage(); // that of the texts is not the lookup's
  const before = process.threadCpuUsage();
  for (const key of keys) if (find(key) === undefined) missing++;
  const { user, system: kernel } = process.threadCpuUsage(before);
  const ns = ((user + kernel) * 1_000) / keys.length;
  if (missing > 0) throw new Error(`${missing} keys were not known`);
  return ns;
}

function keyOf(index: number): ResourceKey {
  return Buffer.from(`/db/customer-${index}`).toString() as ResourceKey;
}

function claimOf(key: ResourceKey, index: number): Claim {
  return {
    pool,
    key,
    fence: BigInt(1_000_000 + index) as Fence,
    sessionId: `session-${index % 100}` as SessionId,
    processId: `process-${index % 100}` as ProcessId,
    nodeName: 'bench' as NodeName,
    address: `http://127.0.0.1:${9_000 + (index % 100)}`,
    hadOwner: false,
  };
}

async function fillRouter(): Promise<{ owners: Owners; bytes: number }> {
  let index = 0;
  const claim = async (_pool: unknown, key: ResourceKey) => ({
    owned: true as const,
    claim: claimOf(key, index++),
  });
  const owners = createOwners({
    directory: {
      claim,
      claimMany: (pool, keys) => Promise.all(keys.map(key => claim(pool, key))),
      sessions: async () => [],
      watch: () => () => {},
    },
    system,
    log: silentLog,
    onEffect: () => {},
    isAwaited: () => false,
    keysMax: known,
  });
  const beforeBytes = heapBytes();
  for (let from = 0; from < known; from += 1_000) {
    await Promise.all(Array.from({ length: 1_000 }, (_, offset) => owners.claim(pool, keyOf(from + offset))));
  }
  return { owners, bytes: (heapBytes() - beforeBytes) / known };
}

async function fillMap(): Promise<{ entries: Map<ResourceKey, object>; bytes: number }> {
  const beforeBytes = heapBytes();
  const entries = new Map<ResourceKey, object>();
  for (let index = 0; index < known; index++) {
    entries.set(keyOf(index), { owner: null, fence: BigInt(1_000_000 + index), state: 'idle' });
  }
  return { entries, bytes: (heapBytes() - beforeBytes) / known };
}

/** A component whose handlers hold nothing: what is counted is what the guard keeps of a key. */
async function guardBytes(): Promise<number> {
  const sessionId = 'session-0' as SessionId;
  const directory = {
    openSession: async () => ({ sessionId, expiresInMs: 60_000 }),
    renewSession: async () => ({ alive: true, expiresInMs: 60_000 }),
    updateSession: async () => true,
    lookup: async (_pool: unknown, key: ResourceKey) => ({ ...claimOf(key, 0), fence: 1n as Fence }),
    confirmOpened: async () => true,
    closeSession: async () => {},
    watch: () => () => {},
  } as Partial<ResourceDirectory> as ResourceDirectory;
  const handler = { fetch: () => new Response('ok'), close: async () => {} };
  const guard = createOwnershipGuard({
    system,
    directory,
    session: {
      pool,
      processId: 'process-0' as ProcessId,
      nodeName: 'bench' as NodeName,
      address: 'http://127.0.0.1:9000',
      ownsResources: true,
      capacity: 1,
      ttlMs: 60_000,
    },
    component: { openResource: async () => handler },
    log: silentLog,
    concurrency: 0,
  });
  await guard.start();
  const beforeBytes = heapBytes();
  for (let from = 0; from < open; from += 1_000) {
    await Promise.all(
      Array.from({ length: 1_000 }, (_, offset) =>
        guard.open({ key: keyOf(from + offset), sessionId, fence: 1n as Fence }),
      ),
    );
  }
  const bytes = (heapBytes() - beforeBytes) / open;
  if (guard.ownedKeys !== open) throw new Error(`${guard.ownedKeys} keys are open`);
  guard.abort();
  return bytes;
}

function heapBytes(): number {
  collectGarbage();
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function shuffled(count: number): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(system.random.fraction() * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
