/**
 * The fence: one row in the database file itself, so that checking it and writing are one atomic step.
 *
 * Why this is safe. A new owner raises the row in a write transaction before it reads anything. Every request of an
 * owner is one transaction that reads the row first. SQLite runs such a transaction on the snapshot in which the row was
 * read, and lets it write only if that snapshot is still the newest (otherwise SQLITE_BUSY_SNAPSHOT). So an
 * old owner either commits before the new one's fence, and the new one sees it, or not at all, however long it was
 * paused between any two of these steps.
 */
import { closeSync, constants, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { RESERVED_PREFIX } from './authorizer.ts';
import type { Connection } from './connection.ts';
import { ServiceError } from './service-error.ts';
import { sqliteCode } from './sql-failure.ts';
import type { Target } from './worker-protocol.ts';

const table = `main.${RESERVED_PREFIX}_fence`;
const firstTable = `CREATE TABLE customers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT,
  email TEXT,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)`;
const busyCode = 5;
const attemptsMax = 3;

/** Makes an empty file (0600) unless there is one, durably. Resolves to whether it was made. */
export function createFile(path: string): boolean {
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  try {
    closeSync(openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_RDWR, 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  const folder = openSync(directory, 'r');
  try {
    fsyncSync(folder); // otherwise the name may be lost with the power, and the commits in the file with it
  } finally {
    closeSync(folder);
  }
  return true;
}

/**
 * Takes the database over: installs the target's fence; a database without any table gets its first one.
 * @throws HF_FENCED when the file has seen this fence or a higher one
 */
export function installFence(connection: Connection, target: Target): void {
  const { database } = connection;
  // A caller's foreign key that names the fence table must not be able to stand in the way.
  database.exec('PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE');
  try {
    const isNew = database.prepare('SELECT 1 FROM main.sqlite_schema LIMIT 1').get() === undefined;
    database.exec(
      `CREATE TABLE IF NOT EXISTS ${table} (id INTEGER PRIMARY KEY CHECK (id = 1), fence INTEGER NOT NULL)`,
    );
    const found = readFence(connection);
    if (found !== null && found >= target.fence) throw fenced(found);
    database
      .prepare(
        `INSERT INTO ${table} (id, fence) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET fence = excluded.fence`,
      )
      .run(target.fence);
    if (isNew) database.exec(firstTable);
    database.exec('COMMIT');
  } catch (error) {
    rollBack(connection);
    throw error;
  } finally {
    database.exec('PRAGMA foreign_keys = ON');
  }
}

/**
 * Runs `work` in one transaction under the target's fence.
 * @throws HF_FENCED when the file holds another fence; what `work` throws, after rolling back
 */
export function inFencedTransaction<Value>(connection: Connection, target: Target, work: () => Value): Value {
  for (let attempt = 1; ; attempt++) {
    try {
      // Reading takes no lock. A write that meets another writer starts over, from then on with the lock taken first.
      connection.database.exec(attempt === 1 ? 'BEGIN' : 'BEGIN IMMEDIATE');
      const found = readFence(connection);
      if (found !== target.fence) throw fenced(found ?? 0n);
      const value = work();
      connection.database.exec('COMMIT');
      return value;
    } catch (error) {
      rollBack(connection);
      const code = sqliteCode(error);
      if (attempt < attemptsMax && code !== null && (code & 0xff) === busyCode) continue;
      throw error;
    }
  }
}

function readFence(connection: Connection): bigint | null {
  if (!connection.readFence) {
    connection.readFence = connection.database.prepare(`SELECT fence FROM ${table} WHERE id = 1`);
    connection.readFence.setReadBigInts(true);
  }
  const row = connection.readFence.get();
  return typeof row?.fence === 'bigint' ? row.fence : null;
}

function rollBack({ database }: Connection): void {
  if (database.isTransaction) database.exec('ROLLBACK'); // some errors have rolled back already
}

function fenced(found: bigint): ServiceError {
  return new ServiceError('HF_FENCED', 'the database has another owner', { fence: found.toString() });
}
