/**
 * `Coordination` in memory, for tests of what stands on it (node manager, router). It keeps the port's rules: leases and
 * sessions expire by the injected clock, fences strictly increase, claims are sticky while their session lives and go
 * to the host with the fewest keys per capacity, documents are compare-and-set. `fail` makes every call reject.
 */
import { createHash } from 'node:crypto';
import {
  createSystem,
  HoldfastError,
  type Claim,
  type ClaimOutcome,
  type Coordination,
  type DirectoryEvent,
  type DocumentStore,
  type Fence,
  type InstanceId,
  type LeaseService,
  type ResourceDirectory,
  type ResourceKey,
  type Session,
  type SessionId,
  type StoredDocument,
  type System,
} from '#core';

export interface InMemoryCoordination extends Coordination {
  /** While true, every call rejects with HF_COORDINATION_UNAVAILABLE. */
  fail(failing: boolean): void;
  /** Ends everything whose time to live has passed, with its events. Calls do so by themselves. */
  expire(): void;
  /** What watchers get after a gap. */
  sendReset(): void;
}

interface SessionRecord extends Session {
  ttlMs: number;
  expiresAtMs: number;
}

interface Lease {
  holder: string;
  fence: bigint;
  expiresAtMs: number;
}

interface ClaimRecord {
  pool: InstanceId;
  key: ResourceKey;
  fence: Fence;
  sessionId: SessionId | null;
  hadOwner: boolean;
}

export function createInMemoryCoordination(options: { system?: System } = {}): InMemoryCoordination {
  const system = options.system ?? createSystem();
  let failing = false;
  let order = 0;

  async function enter(): Promise<void> {
    await Promise.resolve();
    if (failing) throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'the store was told to fail');
    expire();
  }
  const now = () => system.clock.monotonicMs();

  // Leases ---------------------------------------------------------------------------------------------------------
  const held = new Map<string, Lease>();
  const leaseFences = new Map<string, bigint>();
  const liveLease = (name: string) => {
    const lease = held.get(name);
    return lease && lease.expiresAtMs > now() ? lease : null;
  };
  const left = (lease: Lease) => Math.max(0, lease.expiresAtMs - now());

  const leases: LeaseService = {
    async tryAcquire(name, holder, ttlMs) {
      await enter();
      const lease = liveLease(name);
      if (lease && lease.holder !== holder) {
        return { acquired: false, fence: lease.fence, expiresInMs: left(lease), holder: lease.holder };
      }
      const fence = lease?.fence ?? (leaseFences.get(name) ?? 0n) + 1n;
      leaseFences.set(name, fence);
      held.set(name, { holder, fence, expiresAtMs: now() + ttlMs });
      return { acquired: true, fence, expiresInMs: ttlMs, holder };
    },
    async renew(name, holder, fence, ttlMs) {
      await enter();
      const lease = liveLease(name);
      if (!lease || lease.holder !== holder || lease.fence !== fence) {
        return {
          acquired: false,
          fence: lease?.fence ?? null,
          expiresInMs: lease ? left(lease) : 0,
          holder: lease?.holder ?? null,
        };
      }
      lease.expiresAtMs = now() + ttlMs;
      return { acquired: true, fence, expiresInMs: ttlMs, holder };
    },
    async release(name, holder, fence) {
      await enter();
      const lease = liveLease(name);
      if (!lease || lease.holder !== holder || lease.fence !== fence) return false;
      held.delete(name);
      return true;
    },
    async inspect(name) {
      await enter();
      const lease = liveLease(name);
      return lease ? { name, holder: lease.holder, fence: lease.fence, expiresInMs: left(lease) } : null;
    },
  };

  // Directory ------------------------------------------------------------------------------------------------------
  const sessions = new Map<SessionId, SessionRecord>();
  const claims = new Map<string, ClaimRecord>();
  const watchers = new Set<(event: DirectoryEvent) => void>();
  const claimId = (pool: InstanceId, key: ResourceKey) => `${key}\0${pool}`;

  function emit(event: DirectoryEvent): void {
    for (const watcher of watchers) watcher(event);
  }
  function shown(record: SessionRecord): Session {
    const { ttlMs: _ttlMs, expiresAtMs: _expiresAtMs, ...session } = record;
    return session;
  }
  function endSession(record: SessionRecord, reason: 'closed' | 'died' | 'expired'): void {
    sessions.delete(record.sessionId);
    for (const claim of claims.values()) if (claim.sessionId === record.sessionId) claim.sessionId = null;
    emit({ type: 'session-ended', sessionId: record.sessionId, pool: record.pool, reason });
  }
  function expire(): void {
    for (const record of sessions.values()) if (record.expiresAtMs <= now()) endSession(record, 'expired');
  }
  function claimOf(record: ClaimRecord): Claim | null {
    const session = record.sessionId === null ? undefined : sessions.get(record.sessionId);
    if (!session) return null;
    const { sessionId, processId, nodeName, address } = session;
    const { pool, key, fence, hadOwner } = record;
    return { pool, key, fence, hadOwner, sessionId, processId, nodeName, address };
  }
  function claimNow(pool: InstanceId, key: ResourceKey): ClaimOutcome {
    const record = claims.get(claimId(pool, key));
    const live = record && claimOf(record);
    if (live) return { owned: true, claim: live };
    const [chosen] = [...sessions.values()]
      .filter(session => session.pool === pool && session.ownsResources && !session.draining && session.ready)
      .sort((a, b) => a.keys / a.capacity - b.keys / b.capacity || (a.processId < b.processId ? -1 : 1));
    if (!chosen) return { owned: false, reason: 'no-live-host' };
    const next: ClaimRecord = {
      pool,
      key,
      fence: ((record?.fence ?? 0n) + 1n) as Fence,
      sessionId: chosen.sessionId,
      hadOwner: record !== undefined,
    };
    claims.set(claimId(pool, key), next);
    chosen.keys += 1;
    return { owned: true, claim: claimOf(next)! };
  }

  const directory: ResourceDirectory = {
    async openSession({ ttlMs, ...request }) {
      await enter();
      const sessionId = `session-${++order}` as SessionId;
      const record: SessionRecord = {
        ...request,
        sessionId,
        draining: false,
        ready: true,
        keys: 0,
        ttlMs,
        expiresAtMs: now() + ttlMs,
      };
      sessions.set(sessionId, record);
      emit({ type: 'session-opened', session: shown(record) });
      return { sessionId, expiresInMs: ttlMs };
    },
    async renewSession(sessionId) {
      await enter();
      const record = sessions.get(sessionId);
      if (!record) return { alive: false, expiresInMs: 0 };
      record.expiresAtMs = now() + record.ttlMs;
      return { alive: true, expiresInMs: record.ttlMs };
    },
    async updateSession(sessionId, change) {
      await enter();
      const record = sessions.get(sessionId);
      if (!record) return false;
      Object.assign(record, change);
      emit({ type: 'session-changed', session: shown(record) });
      return true;
    },
    async closeSession(sessionId) {
      await enter();
      const record = sessions.get(sessionId);
      if (record) endSession(record, 'closed');
    },
    async endSessionsOf(processId) {
      await enter();
      const ended = [...sessions.values()].filter(session => session.processId === processId);
      for (const record of ended) endSession(record, 'died');
      return ended.length;
    },
    async claim(pool, key) {
      await enter();
      return claimNow(pool, key);
    },
    async claimMany(pool, keys) {
      await enter();
      return keys.map(key => claimNow(pool, key));
    },
    async raiseFence({ pool, key, sessionId }, above) {
      await enter();
      const record = claims.get(claimId(pool, key));
      if (!record || record.sessionId !== sessionId) return null;
      record.fence = ((record.fence > above ? record.fence : above) + 1n) as Fence;
      return claimOf(record);
    },
    async lookup(pool, key) {
      await enter();
      const record = claims.get(claimId(pool, key));
      return record ? claimOf(record) : null;
    },
    async release({ pool, key, sessionId, fence }) {
      await enter();
      const record = claims.get(claimId(pool, key));
      if (!record || record.sessionId !== sessionId || record.fence !== fence) return false;
      record.sessionId = null;
      const session = sessions.get(sessionId);
      if (session) session.keys -= 1;
      emit({ type: 'released', pool, key, fence });
      return true;
    },
    async sessions(pool) {
      await enter();
      return [...sessions.values()].filter(session => pool === undefined || session.pool === pool).map(shown);
    },
    async list({ pool, key, prefix = '', limit = 1_000, cursor }) {
      await enter();
      const found = [...claims.keys()]
        .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        .filter(id => cursor === undefined || Buffer.compare(Buffer.from(id), Buffer.from(cursor)) > 0)
        .flatMap(id => {
          const claim = claimOf(claims.get(id)!);
          const wanted =
            claim &&
            (pool === undefined || claim.pool === pool) &&
            (key === undefined || claim.key === key) &&
            claim.key.startsWith(prefix);
          return wanted ? [{ id, claim }] : [];
        });
      const page = found.slice(0, limit);
      return {
        claims: page.map(entry => entry.claim),
        cursor: found.length > page.length ? page.at(-1)!.id : null,
      };
    },
    watch(listener) {
      watchers.add(listener);
      return () => watchers.delete(listener);
    },
  };

  // Documents ------------------------------------------------------------------------------------------------------
  const stored = new Map<string, StoredDocument>();
  const documentWatchers = new Map<string, Set<(document: StoredDocument) => void>>();
  const etagOf = (content: string) =>
    `${++order}-${createHash('sha256').update(content).digest('hex').slice(0, 16)}`;

  const documents: DocumentStore = {
    async get(name) {
      await enter();
      return stored.get(name) ?? null;
    },
    async put(name, content, expectedEtag) {
      await enter();
      const current = stored.get(name) ?? null;
      if ((current?.etag ?? null) !== expectedEtag) return { written: false, current };
      const document = { content, etag: etagOf(content) };
      stored.set(name, document);
      for (const listener of documentWatchers.get(name) ?? []) listener(document);
      return { written: true, etag: document.etag };
    },
    watch(name, listener) {
      const listeners = documentWatchers.get(name) ?? new Set();
      documentWatchers.set(name, listeners.add(listener));
      const present = stored.get(name);
      if (present) {
        queueMicrotask(() => {
          if (listeners.has(listener)) listener(present);
        });
      }
      return () => listeners.delete(listener);
    },
  };

  return {
    leases,
    directory,
    documents,
    async close() {
      watchers.clear();
      documentWatchers.clear();
    },
    fail: value => (failing = value),
    expire,
    sendReset: () => emit({ type: 'reset' }),
  };
}
