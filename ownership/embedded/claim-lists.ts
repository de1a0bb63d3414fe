/** Lists of claims, read from an index whatever is asked, and never more than a bounded number of rows at once. */
import type { DatabaseSync } from 'node:sqlite';
import type { Claim, Fence, InstanceId, KeyRecord, ResourceKey, SessionId } from '#core';
import { describeClaim, type SessionRecord } from '../directory/records.ts';

interface Place {
  key: string;
  pool: string;
}

export interface ClaimQuery {
  pool: InstanceId | null;
  key: ResourceKey | null;
  prefix: string;
  sessionId: SessionId | null;
  limit: number;
  /** Start after this place in the order of (key, pool). */
  after: Place | null;
}

export interface ClaimPage {
  claims: Claim[];
  /** Where to go on; null at the end. */
  next: Place | null;
}

export interface DueAlarms {
  alarms: { key: ResourceKey; atMs: number }[];
  /** The next after them, epoch milliseconds; null: none. */
  nextAtMs: number | null;
}

export interface ClaimLists {
  /** One page of claims of live sessions; it may be short, or empty, and still not the last. */
  page(query: ClaimQuery, liveSession: (id: SessionId) => SessionRecord | null): ClaimPage;
  dueAlarms(pool: InstanceId, limit: number, wallMs: number): DueAlarms;
  /** Every record, whoever owns the key, in the order of (key, pool). */
  records(limit: number, after: Place | null): { records: KeyRecord[]; next: Place | null };
}

/** Rows that one page looks at, so that a long stretch of keys that are not wanted does not stop the coordinator. */
const rowsPerPageMax = 5_000;

export function createClaimLists(database: DatabaseSync): ClaimLists {
  const rowsOf = prepareRows(database);
  const alarms = database.prepare(
    `SELECT key, alarm_at_ms FROM claims WHERE pool = ? AND alarm_at_ms IS NOT NULL AND paused = 0
     ORDER BY alarm_at_ms, key LIMIT ?`,
  );

  const everything = database.prepare(
    `SELECT key, pool, fence, opened, paused, alarm_at_ms FROM claims WHERE (key, pool) > (?, ?) ORDER BY key, pool LIMIT ?`,
  );
  everything.setReadBigInts(true);

  return {
    records(limit, after) {
      const rows = everything.all(after?.key ?? '', after?.pool ?? '', limit);
      const records = rows.map(row => ({
        pool: row['pool'] as InstanceId,
        key: row['key'] as ResourceKey,
        fence: row['fence'] as Fence,
        opened: row['opened'] === 1n,
        paused: row['paused'] === 1n,
        alarmAtMs: row['alarm_at_ms'] === null ? null : Number(row['alarm_at_ms']),
      }));
      return { records, next: records.length < limit ? null : records.at(-1)! };
    },
    page(query, liveSession) {
      const claims: Claim[] = [];
      let { pool } = query;
      if (query.sessionId !== null) {
        const session = liveSession(query.sessionId);
        if (!session || (pool !== null && pool !== session.pool)) return { claims, next: null };
        pool = session.pool; // whose keys are fewer than all
      }
      let seen = 0;
      for (const row of rowsOf({ ...query, pool })) {
        const place = { key: row['key'] as ResourceKey, pool: row['pool'] as InstanceId };
        if (!place.key.startsWith(query.prefix)) break;
        const sessionId = row['session'] as SessionId;
        const wanted = query.sessionId === null || sessionId === query.sessionId;
        const session = wanted ? liveSession(sessionId) : null;
        if (session) {
          const facts = { ...place, fence: row['fence'] as Fence, opened: row['opened'] === 1n };
          claims.push(describeClaim(facts, session));
        }
        if (claims.length === query.limit || ++seen === rowsPerPageMax) return { claims, next: place };
      }
      return { claims, next: null };
    },
    dueAlarms(pool, limit, wallMs) {
      const rows = alarms.all(pool, limit + 1).map(row => ({
        key: row['key'] as ResourceKey,
        atMs: Number(row['alarm_at_ms']),
      }));
      const due = rows.slice(0, limit).filter(({ atMs }) => atMs <= wallMs);
      return { alarms: due, nextAtMs: rows[due.length]?.atMs ?? null };
    },
  };
}

type Row = Record<string, unknown>;

/** Reads claims in byte order of (key, pool), from an index whatever the query asks for. */
function prepareRows(database: DatabaseSync): (query: ClaimQuery) => Iterable<Row> {
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
