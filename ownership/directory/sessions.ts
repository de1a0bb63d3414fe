/**
 * The directory's sessions: who is live, since when, until when. An ended session never comes back; its record says `live: false` to
 * the keys that still name it, so that ending one costs nothing per key.
 *
 * An opening may arrive late (over a connection that was given up, at a store that stood still) or twice. It ends earlier sessions of its
 * process, and must not end a later one, on which the host counts. So it is carried out only if its attempt is above all that were
 * carried out for the process. That is safe as long as each *live* session is remembered with its attempt, which it is: they are
 * stored together. Attempts of processes without a session are remembered as far as there is room, and not over a restart: a late
 * opening that slips through ends nothing, because there is nothing to end. It leaves a session that no host believes in: keys
 * that come to it wait until it expires, or until the process opens its next one. The same goes for a store that forgot. What such
 * a late `resumeSession` brings back there is under fences below those of whoever got the keys since, who brings them back too.
 */
import {
  HoldfastError,
  type InstanceId,
  type OpenSession,
  type ProcessId,
  type Session,
  type SessionId,
} from '#core';
import { describeSession, type OutputCollector, type SessionRecord } from './records.ts';

/** Of those that have no session any more. */
const processesMax = 10_000;

export class Sessions {
  readonly #output: OutputCollector;
  readonly #newSessionId: () => SessionId;
  readonly #byId = new Map<SessionId, SessionRecord>();
  readonly #byPool = new Map<InstanceId, Set<SessionRecord>>();
  /** Processes with proof of death: what they had sent before may still arrive, and must not open a session. */
  readonly #dead = new Set<ProcessId>();
  /** The last attempt of processes that had a session, those that ended last at the end. */
  readonly #attempts = new Map<ProcessId, number>();
  #earliestEndMs = Infinity;

  constructor(output: OutputCollector, newSessionId: () => SessionId, found: SessionRecord[]) {
    this.#output = output;
    this.#newSessionId = newSessionId;
    for (const session of found) this.#add(session);
  }

  get(sessionId: SessionId): SessionRecord | null {
    return this.#byId.get(sessionId) ?? null;
  }

  ofPool(pool: InstanceId): Iterable<SessionRecord> {
    return this.#byPool.get(pool) ?? [];
  }

  describe(pool: InstanceId | undefined): Session[] {
    return Array.from(pool === undefined ? this.#byId.values() : this.ofPool(pool), describeSession);
  }

  /** @throws HoldfastError HF_WRONG_STATE for a process that was reported dead, or when a later opening of it was carried out */
  open(request: OpenSession, nowMs: number): SessionRecord {
    const { endEarlier, ...facts } = request;
    if (this.#dead.has(facts.processId)) {
      throw new HoldfastError('HF_WRONG_STATE', `the process ${facts.processId} was reported dead`);
    }
    const latest = this.#latestAttempt(facts.processId);
    if (facts.attempt <= latest) {
      throw new HoldfastError(
        'HF_WRONG_STATE',
        `attempt ${facts.attempt} of the process ${facts.processId} to open a session came late: ${latest} was carried out`,
      );
    }
    if (endEarlier) this.#endAll(facts.processId, 'closed');
    const session: SessionRecord = {
      ...facts,
      sessionId: this.#newSessionId(),
      draining: false,
      ready: true,
      expiresAtMs: nowMs + facts.ttlMs,
      keys: 0,
      live: true,
    };
    this.#add(session);
    this.#output.session(session);
    this.#output.event({ type: 'session-opened', session: describeSession(session) });
    return session;
  }

  renew(session: SessionRecord, nowMs: number): void {
    session.expiresAtMs = nowMs + session.ttlMs;
    this.#output.session(session);
  }

  update(session: SessionRecord, change: { draining?: boolean; ready?: boolean }): void {
    const draining = change.draining ?? session.draining;
    const ready = change.ready ?? session.ready;
    if (draining === session.draining && ready === session.ready) return;
    Object.assign(session, { draining, ready });
    this.#output.session(session);
    this.#output.event({ type: 'session-changed', session: describeSession(session) });
  }

  close(session: SessionRecord): void {
    this.#end(session, 'closed');
  }

  /** Proof of death. Returns how many sessions it ended. */
  died(processId: ProcessId): number {
    this.#dead.add(processId);
    dropOldest(this.#dead);
    return this.#endAll(processId, 'died');
  }

  /** Ends what has expired. Returns when to look again, null while there is no session. */
  expire(nowMs: number): number | null {
    // Renewals only move ends later, so nothing can have expired before the earliest end that was seen.
    if (nowMs >= this.#earliestEndMs) {
      let earliest = Infinity;
      for (const session of this.#byId.values()) {
        if (session.expiresAtMs <= nowMs) this.#end(session, 'expired');
        else earliest = Math.min(earliest, session.expiresAtMs);
      }
      this.#earliestEndMs = earliest;
    }
    return this.#earliestEndMs === Infinity ? null : this.#earliestEndMs;
  }

  #add(session: SessionRecord): void {
    this.#byId.set(session.sessionId, session);
    this.#earliestEndMs = Math.min(this.#earliestEndMs, session.expiresAtMs);
    const pool = this.#byPool.get(session.pool);
    if (pool) pool.add(session);
    else this.#byPool.set(session.pool, new Set([session]));
  }

  /** O(1): records that name the session stay, and count as unowned from now on. */
  #end(session: SessionRecord, reason: 'closed' | 'died' | 'expired'): void {
    session.live = false;
    this.#byId.delete(session.sessionId);
    const attempt = Math.max(session.attempt, this.#attempts.get(session.processId) ?? 0);
    this.#attempts.delete(session.processId);
    this.#attempts.set(session.processId, attempt);
    dropOldest(this.#attempts);
    const pool = this.#byPool.get(session.pool);
    pool?.delete(session);
    if (pool?.size === 0) this.#byPool.delete(session.pool);
    this.#output.ended(session);
    const { sessionId, pool: ofPool } = session;
    this.#output.event({ type: 'session-ended', sessionId, pool: ofPool, reason });
  }

  #endAll(processId: ProcessId, reason: 'closed' | 'died'): number {
    const own = this.#of(processId);
    for (const session of own) this.#end(session, reason);
    return own.length;
  }

  #of(processId: ProcessId): SessionRecord[] {
    return Array.from(this.#byId.values()).filter(session => session.processId === processId);
  }

  #latestAttempt(processId: ProcessId): number {
    const live = this.#of(processId).map(({ attempt }) => attempt);
    return Math.max(this.#attempts.get(processId) ?? 0, ...live);
  }
}

function dropOldest(remembered: Set<ProcessId> | Map<ProcessId, number>): void {
  if (remembered.size <= processesMax) return;
  for (const oldest of remembered.keys()) {
    remembered.delete(oldest);
    break;
  }
}
