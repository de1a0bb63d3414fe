/**
 * Ports to the coordination store: what `leases` and `ownership` implement, and what hosts, agents, the router and the
 * node manager use. Types only. The rules of the protocol: docs/ownership.md.
 */
import type { LeaseService } from './component.ts';
import type { CoordinationAddress } from './host-protocol.ts';
import type { Fence, InstanceId, NodeName, ProcessId, ResourceKey, SessionId } from './identifiers.ts';

/** One connection to the coordination store of the cluster. */
export interface Coordination {
  readonly leases: LeaseService;
  readonly directory: ResourceDirectory;
  readonly documents: DocumentStore;
  /** Ends the connection. Idempotent. */
  close(): Promise<void>;
}

/** One host's lease on its own liveness, as the directory shows it. */
export interface Session {
  sessionId: SessionId;
  pool: InstanceId;
  processId: ProcessId;
  nodeName: NodeName;
  /** Where the router reaches the host, `http://ip:port`. */
  address: string;
  /** Whether the component owns resources (`openResource`) or just answers (`fetch`). */
  ownsResources: boolean;
  /** Relative share of keys, at least 1. */
  capacity: number;
  /** Draining hosts get no new keys and no new stateless requests. */
  draining: boolean;
  /** False while the component reports itself not ready. */
  ready: boolean;
  keys: number;
}

/** Who owns a key. */
export interface Claim {
  pool: InstanceId;
  key: ResourceKey;
  fence: Fence;
  sessionId: SessionId;
  processId: ProcessId;
  nodeName: NodeName;
  address: string;
  /** Whether some session has opened this key before: its state must exist then. */
  hadOwner: boolean;
}

/**
 * `no-live-host`: nobody may take the key. `paused`: an operator paused it. `recovering`: the store has forgotten who owns what, and
 * gives nothing new out until every host that may own something has had its time to say so.
 */
export type ClaimOutcome =
  { owned: true; claim: Claim } | { owned: false; reason: 'no-live-host' | 'paused' | 'recovering' };

/** The right to a key, as its holder states it. */
export interface Holding {
  pool: InstanceId;
  key: ResourceKey;
  sessionId: SessionId;
  fence: Fence;
}

/** A key that a host holds, as it tells a store that has forgotten. */
export interface HeldKey {
  key: ResourceKey;
  fence: Fence;
  /** Whether it has opened the key, or knows that somebody had. */
  opened: boolean;
  /** Its alarm, epoch milliseconds; null: none. */
  alarmAtMs: number | null;
}

/** What the directory remembers of a key, whoever owns it now: what a backup must hold. */
export interface KeyRecord {
  pool: InstanceId;
  key: ResourceKey;
  /** The highest that any owner of it had; 0: nobody ever owned it. */
  fence: Fence;
  /** Whether an owner has opened it, ever: its state must exist then. */
  opened: boolean;
  paused: boolean;
  /** Epoch milliseconds; null: none. */
  alarmAtMs: number | null;
}

export interface OpenSession {
  pool: InstanceId;
  processId: ProcessId;
  nodeName: NodeName;
  address: string;
  ownsResources: boolean;
  capacity: number;
  ttlMs: number;
  /**
   * A whole number from 1 on that grows with every opening and resuming of the process. One that arrives late or twice is told by it,
   * and ends nothing.
   */
  attempt: number;
  /**
   * Ends earlier sessions of the same process in the same step, among them one whose opening was never answered. Only
   * for a process that has closed all its resources.
   */
  endEarlier?: boolean;
}

export type DirectoryEvent =
  | { type: 'session-opened' | 'session-changed'; session: Session }
  | { type: 'session-ended'; sessionId: SessionId; pool: InstanceId; reason: 'closed' | 'died' | 'expired' }
  | { type: 'released'; pool: InstanceId; key: ResourceKey; fence: Fence }
  /** Handed from one live session to another: `claim` is the new right, `from` ended. */
  | { type: 'moved'; claim: Claim; from: SessionId }
  | { type: 'paused' | 'resumed'; pool: InstanceId; key: ResourceKey }
  /**
   * Events may have been missed: look anew at sessions. Cached claims may be kept: a stale one costs whoever uses it an answer
   * HF_NOT_OWNER (421), which tells the right owner or makes it ask.
   */
  | { type: 'reset' };

/** The resource directory: sessions and claims. Every method rejects with HF_COORDINATION_UNAVAILABLE when the store cannot be asked. */
export interface ResourceDirectory {
  /**
   * @throws HoldfastError HF_WRONG_STATE, having changed nothing: the process was reported dead, or `attempt` is not above the highest
   * that was carried out for it. Then the answer to this one was given before, or nobody waits for it any more.
   */
  openSession(request: OpenSession): Promise<{ sessionId: SessionId; expiresInMs: number }>;
  /**
   * `alive: false` means that the session is over for good. `forgotten` with it: the store has lost its memory and is collecting
   * what hosts still hold; until the host's own deadline `resumeSession` may keep everything where it is.
   */
  renewSession(sessionId: SessionId): Promise<{ alive: boolean; expiresInMs: number; forgotten?: boolean }>;
  /**
   * Opens a session in place of one that was lost, and keeps what the host still holds: first batch of at most 1,000 keys, others by
   * `adopt`. Ends earlier sessions of the same process. A key is kept if nobody can have got it since: its record has this very fence
   * and no live owner, or the store forgot and is still collecting. `refused` keys belong to somebody else, or may.
   * @throws HoldfastError as `openSession`
   */
  resumeSession(
    request: OpenSession,
    held: HeldKey[],
  ): Promise<{ sessionId: SessionId; expiresInMs: number; refused: ResourceKey[] }>;
  /** More keys for a session that was just resumed, at most 1,000; resolves to those refused (all, if it is not live). */
  adopt(sessionId: SessionId, held: HeldKey[]): Promise<ResourceKey[]>;
  /** Changes what the directory tells others of a live session. Resolves to whether it is live. */
  updateSession(sessionId: SessionId, change: { draining?: boolean; ready?: boolean }): Promise<boolean>;
  /** The host itself ends its session, after it has closed all resources. Idempotent. */
  closeSession(sessionId: SessionId): Promise<void>;
  /** An agent that has proof of the process's death ends its sessions at once. Idempotent; resolves to how many ended. */
  endSessionsOf(processId: ProcessId): Promise<number>;
  /** Sticky: the live owner, or a newly chosen one with the next fence. One atomic step. */
  claim(pool: InstanceId, key: ResourceKey): Promise<ClaimOutcome>;
  /** As `claim`, for many keys in one round trip; outcomes in the order of the keys. At most 1,000. */
  claimMany(pool: InstanceId, keys: ResourceKey[]): Promise<ClaimOutcome[]>;
  /** After HF_FENCED: takes a fence above `above` for a key that this live session owns. Null if it does not own it. */
  raiseFence(
    claim: { pool: InstanceId; key: ResourceKey; sessionId: SessionId },
    above: Fence,
  ): Promise<Claim | null>;
  /**
   * The owner has opened the key: from now on its state exists, and later claims say `hadOwner`. Resolves to whether
   * session and fence still hold the key.
   */
  confirmOpened(holding: Holding): Promise<boolean>;
  /** The record as it stands, null if there is none or its session is not live. */
  lookup(pool: InstanceId, key: ResourceKey): Promise<Claim | null>;
  /** Gives a key up, only with the very session and fence that hold it. Resolves to whether they did. */
  release(holding: Holding): Promise<boolean>;
  /** As `release`, for many keys in one round trip, in their order. At most 1,000. */
  releaseMany(holdings: Holding[]): Promise<boolean[]>;
  /**
   * Hands a key, held by the very session and fence, to another live, ready session of its pool that is not draining, under the next
   * fence: to `to` if that one may take it, else to the one that `claim` would choose. Null when nobody may: then the key is
   * released. `held: false`: nothing was changed. One atomic step. The source must have closed the resource.
   */
  transfer(
    holding: Holding,
    to: SessionId | null,
  ): Promise<{ held: true; claim: Claim | null } | { held: false }>;
  /** No claim of the key succeeds until `resumeKey`. Resolves to who owns it and must be asked to let go, null: nobody. Idempotent. */
  pauseKey(pool: InstanceId, key: ResourceKey): Promise<Claim | null>;
  /** Resolves to whether it was paused. */
  resumeKey(pool: InstanceId, key: ResourceKey): Promise<boolean>;
  isPaused(pool: InstanceId, key: ResourceKey): Promise<boolean>;
  /** Sets (null: clears) the key's alarm, epoch milliseconds. Resolves to whether session and fence still hold the key. */
  setAlarm(holding: Holding, atMs: number | null): Promise<boolean>;
  /** Clears the alarm if it still is the one of `atMs`. Resolves to whether session and fence still hold the key. */
  settleAlarm(holding: Holding, atMs: number): Promise<boolean>;
  /**
   * Alarms of a pool whose time has come by the store's time of day, earliest first, and how long until the next after them. Those
   * of paused keys wait until the key is resumed.
   */
  dueAlarms(
    pool: InstanceId,
    limit: number,
  ): Promise<{ alarms: { key: ResourceKey; atMs: number }[]; nextInMs: number | null }>;
  sessions(pool?: InstanceId): Promise<Session[]>;
  /** Owned keys in byte order of (key, pool), after `cursor`; `limit` 1 to 1,000. */
  list(query: {
    pool?: InstanceId;
    key?: ResourceKey;
    prefix?: string;
    sessionId?: SessionId;
    limit?: number;
    cursor?: string;
  }): Promise<{ claims: Claim[]; cursor: string | null }>;
  /**
   * The records of all keys, in any order; `limit` 1 to 1,000 of about so many, the first page after null. What changes meanwhile may be told as it was or as
   * it is, and twice.
   */
  exportKeys(cursor: string | null, limit: number): Promise<{ records: KeyRecord[]; cursor: string | null }>;
  /**
   * Takes over what another directory knew, at most 1,000 records. From now on every fence is above all that the other can have given out, also
   * after it was exported (see docs/ownership.md). A key that has a live owner here is left as it is, and told as refused; one that was
   * owned here under a higher fence keeps what was learnt here.
   */
  importKeys(records: KeyRecord[]): Promise<{ pool: InstanceId; key: ResourceKey }[]>;
  /** Calls for every event from now on, in order; `reset` after a gap. The result stops it. */
  watch(listener: (event: DirectoryEvent) => void): () => void;
}

export interface StoredDocument {
  content: string;
  etag: string;
}

/** Small documents with compare-and-set: the settings, the leader's notes. Content at most 4 MiB. */
export interface DocumentStore {
  get(name: string): Promise<StoredDocument | null>;
  /** Writes if the stored ETag is `expectedEtag` (null: if there is none). `written: false` brings what is there. */
  put(
    name: string,
    content: string,
    expectedEtag: string | null,
  ): Promise<{ written: true; etag: string } | { written: false; current: StoredDocument | null }>;
  /** Calls with the present document (if any) and after each change. The result stops it. */
  watch(name: string, listener: (document: StoredDocument) => void): () => void;
}

/** What `ComponentContext.cluster` holds for a package with the permission `cluster` (node manager, router). */
export interface ClusterAccess {
  readonly clusterName: string;
  /** The cluster secret: the admin token. Never log it. */
  readonly secret: string;
  readonly coordination: Coordination;
  /** Where that store is, for nodes that join. Holds passwords: never log it. */
  readonly address: CoordinationAddress;
}

/** Name of the settings document. Its content is JSON of `StoredSettings`. */
export const SETTINGS_DOCUMENT = 'settings';

/** How the settings lie in the store. */
export interface StoredSettings {
  /** The settings document as text, valid when stored. */
  text: string;
  /** ISO 8601 UTC. */
  updatedAt: string;
  /** `file`, or who asked by the API: `api`, `api: ada@laptop (admin)`, `undo: …`, `restore: …`, `rollback`. */
  updatedBy: string;
  /** Counts the documents that were accepted, from 1. Absent in what older versions stored, which counts as 1. */
  revision?: number;
  /** SHA-256 (hex) of the settings file when it last agreed with this; tells an edited file from an old one. */
  fileSha256: string | null;
}

/** Name of the document that tells which run of a job was begun last: JSON with `number`, `attempt` and `processId`. */
export function jobMarkerName(instanceId: string): string {
  return `job-begun/${instanceId}`;
}
