/**
 * The directory's sessions: who is live, since when, until when. An ended session never comes back; its record says `live: false` to
 * the keys that still name it, so that ending one costs nothing per key.
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

const deadProcessesMax = 10_000;

export class Sessions {
  readonly #output: OutputCollector;
  readonly #newSessionId: () => SessionId;
  readonly #byId = new Map<SessionId, SessionRecord>();
  readonly #byPool = new Map<InstanceId, Set<SessionRecord>>();
  /** Processes with proof of death: what they had sent before may still arrive, and must not open a session. */
  readonly #dead = new Set<ProcessId>();
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

  /** @throws HoldfastError HF_WRONG_STATE for a process that was reported dead */
  open(request: OpenSession, nowMs: number): SessionRecord {
    const { endEarlier, ...facts } = request;
    if (this.#dead.has(facts.processId)) {
      throw new HoldfastError('HF_WRONG_STATE', `the process ${facts.processId} was reported dead`);
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
    if (this.#dead.size > deadProcessesMax) {
      for (const oldest of this.#dead) {
        this.#dead.delete(oldest);
        break;
      }
    }
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
    const pool = this.#byPool.get(session.pool);
    pool?.delete(session);
    if (pool?.size === 0) this.#byPool.delete(session.pool);
    this.#output.ended(session);
    const { sessionId, pool: ofPool } = session;
    this.#output.event({ type: 'session-ended', sessionId, pool: ofPool, reason });
  }

  #endAll(processId: ProcessId, reason: 'closed' | 'died'): number {
    const own = Array.from(this.#byId.values()).filter(session => session.processId === processId);
    for (const session of own) this.#end(session, reason);
    return own.length;
  }
}
