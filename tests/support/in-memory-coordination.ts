/**
 * `Coordination` in memory, for tests of what stands on it (node manager, router). The rules are production's: `Directory`,
 * `decideLease`; what a store adds (files, sockets, durability) is left out. `fail` makes every call reject.
 */
import { createHash } from 'node:crypto';
import {
  createSystem,
  HoldfastError,
  type Coordination,
  type DirectoryEvent,
  type DocumentStore,
  type Fence,
  type ResourceDirectory,
  type SessionId,
  type StoredDocument,
  type System,
} from '#core';
import { fenceEpoch } from '#leases';
import { Directory } from '../../ownership/directory/directory.ts';
import { ClaimStorage } from './claim-storage.ts';
import { createInMemoryLeases } from './in-memory-leases.ts';

export interface InMemoryCoordination extends Coordination {
  /** While true, every call rejects with HF_COORDINATION_UNAVAILABLE. */
  fail(failing: boolean): void;
  /** Ends everything whose time to live has passed, with its events. Calls do so by themselves. */
  expire(): void;
  /** What watchers get after a gap. */
  sendReset(): void;
  /** All documents are gone, and nobody is told: a Redis that was wiped. */
  forgetDocuments(): void;
}

export function createInMemoryCoordination(options: { system?: System } = {}): InMemoryCoordination {
  const system = options.system ?? createSystem();
  let failing = false;
  const now = () => system.clock.monotonicMs();

  async function enter(): Promise<void> {
    await Promise.resolve();
    if (failing) throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'the store was told to fail');
  }

  // Directory ------------------------------------------------------------------------------------------------------
  let fence = 0n;
  let ids = 0;
  const storage = new ClaimStorage();
  const watchers = new Set<(event: DirectoryEvent) => void>();
  const rules = new Directory({
    nextFence: () => ++fence as Fence,
    fenceAbove: above => (fence = (above > fence ? above : fence) + 1n) as Fence,
    fenceSeen: seen => void (fence = seen > fence ? seen : fence),
    newSessionId: () => `session-${++ids}` as SessionId,
    loadClaim: (pool, key) => storage.load(pool, key),
  });

  function emit(event: DirectoryEvent): void {
    for (const watcher of watchers) watcher(event);
  }
  /** Stores what was decided, then tells it. */
  function settle(): void {
    const { changes, events } = rules.takeOutput();
    storage.write(changes);
    for (const event of events) emit(event);
  }
  async function ask<T>(decide: (nowMs: number) => T): Promise<T> {
    await enter();
    try {
      return decide(now());
    } finally {
      settle();
    }
  }

  const directory: ResourceDirectory = {
    openSession: request => ask(nowMs => rules.openSession(request, nowMs)),
    renewSession: id => ask(nowMs => rules.renewSession(id, nowMs)),
    resumeSession: (request, held) => ask(nowMs => rules.resumeSession(request, held, nowMs)),
    adopt: (id, held) => ask(nowMs => rules.adopt(id, held, nowMs)),
    updateSession: (id, change) => ask(nowMs => rules.updateSession(id, change, nowMs)),
    closeSession: id => ask(nowMs => rules.closeSession(id, nowMs)),
    endSessionsOf: id => ask(nowMs => rules.endSessionsOf(id, nowMs)),
    claim: (pool, key) => ask(nowMs => rules.claim(pool, key, nowMs)),
    claimMany: (pool, keys) => ask(nowMs => keys.map(key => rules.claim(pool, key, nowMs))),
    raiseFence: (held, above) => ask(nowMs => rules.raiseFence(held, above, nowMs)),
    confirmOpened: holding => ask(nowMs => rules.confirmOpened(holding, nowMs)),
    lookup: (pool, key) => ask(nowMs => rules.lookup(pool, key, nowMs)),
    release: holding => ask(nowMs => rules.release(holding, nowMs)),
    releaseMany: holdings => ask(nowMs => holdings.map(holding => rules.release(holding, nowMs))),
    transfer: (holding, to) => ask(nowMs => rules.transfer(holding, to, nowMs)),
    pauseKey: (pool, key) => ask(nowMs => rules.pauseKey(pool, key, nowMs)),
    isPaused: (pool, key) => ask(() => rules.isPaused(pool, key)),
    resumeKey: (pool, key) => ask(nowMs => rules.resumeKey(pool, key, nowMs)),
    setAlarm: (holding, atMs) => ask(nowMs => rules.setAlarm(holding, atMs, nowMs)),
    settleAlarm: (holding, atMs) => ask(nowMs => rules.settleAlarm(holding, atMs, nowMs)),
    dueAlarms: (pool, limit) => ask(() => storage.dueAlarms(pool, limit, system.clock.wallMs())),
    sessions: pool => ask(nowMs => rules.sessions(pool, nowMs)),
    list: query =>
      ask(nowMs => {
        rules.expire(nowMs);
        return storage.list(query, id => rules.session(id));
      }),
    exportKeys: (cursor, limit) => ask(() => storage.export(cursor, limit)),
    importKeys: records => ask(nowMs => rules.importKeys(records, fenceEpoch(system.clock.wallMs()), nowMs)),
    watch(listener) {
      watchers.add(listener);
      return () => watchers.delete(listener);
    },
  };

  // Documents ------------------------------------------------------------------------------------------------------
  let writes = 0;
  const stored = new Map<string, StoredDocument>();
  const documentWatchers = new Map<string, Set<(document: StoredDocument) => void>>();
  const etagOf = (content: string) =>
    `${++writes}-${createHash('sha256').update(content).digest('hex').slice(0, 16)}`;

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
    leases: createInMemoryLeases({ system, enter }),
    directory,
    documents,
    async close() {
      watchers.clear();
      documentWatchers.clear();
    },
    fail: value => (failing = value),
    expire() {
      rules.expire(now());
      settle();
    },
    sendReset: () => emit({ type: 'reset' }),
    forgetDocuments: () => stored.clear(),
  };
}
