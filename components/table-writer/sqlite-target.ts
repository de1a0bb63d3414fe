/** Rows into a SQLite file. Several copies on one machine may write to it; each transaction takes the file's lock at its beginning. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { WriterSettings } from './settings.ts';
import { statementsFor } from './statements.ts';
import { AwayError, type Target } from './target.ts';

/** How long the event loop may stand still for another writer; the caller waits between attempts. */
const busyMs = 100;
/** SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN: not the fault of what is written. */
const awayCodes = new Set([5, 6, 10, 13, 14]);

export function createSqliteTarget(file: string, { table, createTable }: WriterSettings): Target {
  const statements = statementsFor(table, 'sqlite');
  let database: DatabaseSync | null = null;
  let put: StatementSync;
  let remember: StatementSync;

  function inTransaction<Result>(work: (open: DatabaseSync) => Result): Result {
    if (!database) throw new AwayError(`${file} is not open`);
    try {
      database.exec('BEGIN IMMEDIATE');
      const result = work(database);
      database.exec('COMMIT');
      return result;
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw explain(error);
    }
  }

  return {
    async open() {
      try {
        mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
        database ??= new DatabaseSync(file, { timeout: busyMs });
        database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
        inTransaction(open => {
          open.exec(statements.createMessagesTable);
          if (createTable) open.exec(statements.createTable);
        });
        put = database.prepare(statements.put);
        remember = database.prepare(statements.remember);
      } catch (error) {
        database?.close();
        database = null;
        throw explain(error);
      }
    },
    async write(messageId, rows, nowMs) {
      return inTransaction(() => {
        if (remember.run(messageId, nowMs).changes === 0) return false;
        for (const row of rows) {
          put.run(...row.map(value => (typeof value === 'boolean' ? Number(value) : value)));
        }
        return true;
      });
    },
    async forget(beforeMs) {
      inTransaction(open => void open.prepare(statements.forget).run(beforeMs));
    },
    async close() {
      database?.close();
      database = null;
    },
  };

  function explain(error: unknown): unknown {
    const code = (error as { errcode?: number }).errcode;
    if (code === undefined || !awayCodes.has(code & 0xff)) return error;
    return new AwayError(`${file}: ${(error as Error).message}`, { cause: error });
  }
}
