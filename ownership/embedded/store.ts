/**
 * What the coordinator remembers across restarts: prepared statements over its database, no decisions. Everything is
 * written inside `transaction`, which also writes the fence counter, so that a fence is never durable without its claim
 * nor the other way round.
 */
import type { DatabaseSync } from 'node:sqlite';
import type {
  Claim,
  Fence,
  InstanceId,
  NodeName,
  ProcessId,
  ResourceKey,
  SessionId,
  StoredDocument,
} from '#core';
import { adoptIncarnation, createLeaseTable, fenceEpoch, readBootId, type LeaseTable } from '#leases';
import { describeClaim } from '../directory/directory.ts';
import type { DirectoryChange, SessionRecord, StoredClaim } from '../directory/records.ts';
import { openDatabase } from './database.ts';
import { createFenceCounter, type FenceCounter } from './fence-counter.ts';

export interface ClaimQuery {
  pool: InstanceId | null;
  key: ResourceKey | null;
  prefix: string;
  limit: number;
  /** Start after this place in the order of (key, pool). */
  after: { key: string; pool: string } | null;
}

export interface CoordinationStore {
  readonly fences: FenceCounter;
  readonly leases: LeaseTable;
  /** Whether the machine was started anew since the file was written: all sessions and leases are gone. */
  readonly rebooted: boolean;
  /** Runs `work` and writes the fence counter, all or nothing. Throws SQLite's error if that is impossible. */
  transaction<T>(work: () => T): T;
  /** The sessions as stored, with their numbers of keys. */
  loadSessions(): SessionRecord[];
  loadClaim(pool: InstanceId, key: ResourceKey): StoredClaim | null;
  write(changes: DirectoryChange[]): void;
  /** One page of claims of live sessions; `next` is where to go on, null at the end. */
  list(
    query: ClaimQuery,
    liveSession: (id: SessionId) => SessionRecord | null,
  ): { claims: Claim[]; next: { key: string; pool: string } | null };
  readDocument(name: string): StoredDocument | null;
  writeDocument(name: string, document: StoredDocument): void;
  close(): void;
}

/** Rows that one page looks at, so that a long stretch of unowned keys does not stop the coordinator. */
const rowsPerPageMax = 20_000;

export interface StoreOptions {
  path: string;
  nowMs: () => number;
  /** When the counter of fences is unknown it goes on at the time of day, see `fenceEpoch`. Null: start at 1. */
  epochWallMs: number | null;
  /** Names this boot of the machine; injected by tests. */
  bootId?: string;
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
  const { rebooted, lastFence } = adoptIncarnation(database, {
    bootId: options.bootId ?? readBootId(),
    firstFence: options.epochWallMs === null ? 0n : fenceEpoch(options.epochWallMs),
  });
  const fences = createFenceCounter(lastFence);
  const leases = createLeaseTable(database, { nowMs: options.nowMs, nextFence: () => fences.next() });
  if (rebooted) {
    leases.clear();
    database.exec('DELETE FROM sessions');
  }
  database.exec('COMMIT');

  const putFence = database.prepare("UPDATE meta SET value = ? WHERE name = 'fence'");
  const putSession = database.prepare(
    'INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
  );
  const deleteSession = database.prepare('DELETE FROM sessions WHERE id = ?');
  const putClaim = database.prepare(
    `INSERT INTO claims (key, pool, fence, session, opened) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (key, pool) DO UPDATE SET fence = excluded.fence, session = excluded.session, opened = excluded.opened`,
  );
  const getClaim = database.prepare('SELECT fence, session, opened FROM claims WHERE key = ? AND pool = ?');
  getClaim.setReadBigInts(true);
  const getDocument = database.prepare('SELECT content, etag FROM documents WHERE name = ?');
  const putDocument = database.prepare(
    'INSERT OR REPLACE INTO documents (name, content, etag) VALUES (?, ?, ?)',
  );
  const pages = preparePages(database);
  let writtenFence = fences.last;

  return {
    fences,
    leases,
    rebooted,
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
    loadSessions() {
      const counts = database.prepare('SELECT count(*) AS keys FROM claims WHERE session = ?');
      const every = new Map<string, number>();
      const rows = database.prepare('SELECT * FROM sessions').all();
      if (rows.length > 3) {
        // One pass over the claims instead of one for each session.
        const grouped = database
          .prepare('SELECT session, count(*) AS keys FROM claims GROUP BY session')
          .all();
        for (const row of grouped) every.set(String(row['session']), Number(row['keys']));
      }
      return rows.map(row => {
        const id = row['id'] as SessionId;
        const keys = rows.length > 3 ? (every.get(id) ?? 0) : Number(counts.get(id)!['keys']);
        return {
          sessionId: id,
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
          keys,
          live: true,
        };
      });
    },
    loadClaim(pool, key) {
      const row = getClaim.get(key, pool);
      if (!row) return null;
      return {
        fence: row['fence'] as Fence,
        sessionId: row['session'] as SessionId | null,
        opened: row['opened'] === 1n,
      };
    },
    write(changes) {
      for (const change of changes) {
        if (change.type === 'put-claim') {
          const { key, pool, fence, session, opened } = change.claim;
          putClaim.run(key, pool, fence, session?.sessionId ?? null, opened ? 1 : 0);
        } else if (change.type === 'delete-session') {
          deleteSession.run(change.sessionId);
        } else if (change.session.live) {
          const s = change.session;
          const flags = [s.draining ? 1 : 0, s.ready ? 1 : 0];
          const facts = [s.sessionId, s.pool, s.processId, s.nodeName, s.address];
          putSession.run(...facts, s.ownsResources ? 1 : 0, s.capacity, s.ttlMs, ...flags, s.expiresAtMs);
        }
      }
    },
    list(query, liveSession) {
      const claims: Claim[] = [];
      let seen = 0;
      for (const row of pages(query)) {
        const place = { key: row['key'] as ResourceKey, pool: row['pool'] as InstanceId };
        if (!place.key.startsWith(query.prefix)) break;
        const session = liveSession(row['session'] as SessionId);
        const stored = { fence: row['fence'] as Fence, sessionId: null, opened: row['opened'] === 1n };
        if (session) claims.push(describeClaim({ ...place, ...stored }, session));
        if (claims.length === query.limit || ++seen === rowsPerPageMax) return { claims, next: place };
      }
      return { claims, next: null };
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

type Row = Record<string, unknown>;

/** Reads claims in byte order of (key, pool), from an index whatever the query asks for. */
function preparePages(database: DatabaseSync): (query: ClaimQuery) => Iterable<Row> {
  const select = (where: string) => {
    const statement = database.prepare(
      `SELECT key, pool, fence, session, opened FROM claims WHERE ${where} AND session IS NOT NULL ORDER BY key, pool`,
    );
    statement.setReadBigInts(true);
    return statement;
  };
  const ofAll = select('(key, pool) > (?, ?)');
  const ofPool = select('pool = ? AND key > ?');
  const fromPrefix = select('key >= ?');
  const ofPoolFromPrefix = select('pool = ? AND key >= ?');
  const ofKey = select('key = ? AND pool > ?');
  return ({ pool, key, prefix, after }) => {
    if (key !== null && pool !== null) {
      // At most one row: the cursor says whether it was given already.
      return after ? [] : [...ofKey.iterate(key, '')].filter(row => row['pool'] === pool);
    }
    if (key !== null) return ofKey.iterate(key, after?.pool ?? '');
    if (pool !== null)
      return after ? ofPool.iterate(pool, after.key) : ofPoolFromPrefix.iterate(pool, prefix);
    return after ? ofAll.iterate(after.key, after.pool) : fromPrefix.iterate(prefix);
  };
}
