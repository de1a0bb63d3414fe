/**
 * What a router (or a host whose component calls others) knows of sessions and owners: a cache of the directory, kept by
 * events. Deterministic and without I/O: `step` takes an event and says what is to be done besides. It changes the table in
 * place, because it stands on the request path and a table may hold a million claims.
 *
 * Why a stale entry is harmless: a host checks session, fence and its own right on every request and answers 421, and
 * nobody answers at the address of a dead one. The table only has to become right soon, never to be right. So nothing is
 * forgotten for the mere reason that the store was away:
 * - After a gap the sessions are listed anew; claims stay, and one that is out of date costs one 421.
 * - A session that is missing in a listing is only doubted for a while: a store that has forgotten names nobody at first, while
 *   the hosts go on. When the process opens a session again, it has kept its keys, and its claims here follow it.
 *
 * An entry points to its owner instead of repeating it, and the end of a session marks the owner and nothing else, so that
 * it costs the same however many keys the session had; what points to an ended owner is as good as gone.
 */
import {
  DEFAULTS,
  type Claim,
  type DirectoryEvent,
  type Holding,
  type InstanceId,
  type ProcessId,
  type ResourceKey,
  type Session,
  type SessionId,
} from '#core';
import { dropEntry, keepEntry, poolOf, type Entry, type OwnerTable } from './owner-entries.ts';

/** What is known of a key's owner: enough to send it a request. */
export interface KnownClaim extends Holding {
  processId: ProcessId;
  address: string;
}

export type OwnerEvent =
  | DirectoryEvent
  /** The directory named an owner. */
  | { type: 'claimed'; claim: Claim }
  /** A host refused, or could not be reached: the entry may be old. */
  | { type: 'refused'; claim: Holding }
  /** The owner refused, and the directory still names it: it is giving the key away, and `moved` or `released` will tell. */
  | { type: 'moving'; claim: Holding }
  /** Nothing was told in time: it may have come to nothing. */
  | { type: 'unmoved'; claim: Holding }
  | { type: 'listing-began' }
  /** `nowMs` is monotonic. */
  | { type: 'listed'; sessions: readonly Session[]; nowMs: number };

export type OwnerEffect =
  /** Requests that wait for this pool (this key, if given) should look again. */
  | { type: 'wake'; pool: InstanceId; key?: ResourceKey }
  | { type: 'wake-all' }
  /** Nothing more will be sent to this session. Unless it ended by itself, nothing more will come from it either. */
  | { type: 'retire'; sessionId: SessionId; graceful: boolean }
  /** Ask the directory for all sessions, after so many milliseconds. */
  | { type: 'list-sessions'; afterMs: number };

const endedMax = 1_000;
/** By then a host has opened a session again in a store that forgot it, or has passed its own deadline. */
export const doubtMs: number = DEFAULTS.sessionTtlMs;

/** The cached owner; counts as use. Not one that is giving the key away. */
export function findClaim(table: OwnerTable, pool: InstanceId, key: ResourceKey): KnownClaim | undefined {
  const entry = table.pools.get(pool)?.entries.get(key);
  if (entry === undefined || entry.owner.ended || entry.state === 'moving') return undefined;
  entry.state = 'used';
  return describe(pool, key, entry);
}

/** The cached owner that is giving the key away, as long as nothing newer is known. */
export function findMoving(table: OwnerTable, pool: InstanceId, key: ResourceKey): KnownClaim | undefined {
  const entry = table.pools.get(pool)?.entries.get(key);
  return entry?.state === 'moving' && !entry.owner.ended ? describe(pool, key, entry) : undefined;
}

function describe(pool: InstanceId, key: ResourceKey, { fence, owner }: Entry): KnownClaim {
  const { sessionId, processId, address } = owner;
  return { pool, key, fence, sessionId, processId, address };
}

export function step(table: OwnerTable, event: OwnerEvent): OwnerEffect[] {
  switch (event.type) {
    case 'session-opened':
    case 'session-changed': {
      if (table.ended.has(event.session.sessionId)) return [];
      table.newerThanListing.add(event.session.sessionId);
      setSession(table, event.session);
      return [...followProcesses(table), { type: 'wake', pool: event.session.pool }];
    }
    case 'session-ended':
      return endSession(table, event.pool, event.sessionId, event.reason === 'closed');
    case 'released': {
      const entry = table.pools.get(event.pool)?.entries.get(event.key);
      if (entry && entry.fence <= event.fence) dropEntry(table, event.pool, event.key);
      return [{ type: 'wake', pool: event.pool, key: event.key }];
    }
    case 'moved': {
      const { pool, key } = event.claim;
      // Keys that nobody asks for here are not worth the memory.
      if (table.pools.get(pool)?.entries.get(key)) keepClaim(table, event.claim);
      return [{ type: 'wake', pool, key }];
    }
    case 'paused':
      return []; // its owner lets go of it now, and tells
    case 'resumed':
      return [{ type: 'wake', pool: event.pool, key: event.key }];
    case 'reset':
      return [{ type: 'list-sessions', afterMs: 0 }, { type: 'wake-all' }];
    case 'claimed':
      keepClaim(table, event.claim);
      return [];
    case 'refused':
    case 'unmoved': {
      const entry = entryOf(table, event.claim);
      // One more refusal by who is giving the key away is no news.
      const stays = event.type === 'refused' && entry?.state === 'moving';
      if (entry && !stays) dropEntry(table, event.claim.pool, event.claim.key);
      return [];
    }
    case 'moving': {
      const entry = entryOf(table, event.claim);
      if (entry) entry.state = 'moving';
      return [];
    }
    case 'listing-began':
      table.newerThanListing.clear();
      return [];
    case 'listed':
      return replaceSessions(table, event.sessions, event.nowMs);
  }
}

/** Whether two claims are the very same right: one session, one fence. */
export function sameRight(left: Holding, right: Holding): boolean {
  return left.sessionId === right.sessionId && left.fence === right.fence;
}

/**
 * Of a balanced pool, the session to ask: the fewest requests in flight, in turn among equals. Sessions in `avoid` come
 * only if there is no other.
 */
export function leastBusy(
  sessions: Iterable<Session>,
  inFlight: (sessionId: SessionId) => number,
  turn: number,
  avoid?: SessionId,
): Session | null {
  let best: Session[] = [];
  let bestLoad = Infinity;
  let spare: Session | null = null;
  for (const session of sessions) {
    if (session.draining || !session.ready) continue;
    if (session.sessionId === avoid) {
      spare = session;
      continue;
    }
    const load = inFlight(session.sessionId);
    if (load < bestLoad) {
      best = [session];
      bestLoad = load;
    } else if (load === bestLoad) {
      best.push(session);
    }
  }
  return best[turn % best.length] ?? spare;
}

/** Whether more can be sent to it than was known before. */
function setSession(table: OwnerTable, session: Session): boolean {
  const pool = poolOf(table, session.pool);
  const before = pool.sessions.get(session.sessionId);
  pool.kind = session.ownsResources ? 'owned' : 'balanced';
  table.doubted.delete(session.sessionId);
  pool.sessions.set(session.sessionId, session);
  return before === undefined || before.draining !== session.draining || before.ready !== session.ready;
}

/** What pointed to a doubted session points to the newer one of the same process, if there is one. */
function followProcesses(table: OwnerTable): OwnerEffect[] {
  const effects: OwnerEffect[] = [];
  for (const [from, { pool }] of table.doubted) {
    const sessions = table.pools.get(pool)!.sessions;
    const { processId } = sessions.get(from)!;
    for (const session of sessions.values()) {
      if (session.processId !== processId || table.doubted.has(session.sessionId)) continue;
      const followers = table.owners.get(from) ?? [];
      for (const owner of followers) {
        owner.sessionId = session.sessionId;
        owner.address = session.address;
      }
      table.owners.delete(from);
      table.owners.set(session.sessionId, [...(table.owners.get(session.sessionId) ?? []), ...followers]);
      effects.push(...endSession(table, pool, from, true));
      break;
    }
  }
  return effects;
}

function endSession(
  table: OwnerTable,
  poolId: InstanceId,
  sessionId: SessionId,
  graceful: boolean,
): OwnerEffect[] {
  table.ended.add(sessionId);
  if (table.ended.size > endedMax) table.ended.delete(table.ended.values().next().value!);
  table.doubted.delete(sessionId);
  table.pools.get(poolId)?.sessions.delete(sessionId);
  for (const owner of table.owners.get(sessionId) ?? []) owner.ended = true;
  table.owners.delete(sessionId);
  return [
    { type: 'retire', sessionId, graceful },
    { type: 'wake', pool: poolId },
  ];
}

function keepClaim(table: OwnerTable, claim: Claim): void {
  const { sessionId, processId, address, fence } = claim;
  if (table.ended.has(sessionId)) return;
  const pool = poolOf(table, claim.pool);
  const known = pool.entries.get(claim.key);
  if (known) {
    // Answers may overtake each other; fences tell which is newer. One that only says the same again ends no move.
    if (known.fence > fence) return;
    if (known.fence === fence && known.owner.sessionId === sessionId && !known.owner.ended) return;
  }
  let owner = table.owners.get(sessionId)?.[0];
  if (!owner) {
    owner = { sessionId, processId, address, ended: false };
    table.owners.set(sessionId, [owner]);
  }
  keepEntry(table, pool, claim.key, owner, fence);
}

/** The entry that says the very same. */
function entryOf(table: OwnerTable, { pool, key, sessionId, fence }: Holding): Entry | null {
  const entry = table.pools.get(pool)?.entries.get(key);
  return entry?.owner.sessionId === sessionId && entry.fence === fence ? entry : null;
}

function replaceSessions(table: OwnerTable, sessions: readonly Session[], nowMs: number): OwnerEffect[] {
  const listed = new Set(sessions.map(session => session.sessionId));
  for (const [pool, { sessions: known }] of table.pools) {
    for (const sessionId of known.keys()) {
      if (listed.has(sessionId) || table.newerThanListing.has(sessionId)) continue;
      if (!table.doubted.has(sessionId)) table.doubted.set(sessionId, { pool, sinceMs: nowMs });
    }
  }
  const news = new Set<InstanceId>();
  for (const session of sessions) {
    const { sessionId } = session;
    if (table.ended.has(sessionId) || table.newerThanListing.has(sessionId)) continue;
    if (setSession(table, session)) news.add(session.pool);
  }
  const effects = followProcesses(table);
  for (const [sessionId, { pool, sinceMs }] of table.doubted) {
    if (nowMs - sinceMs >= doubtMs) effects.push(...endSession(table, pool, sessionId, false));
  }
  if (table.doubted.size > 0) effects.push({ type: 'list-sessions', afterMs: doubtMs });
  // Only for what is new: those who wait have listings made themselves, and would wake each other for ever.
  for (const pool of news) effects.push({ type: 'wake', pool });
  return effects;
}
