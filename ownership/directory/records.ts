/** What the directory remembers, what it tells its storage to remember, and what it shows others of it. */
import type {
  Claim,
  DirectoryEvent,
  Fence,
  InstanceId,
  OpenSession,
  ResourceKey,
  Session,
  SessionId,
} from '#core';

/** A live session. Mutable, and owned by the directory. */
export interface SessionRecord extends Omit<OpenSession, 'endEarlier'> {
  readonly sessionId: SessionId;
  draining: boolean;
  ready: boolean;
  /** On the store's clock. */
  expiresAtMs: number;
  /** Keys whose record names this session. */
  keys: number;
  /** False once the session has ended, for whoever still refers to the record. */
  live: boolean;
}

/** A key within its pool. */
export interface KeyOf {
  readonly pool: InstanceId;
  readonly key: ResourceKey;
}

/** The record of a key that was claimed (or paused) at some time. Mutable, and owned by the directory. */
export interface ClaimRecord extends KeyOf {
  /** 0 while nobody has ever owned it. */
  fence: Fence;
  /**
   * Null: nobody has owned it yet, or its last owner gave it up. A session that is not live counts as no owner, but it has given nothing
   * up: its host may hold the key still, and bring it back (`adopt`).
   */
  session: SessionRecord | null;
  /**
   * Whether an owner has opened the key, ever. A claim alone says nothing about state: the host may have died before
   * it made any, and the next owner must be free to.
   */
  opened: boolean;
  /** An operator wants nobody to own it. */
  paused: boolean;
  /** Epoch milliseconds; null: none. */
  alarmAtMs: number | null;
}

/** A claim as storage gives it back. */
export interface StoredClaim {
  fence: Fence;
  /** Null only where the record said so: a session that has ended since stays named. */
  sessionId: SessionId | null;
  opened: boolean;
  paused: boolean;
  alarmAtMs: number | null;
}

/** One row to be written. Records are written as they stand at that moment, which is never older than the change. */
export type DirectoryChange =
  | { type: 'put-session'; session: SessionRecord }
  | { type: 'delete-session'; sessionId: SessionId }
  | { type: 'put-claim'; claim: ClaimRecord };

/** Everything that decisions made since the last look want written, and want told after that. */
export interface DirectoryOutput {
  changes: DirectoryChange[];
  events: DirectoryEvent[];
}

/** Collects output. A record that changes many times between two looks is written once. */
export class OutputCollector {
  readonly #sessions = new Set<SessionRecord>();
  readonly #ended: SessionId[] = [];
  readonly #claims = new Set<ClaimRecord>();
  #events: DirectoryEvent[] = [];

  session(session: SessionRecord): void {
    if (session.live) this.#sessions.add(session);
  }

  ended(session: SessionRecord): void {
    this.#sessions.delete(session);
    this.#ended.push(session.sessionId);
  }

  claim(claim: ClaimRecord): void {
    this.#claims.add(claim);
  }

  event(event: DirectoryEvent): void {
    this.#events.push(event);
  }

  get isEmpty(): boolean {
    return this.#sessions.size + this.#ended.length + this.#claims.size + this.#events.length === 0;
  }

  take(): DirectoryOutput {
    const changes: DirectoryChange[] = [];
    for (const session of this.#sessions) changes.push({ type: 'put-session', session });
    for (const sessionId of this.#ended) changes.push({ type: 'delete-session', sessionId });
    for (const claim of this.#claims) changes.push({ type: 'put-claim', claim });
    const events = this.#events;
    this.#sessions.clear();
    this.#ended.length = 0;
    this.#claims.clear();
    this.#events = [];
    return { changes, events };
  }
}

/** A claim as others see it. */
export function describeClaim(
  record: KeyOf & Pick<StoredClaim, 'fence' | 'opened'>,
  session: SessionRecord,
): Claim {
  const { pool, key, fence, opened } = record;
  const { sessionId, processId, nodeName, address } = session;
  return { pool, key, fence, sessionId, processId, nodeName, address, hadOwner: opened };
}

export function describeSession(session: SessionRecord): Session {
  const { sessionId, pool, processId, nodeName, address, ownsResources, capacity } = session;
  const { draining, ready, keys } = session;
  return { sessionId, pool, processId, nodeName, address, ownsResources, capacity, draining, ready, keys };
}
