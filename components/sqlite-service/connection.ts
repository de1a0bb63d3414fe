/**
 * One open database file in a SQL process, set up so that only what the service permits can happen on it.
 * Nothing here may create a file: `openResource` alone does that, knowingly.
 */
import { DatabaseSync, constants as sqlite, type StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { createSqliteFence, type SqliteFence } from '#fences';
import { judge, RESERVED_PREFIX, type Effect } from './authorizer.ts';

export const STATEMENT_BYTES_MAX = 1024 * 1024;
/** Its name begins like all that callers may not touch. */
export const FENCE_TABLE = `${RESERVED_PREFIX}_fence`;
const busyTimeoutMs = 500;

/** Watches over a caller's SQL while `active`; the service's own statements pass. */
export interface Guard {
  active: boolean;
  readOnly: boolean;
  /** Why the statement that was compiled last was refused. */
  refusal: string | null;
  /** What the statements since the last reset do. */
  effects: Set<Effect>;
}

export interface Connection {
  readonly database: DatabaseSync;
  readonly guard: Guard;
  /** Compiled once, as that would cost more than running it. */
  readonly lastWrite: StatementSync;
  readonly fence: SqliteFence;
}

/** @throws SQLite's error when there is no such file or it is not a database */
export function openConnection(path: string, options: { maxBytes: number }): Connection {
  const url = pathToFileURL(path);
  url.searchParams.set('mode', 'rw');
  const database = new DatabaseSync(url, {
    timeout: busyTimeoutMs,
    defensive: true,
    allowExtension: false,
    limits: { length: options.maxBytes, sqlLength: STATEMENT_BYTES_MAX + 1024, attach: 0 },
  });
  try {
    // WAL: one fsync for each commit, and readers of a copy do not disturb. FULL: that fsync happens before the answer;
    // NORMAL would lose acknowledged commits when the machine loses power.
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;
      PRAGMA cache_size = -1000; PRAGMA journal_size_limit = 1048576`);
    const guard: Guard = { active: false, readOnly: false, refusal: null, effects: new Set() };
    // A flag, not setAuthorizer(null): setting the authorizer makes SQLite compile every statement again.
    database.setAuthorizer((action, first, second) => {
      if (!guard.active) return sqlite.SQLITE_OK;
      const verdict = judge({ action, first, second });
      if (!verdict.allowed) {
        guard.refusal = verdict.reason;
        return sqlite.SQLITE_DENY;
      }
      if (verdict.effect !== 'none' && guard.readOnly) {
        guard.refusal = 'GET only reads; use POST to write';
        return sqlite.SQLITE_DENY;
      }
      guard.effects.add(verdict.effect);
      return sqlite.SQLITE_OK;
    });
    const lastWrite = database.prepare('SELECT changes() AS changes, last_insert_rowid() AS rowid');
    lastWrite.setReadBigInts(true);
    const fence = createSqliteFence(database, { table: FENCE_TABLE });
    return { database, guard, lastWrite, fence };
  } catch (error) {
    database.close();
    throw error;
  }
}
