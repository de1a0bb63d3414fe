/** What the directory remembers, and what it tells its storage to remember. */
import type { DirectoryEvent, Fence, InstanceId, OpenSession, ResourceKey, SessionId } from '#core';

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

/** The record of a key that was claimed at some time. Mutable, and owned by the directory. */
export interface ClaimRecord {
  readonly pool: InstanceId;
  readonly key: ResourceKey;
  fence: Fence;
  /** Null after a release; a session that is not live any more counts as none. */
  session: SessionRecord | null;
  /**
   * Whether an owner has opened the key, ever. A claim alone says nothing about state: the host may have died before
   * it made any, and the next owner must be free to.
   */
  opened: boolean;
}

/** A claim as storage gives it back. */
export interface StoredClaim {
  fence: Fence;
  sessionId: SessionId | null;
  opened: boolean;
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
