/**
 * The entries of the owner table and their bound. Forgetting works like a clock's hand, not like a list in order of use: a
 * lookup only marks its entry, and when there are too many the hand goes on, passes by what was used since it came last, and
 * forgets the first that was not. So a lookup moves nothing, and costs the same among a million.
 */
import type { Fence, InstanceId, ProcessId, ResourceKey, Session, SessionId } from '#core';
import { KeyMap } from './key-map.ts';

/** `owned`: each key has one owner. `balanced`: any session answers. `unknown`: no session was ever seen. */
export type PoolKind = 'unknown' | 'owned' | 'balanced';

/** A session as its entries share it. */
export interface Owner {
  sessionId: SessionId;
  readonly processId: ProcessId;
  address: string;
  ended: boolean;
}

export interface Entry {
  owner: Owner;
  fence: Fence;
  /** `used` since the hand came by. `moving`: the owner is giving the key away. */
  state: 'idle' | 'used' | 'moving';
}

export interface Pool {
  kind: PoolKind;
  sessions: Map<SessionId, Session>;
  entries: KeyMap<ResourceKey, Entry>;
}

export interface OwnerTable {
  pools: Map<InstanceId, Pool>;
  /** What entries point to, by session, while it lives. More than one where a session followed another. */
  owners: Map<SessionId, Owner[]>;
  /** Sessions that ended lately: a late answer of the directory must not bring them back. Oldest first. */
  ended: Set<SessionId>;
  /** Sessions that were told of since the running listing began: newer than what it will say. */
  newerThanListing: Set<SessionId>;
  /** Sessions that the last listings did not name, and since when (monotonic). */
  doubted: Map<SessionId, { pool: InstanceId; sinceMs: number }>;
  /** Entries over all pools, and how many there may be. */
  entryCount: number;
  readonly entriesMax: number;
}

export function createOwnerTable(entriesMax: number): OwnerTable {
  return {
    pools: new Map(),
    owners: new Map(),
    ended: new Set(),
    newerThanListing: new Set(),
    doubted: new Map(),
    entryCount: 0,
    entriesMax,
  };
}

export function poolOf(table: OwnerTable, id: InstanceId): Pool {
  let pool = table.pools.get(id);
  if (!pool) {
    pool = { kind: 'unknown', sessions: new Map(), entries: new KeyMap() };
    table.pools.set(id, pool);
  }
  return pool;
}

/** Steps of the hand for one entry too many: then it takes what it points to, used or not. */
const stepsMax = 32;

export function keepEntry(table: OwnerTable, pool: Pool, key: ResourceKey, owner: Owner, fence: Fence): void {
  const known = pool.entries.get(key);
  if (known) {
    known.owner = owner;
    known.fence = fence;
    known.state = 'used';
    return;
  }
  if (table.entryCount >= table.entriesMax) forgetOne(table);
  pool.entries.set(ownText(key), { owner, fence, state: 'idle' });
  table.entryCount += 1;
}

export function dropEntry(table: OwnerTable, pool: InstanceId, key: ResourceKey): void {
  if (table.pools.get(pool)?.entries.delete(key)) table.entryCount -= 1;
}

/** A key cut out of a URL would keep the whole URL alive. */
function ownText(key: ResourceKey): ResourceKey {
  return Buffer.from(key, 'utf8').toString('utf8') as ResourceKey;
}

/** The pool with the most entries pays: pools are few, and one that has little to remember shall not lose it. */
function forgetOne(table: OwnerTable): void {
  let largest: Pool | null = null;
  for (const pool of table.pools.values()) {
    if (!largest || pool.entries.size > largest.entries.size) largest = pool;
  }
  if (!largest) return;
  for (let steps = 1; ; steps += 1) {
    const next = largest.entries.next();
    if (!next) return;
    const [key, entry] = next;
    if (entry.state === 'used' && !entry.owner.ended && steps < stepsMax) {
      entry.state = 'idle';
      continue;
    }
    largest.entries.delete(key);
    table.entryCount -= 1;
    return;
  }
}
