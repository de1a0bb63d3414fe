/**
 * The resource directory's decisions, in memory: sessions, claims, and who gets a key. No I/O and no clock: every method
 * takes `nowMs`, fences and ids come from ports, and what is to be stored or told is collected for `takeOutput`. An
 * answer may be given only after that output was stored.
 *
 * What must hold:
 * - A session is live while `nowMs < expiresAtMs` and it was not ended. Each method first ends what has expired, so no
 *   decision counts on a session whose time is over. An ended session never comes back.
 * - The record of a key names one session, and the fence grows whenever that name changes.
 * - `session.keys` is the number of records that name it.
 */
import {
  HoldfastError,
  type Claim,
  type ClaimOutcome,
  type Fence,
  type InstanceId,
  type OpenSession,
  type ProcessId,
  type ResourceKey,
  type Session,
  type SessionId,
} from '#core';
import { chooseOwner } from '../placement.ts';
import type { ClaimRecord, DirectoryOutput, SessionRecord, StoredClaim } from './records.ts';

export interface DirectoryPorts {
  nextFence(): Fence;
  /** The next fence, but above `above`. */
  fenceAbove(above: Fence): Fence;
  newSessionId(): SessionId;
  /** The record of a key that is not in memory yet. */
  loadClaim(pool: InstanceId, key: ResourceKey): StoredClaim | null;
}

type KeyOf = { pool: InstanceId; key: ResourceKey };
type Holding = KeyOf & { sessionId: SessionId; fence: Fence };

const deadProcessesMax = 10_000;

export class Directory {
  readonly #ports: DirectoryPorts;
  readonly #sessions = new Map<SessionId, SessionRecord>();
  readonly #pools = new Map<InstanceId, Set<SessionRecord>>();
  readonly #claims = new Map<InstanceId, Map<ResourceKey, ClaimRecord>>();
  /** Processes with proof of death: what they had sent before may still arrive, and must not open a session. */
  readonly #dead = new Set<ProcessId>();
  #earliestEndMs = Infinity;
  #output: DirectoryOutput = { changes: [], events: [] };

  /** `sessions` are those found in storage. */
  constructor(ports: DirectoryPorts, sessions: SessionRecord[] = []) {
    this.#ports = ports;
    for (const session of sessions) this.#add(session);
  }

  openSession(request: OpenSession, nowMs: number): { sessionId: SessionId; expiresInMs: number } {
    this.expire(nowMs);
    const { endEarlier, ...facts } = request;
    if (this.#dead.has(facts.processId)) {
      throw new HoldfastError('HF_WRONG_STATE', `the process ${facts.processId} was reported dead`);
    }
    if (endEarlier) this.#endAll(facts.processId, 'closed');
    const session: SessionRecord = {
      ...facts,
      sessionId: this.#ports.newSessionId(),
      draining: false,
      ready: true,
      expiresAtMs: nowMs + facts.ttlMs,
      keys: 0,
      live: true,
    };
    this.#add(session);
    this.#output.changes.push({ type: 'put-session', session });
    this.#output.events.push({ type: 'session-opened', session: describeSession(session) });
    return { sessionId: session.sessionId, expiresInMs: facts.ttlMs };
  }

  renewSession(sessionId: SessionId, nowMs: number): { alive: boolean; expiresInMs: number } {
    this.expire(nowMs);
    const session = this.#sessions.get(sessionId);
    if (!session) return { alive: false, expiresInMs: 0 };
    session.expiresAtMs = nowMs + session.ttlMs;
    this.#output.changes.push({ type: 'put-session', session });
    return { alive: true, expiresInMs: session.ttlMs };
  }

  updateSession(
    sessionId: SessionId,
    change: { draining?: boolean; ready?: boolean },
    nowMs: number,
  ): boolean {
    this.expire(nowMs);
    const session = this.#sessions.get(sessionId);
    if (!session) return false;
    const draining = change.draining ?? session.draining;
    const ready = change.ready ?? session.ready;
    if (draining !== session.draining || ready !== session.ready) {
      Object.assign(session, { draining, ready });
      this.#output.changes.push({ type: 'put-session', session });
      this.#output.events.push({ type: 'session-changed', session: describeSession(session) });
    }
    return true;
  }

  closeSession(sessionId: SessionId, nowMs: number): void {
    this.expire(nowMs);
    const session = this.#sessions.get(sessionId);
    if (session) this.#end(session, 'closed');
  }

  endSessionsOf(processId: ProcessId, nowMs: number): number {
    this.expire(nowMs);
    this.#dead.add(processId);
    if (this.#dead.size > deadProcessesMax) {
      for (const oldest of this.#dead) {
        this.#dead.delete(oldest);
        break;
      }
    }
    return this.#endAll(processId, 'died');
  }

  claim(pool: InstanceId, key: ResourceKey, nowMs: number): ClaimOutcome {
    this.expire(nowMs);
    const record = this.#find({ pool, key });
    if (record?.session?.live) return { owned: true, claim: describeClaim(record, record.session) };
    const owner = chooseOwner(this.#pools.get(pool) ?? []);
    if (!owner) return { owned: false, reason: 'no-live-host' };
    const claimed = record ?? this.#remember({ pool, key, fence: 0n as Fence, session: null, opened: false });
    claimed.session = owner;
    claimed.fence = this.#ports.nextFence();
    owner.keys++;
    this.#output.changes.push({ type: 'put-claim', claim: claimed });
    return { owned: true, claim: describeClaim(claimed, owner) };
  }

  raiseFence(held: KeyOf & { sessionId: SessionId }, above: Fence, nowMs: number): Claim | null {
    this.expire(nowMs);
    const record = this.#find(held);
    if (!record?.session?.live || record.session.sessionId !== held.sessionId) return null;
    record.fence = this.#ports.fenceAbove(above);
    this.#output.changes.push({ type: 'put-claim', claim: record });
    return describeClaim(record, record.session);
  }

  confirmOpened(held: Holding, nowMs: number): boolean {
    this.expire(nowMs);
    const record = this.#heldBy(held);
    if (record && !record.opened) {
      record.opened = true;
      this.#output.changes.push({ type: 'put-claim', claim: record });
    }
    return record !== null;
  }

  lookup(pool: InstanceId, key: ResourceKey, nowMs: number): Claim | null {
    this.expire(nowMs);
    const record = this.#find({ pool, key });
    return record?.session?.live ? describeClaim(record, record.session) : null;
  }

  release(held: Holding, nowMs: number): boolean {
    this.expire(nowMs);
    const record = this.#heldBy(held);
    if (!record?.session) return false;
    record.session.keys--;
    record.session = null;
    this.#output.changes.push({ type: 'put-claim', claim: record });
    this.#output.events.push({ type: 'released', pool: held.pool, key: held.key, fence: held.fence });
    return true;
  }

  sessions(pool: InstanceId | undefined, nowMs: number): Session[] {
    this.expire(nowMs);
    const found = pool === undefined ? this.#sessions.values() : (this.#pools.get(pool) ?? []);
    return Array.from(found, describeSession);
  }

  /** The live session with this id. */
  session(sessionId: SessionId): SessionRecord | null {
    return this.#sessions.get(sessionId) ?? null;
  }

  /** Ends what has expired. Returns when to look again, null while there is no session. */
  expire(nowMs: number): number | null {
    // Renewals only move ends later, so nothing can have expired before the earliest end that was seen.
    if (nowMs >= this.#earliestEndMs) {
      let earliest = Infinity;
      for (const session of this.#sessions.values()) {
        if (session.expiresAtMs <= nowMs) this.#end(session, 'expired');
        else earliest = Math.min(earliest, session.expiresAtMs);
      }
      this.#earliestEndMs = earliest;
    }
    return this.#earliestEndMs === Infinity ? null : this.#earliestEndMs;
  }

  /** What is to be stored and then told; the next call starts empty. */
  takeOutput(): DirectoryOutput {
    const output = this.#output;
    this.#output = { changes: [], events: [] };
    return output;
  }

  get hasOutput(): boolean {
    return this.#output.changes.length > 0 || this.#output.events.length > 0;
  }

  #add(session: SessionRecord): void {
    this.#sessions.set(session.sessionId, session);
    this.#earliestEndMs = Math.min(this.#earliestEndMs, session.expiresAtMs);
    const pool = this.#pools.get(session.pool);
    if (pool) pool.add(session);
    else this.#pools.set(session.pool, new Set([session]));
  }

  /** O(1): records that name the session stay, and count as unowned from now on. */
  #end(session: SessionRecord, reason: 'closed' | 'died' | 'expired'): void {
    session.live = false;
    this.#sessions.delete(session.sessionId);
    const pool = this.#pools.get(session.pool);
    pool?.delete(session);
    if (pool?.size === 0) this.#pools.delete(session.pool);
    this.#output.changes.push({ type: 'delete-session', sessionId: session.sessionId });
    this.#output.events.push({
      type: 'session-ended',
      sessionId: session.sessionId,
      pool: session.pool,
      reason,
    });
  }

  #endAll(processId: ProcessId, reason: 'closed' | 'died'): number {
    const own = Array.from(this.#sessions.values()).filter(session => session.processId === processId);
    for (const session of own) this.#end(session, reason);
    return own.length;
  }

  #find({ pool, key }: KeyOf): ClaimRecord | null {
    const known = this.#claims.get(pool)?.get(key);
    if (known) return known;
    const stored = this.#ports.loadClaim(pool, key);
    if (!stored) return null;
    const session = stored.sessionId === null ? null : (this.#sessions.get(stored.sessionId) ?? null);
    return this.#remember({ pool, key, fence: stored.fence, session, opened: stored.opened });
  }

  #heldBy(held: Holding): ClaimRecord | null {
    const record = this.#find(held);
    if (!record?.session?.live || record.session.sessionId !== held.sessionId) return null;
    return record.fence === held.fence ? record : null;
  }

  #remember(record: ClaimRecord): ClaimRecord {
    const pool = this.#claims.get(record.pool);
    if (pool) pool.set(record.key, record);
    else this.#claims.set(record.pool, new Map([[record.key, record]]));
    return record;
  }
}

/** A claim as others see it. */
export function describeClaim(record: ClaimRecord | (KeyOf & StoredClaim), session: SessionRecord): Claim {
  const { pool, key, fence, opened } = record;
  const { sessionId, processId, nodeName, address } = session;
  return { pool, key, fence, sessionId, processId, nodeName, address, hadOwner: opened };
}

function describeSession(session: SessionRecord): Session {
  const { sessionId, pool, processId, nodeName, address, ownsResources, capacity } = session;
  const { draining, ready, keys } = session;
  return { sessionId, pool, processId, nodeName, address, ownsResources, capacity, draining, ready, keys };
}
