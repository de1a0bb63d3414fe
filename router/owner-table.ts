/**
 * What the router knows of sessions and owners: a cache of the directory, kept by events. Deterministic and without I/O:
 * `step` takes an event and says what is to be done besides. It changes the table in place, because it stands on the
 * request path and a table may hold 100,000 claims.
 *
 * Why a stale entry is harmless: a host checks session, fence and its own right on every request and answers 421, and
 * nobody answers at the address of a dead one. The table only has to become right soon, never to be right.
 */
import type { Claim, DirectoryEvent, InstanceId, ResourceKey, Session, SessionId } from '#core';

/** `owned`: each key has one owner. `balanced`: any session answers. `unknown`: no session was ever seen. */
export type PoolKind = 'unknown' | 'owned' | 'balanced';

export interface Pool {
  kind: PoolKind;
  sessions: Map<SessionId, Session>;
  /** Least recently used first. */
  claims: Map<ResourceKey, Claim>;
  keysOf: Map<SessionId, Set<ResourceKey>>;
}

export interface OwnerTable {
  pools: Map<InstanceId, Pool>;
  /** Sessions that ended lately: a late answer of the directory must not bring them back. Oldest first. */
  ended: Set<SessionId>;
  /** Sessions that events told of since the running listing began: newer than what it will say. */
  newerThanListing: Set<SessionId>;
  /** Cached claims for each pool. */
  claimsMax: number;
}

export type OwnerEvent =
  | DirectoryEvent
  /** The directory named an owner. */
  | { type: 'claimed'; claim: Claim }
  /** A host refused, or could not be reached: the entry may be old. */
  | { type: 'refused'; claim: Claim }
  | { type: 'listing-began' }
  | { type: 'listed'; sessions: readonly Session[] };

export type OwnerEffect =
  /** Requests that wait for this pool (this key, if given) should look again. */
  | { type: 'wake'; pool: InstanceId; key?: ResourceKey }
  | { type: 'wake-all' }
  /** Nothing more will be sent to this session. Unless it ended by itself, nothing more will come from it either. */
  | { type: 'retire'; sessionId: SessionId; graceful: boolean }
  /** Ask the directory for all sessions. */
  | { type: 'list-sessions' };

const endedMax = 1_000;

export function createOwnerTable(claimsMax: number): OwnerTable {
  return { pools: new Map(), ended: new Set(), newerThanListing: new Set(), claimsMax };
}

/** The cached owner; counts as use. */
export function findClaim(table: OwnerTable, poolId: InstanceId, key: ResourceKey): Claim | undefined {
  const claims = table.pools.get(poolId)?.claims;
  const claim = claims?.get(key);
  if (claim && claims) {
    claims.delete(key);
    claims.set(key, claim);
  }
  return claim;
}

export function step(table: OwnerTable, event: OwnerEvent): OwnerEffect[] {
  switch (event.type) {
    case 'session-opened':
    case 'session-changed': {
      if (table.ended.has(event.session.sessionId)) return [];
      table.newerThanListing.add(event.session.sessionId);
      setSession(table, event.session);
      return [{ type: 'wake', pool: event.session.pool }];
    }
    case 'session-ended':
      return endSession(table, event.pool, event.sessionId, event.reason === 'closed');
    case 'released': {
      const cached = table.pools.get(event.pool)?.claims.get(event.key);
      if (cached && cached.fence <= event.fence) dropClaim(table, cached);
      return [{ type: 'wake', pool: event.pool, key: event.key }];
    }
    case 'reset': {
      for (const pool of table.pools.values()) {
        pool.claims.clear();
        pool.keysOf.clear();
      }
      // Sessions stay until the listing replaces them: balanced pools go on meanwhile.
      return [{ type: 'list-sessions' }, { type: 'wake-all' }];
    }
    case 'claimed':
      keepClaim(table, event.claim);
      return [];
    case 'refused': {
      const cached = table.pools.get(event.claim.pool)?.claims.get(event.claim.key);
      if (cached && sameRight(cached, event.claim)) dropClaim(table, cached);
      return [];
    }
    case 'listing-began':
      table.newerThanListing.clear();
      return [];
    case 'listed':
      return replaceSessions(table, event.sessions);
  }
}

/** Whether two claims are the very same right: one session, one fence. */
export function sameRight(left: Claim, right: Claim): boolean {
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

function poolOf(table: OwnerTable, id: InstanceId): Pool {
  let pool = table.pools.get(id);
  if (!pool) {
    pool = { kind: 'unknown', sessions: new Map(), claims: new Map(), keysOf: new Map() };
    table.pools.set(id, pool);
  }
  return pool;
}

function setSession(table: OwnerTable, session: Session): void {
  const pool = poolOf(table, session.pool);
  pool.kind = session.ownsResources ? 'owned' : 'balanced';
  pool.sessions.set(session.sessionId, session);
}

function endSession(
  table: OwnerTable,
  poolId: InstanceId,
  sessionId: SessionId,
  graceful: boolean,
): OwnerEffect[] {
  table.ended.add(sessionId);
  if (table.ended.size > endedMax) table.ended.delete(table.ended.values().next().value!);
  const pool = table.pools.get(poolId);
  if (pool) {
    pool.sessions.delete(sessionId);
    for (const key of pool.keysOf.get(sessionId) ?? []) pool.claims.delete(key);
    pool.keysOf.delete(sessionId);
  }
  return [
    { type: 'retire', sessionId, graceful },
    { type: 'wake', pool: poolId },
  ];
}

function keepClaim(table: OwnerTable, claim: Claim): void {
  if (table.ended.has(claim.sessionId)) return;
  const pool = poolOf(table, claim.pool);
  const cached = pool.claims.get(claim.key);
  if (cached && cached.fence > claim.fence) return; // answers may overtake each other; fences tell which is newer
  if (cached) dropClaim(table, cached);
  pool.claims.set(claim.key, claim);
  const keys = pool.keysOf.get(claim.sessionId);
  if (keys) keys.add(claim.key);
  else pool.keysOf.set(claim.sessionId, new Set([claim.key]));
  if (pool.claims.size > table.claimsMax) dropClaim(table, pool.claims.values().next().value!);
}

function dropClaim(table: OwnerTable, claim: Claim): void {
  const pool = table.pools.get(claim.pool);
  if (!pool) return;
  pool.claims.delete(claim.key);
  const keys = pool.keysOf.get(claim.sessionId);
  keys?.delete(claim.key);
  if (keys?.size === 0) pool.keysOf.delete(claim.sessionId);
}

function replaceSessions(table: OwnerTable, sessions: readonly Session[]): OwnerEffect[] {
  const listed = new Set(sessions.map(session => session.sessionId));
  const effects: OwnerEffect[] = [];
  for (const [poolId, pool] of table.pools) {
    for (const sessionId of pool.sessions.keys()) {
      if (listed.has(sessionId) || table.newerThanListing.has(sessionId)) continue;
      effects.push(...endSession(table, poolId, sessionId, false));
    }
  }
  for (const session of sessions) {
    const { sessionId } = session;
    if (!table.ended.has(sessionId) && !table.newerThanListing.has(sessionId)) setSession(table, session);
  }
  effects.push({ type: 'wake-all' });
  return effects;
}
