/**
 * What the coordinator remembers across restarts: prepared statements over its database, no decisions. Everything is
 * written inside `transaction`, which also writes the fence counter, so that a fence is never durable without its claim
 * nor the other way round.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Fence, InstanceId, NodeName, ProcessId, ResourceKey, SessionId, StoredDocument } from '#core';
import { adoptIncarnation, createLeaseTable, fenceEpoch, type LeaseTable } from '#leases';
import type { DirectoryChange, SessionRecord, StoredClaim } from '../directory/records.ts';
import { createClaimLists, type ClaimLists } from './claim-lists.ts';
import { openDatabase } from './database.ts';
import { createFenceCounter, type FenceCounter } from './fence-counter.ts';

export interface CoordinationStore {
  readonly fences: FenceCounter;
  readonly leases: LeaseTable;
  readonly claims: ClaimLists;
  /** Whether the machine was started anew since the file was written: all sessions and leases are gone. */
  readonly rebooted: boolean;
  /** The store before this one was lost: until when what it gave out may still be held. Null: nothing was lost, or that is long ago. */
  readonly collectUntilMs: number | null;
  /** Runs `work` and writes the fence counter, all or nothing. Throws SQLite's error if that is impossible. */
  transaction<T>(work: () => T): T;
  /** The sessions as stored, with their numbers of keys. */
  loadSessions(): SessionRecord[];
  loadClaim(pool: InstanceId, key: ResourceKey): StoredClaim | null;
  write(changes: DirectoryChange[]): void;
  readDocument(name: string): StoredDocument | null;
  writeDocument(name: string, document: StoredDocument): void;
  close(): void;
}

export interface StoreOptions {
  path: string;
  nowMs: () => number;
  /**
   * What to believe if the file turns out to be empty although there was a store before: when (by the time of day) its fences go on, see
   * `fenceEpoch`, and for how long to collect what it gave out. Null: there was none.
   */
  lost: { epochWallMs: number; collectMs: number } | null;
  /** Names this boot of the machine. */
  bootId: string;
}

/** Throws what `openDatabase` throws. */
export async function openStore(options: StoreOptions): Promise<CoordinationStore> {
  const database = await openDatabase(options.path);
  try {
    return createStore(database, options);
  } catch (error) {
    database.close();
    throw error;
  }
}

function createStore(database: DatabaseSync, options: StoreOptions): CoordinationStore {
  database.exec('BEGIN');
  const { rebooted, lastFence, collectUntilMs } = begin(database, options);
  const fences = createFenceCounter(lastFence);
  const leases = createLeaseTable(database, { nowMs: options.nowMs, nextFence: () => fences.next() });
  if (rebooted) {
    leases.clear();
    database.exec('DELETE FROM sessions');
  }
  database.exec('COMMIT');

  const putFence = database.prepare("UPDATE meta SET value = ? WHERE name = 'fence'");
  const putSession = database.prepare(
    'INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
  );
  const deleteSession = database.prepare('DELETE FROM sessions WHERE id = ?');
  const putClaim = database.prepare(
    `INSERT INTO claims (key, pool, fence, session, opened, paused, alarm_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (key, pool) DO UPDATE SET fence = excluded.fence, session = excluded.session,
       opened = excluded.opened, paused = excluded.paused, alarm_at_ms = excluded.alarm_at_ms`,
  );
  const getClaim = database.prepare(
    'SELECT fence, session, opened, paused, alarm_at_ms FROM claims WHERE key = ? AND pool = ?',
  );
  getClaim.setReadBigInts(true);
  const getDocument = database.prepare('SELECT content, etag FROM documents WHERE name = ?');
  const putDocument = database.prepare(
    'INSERT OR REPLACE INTO documents (name, content, etag) VALUES (?, ?, ?)',
  );
  let writtenFence = fences.last;

  return {
    fences,
    leases,
    claims: createClaimLists(database),
    rebooted,
    collectUntilMs,
    transaction(work) {
      database.exec('BEGIN');
      try {
        const result = work();
        if (fences.last !== writtenFence) putFence.run(fences.last);
        database.exec('COMMIT');
        writtenFence = fences.last;
        return result;
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK');
        throw error;
      }
    },
    loadSessions: () => database.prepare('SELECT * FROM sessions').all().map(readSession),
    loadClaim(pool, key) {
      const row = getClaim.get(key, pool);
      if (!row) return null;
      return {
        fence: row['fence'] as Fence,
        sessionId: row['session'] as SessionId | null,
        opened: row['opened'] === 1n,
        paused: row['paused'] === 1n,
        alarmAtMs: row['alarm_at_ms'] as number | null,
      };
    },
    write(changes) {
      for (const change of changes) {
        if (change.type === 'put-claim') {
          const { key, pool, fence, session, opened, paused, alarmAtMs } = change.claim;
          const flags = [opened ? 1 : 0, paused ? 1 : 0];
          putClaim.run(key, pool, fence, session?.sessionId ?? null, ...flags, alarmAtMs);
        } else if (change.type === 'delete-session') {
          deleteSession.run(change.sessionId);
        } else if (change.session.live) {
          const s = change.session;
          const flags = [s.draining ? 1 : 0, s.ready ? 1 : 0];
          const facts = [s.sessionId, s.pool, s.processId, s.nodeName, s.address];
          putSession.run(
            ...facts,
            s.ownsResources ? 1 : 0,
            s.capacity,
            s.ttlMs,
            ...flags,
            s.expiresAtMs,
            s.keys,
            s.attempt,
          );
        }
      }
    },
    readDocument(name) {
      const row = getDocument.get(name);
      return row ? { content: row['content'] as string, etag: row['etag'] as string } : null;
    },
    writeDocument(name, { content, etag }) {
      putDocument.run(name, content, etag);
    },
    close() {
      if (database.isOpen) database.close();
    },
  };
}

/** Makes or adopts what the store knows of its own past; everything of it in the caller's transaction. */
function begin(
  database: DatabaseSync,
  { nowMs, lost, bootId }: StoreOptions,
): { rebooted: boolean; lastFence: bigint; collectUntilMs: number | null } {
  // `meta` comes into being with the first fence, in one transaction: without it there is no past in this file.
  const hasPast = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get() !== undefined;
  const firstFence = lost ? fenceEpoch(lost.epochWallMs) : 0n;
  const { rebooted, lastFence } = adoptIncarnation(database, { bootId, firstFence });
  if (!hasPast && lost && lost.collectMs > 0) {
    const untilMs = nowMs() + lost.collectMs;
    database.prepare("INSERT INTO meta (name, value) VALUES ('collect_until_ms', ?)").run(untilMs);
  }
  // Of an earlier boot it would say nothing: its clock was another, and none of its hosts is left.
  if (rebooted) database.exec("DELETE FROM meta WHERE name = 'collect_until_ms'");
  const found = database.prepare("SELECT value FROM meta WHERE name = 'collect_until_ms'").get();
  return { rebooted, lastFence, collectUntilMs: found ? Number(found['value']) : null };
}

function readSession(row: Record<string, unknown>): SessionRecord {
  return {
    sessionId: row['id'] as SessionId,
    pool: row['pool'] as InstanceId,
    processId: row['process'] as ProcessId,
    nodeName: row['node'] as NodeName,
    address: row['address'] as string,
    ownsResources: row['owns_resources'] === 1,
    capacity: Number(row['capacity']),
    ttlMs: Number(row['ttl_ms']),
    draining: row['draining'] === 1,
    ready: row['ready'] === 1,
    expiresAtMs: Number(row['expires_at_ms']),
    keys: Number(row['keys']),
    attempt: Number(row['attempt']),
    live: true,
  };
}
