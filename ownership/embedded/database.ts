/**
 * The SQLite file of the embedded store, opened by one process alone: locking_mode=EXCLUSIVE is taken at once and kept,
 * so that a second coordinator fails here, before it could touch anything. WAL with synchronous=NORMAL: commits cost no
 * sync and survive a killed process; what a power cut may take is covered by the fence margin (`leases/embedded/incarnation.ts`).
 */
import type { DatabaseSync } from 'node:sqlite';
import { HoldfastError } from '#core';
import { unusable } from './state-folder.ts';

const schemaVersion = 1;

/** How long to wait for a coordinator that is just ending to let go of the file. */
const handoverMs = 250;

/** Result codes of SQLite, see sqlite.org/rescode.html. */
const busy = 5;
const corrupt = 11;
const notADatabase = 26;

/** Whether SQLite says that the file's content is damaged. */
export function isCorruption(error: unknown): boolean {
  const code = primaryCode(error);
  return code === corrupt || code === notADatabase;
}

/**
 * Opens the file and takes its lock. The schema is in place afterwards.
 * @throws HoldfastError HF_ALREADY_RUNNING when another process has it, HF_STATE_UNUSABLE when it cannot be used; SQLite's
 * own error when it is corrupt
 */
export async function openDatabase(path: string): Promise<DatabaseSync> {
  // Loaded here and not at the top: hosts bundle this folder too, and never get here.
  const { DatabaseSync } = await import('node:sqlite');
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: handoverMs });
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
    database.exec('BEGIN EXCLUSIVE');
    const version = Number(database.prepare('PRAGMA user_version').get()!['user_version']);
    if (version > schemaVersion) {
      throw unusable(
        path,
        new Error(`its schema ${version} is newer than ${schemaVersion}`),
        'Run a newer Holdfast.',
      );
    }
    database.exec(`
      CREATE TABLE IF NOT EXISTS sessions (
        id TEXT PRIMARY KEY, pool TEXT NOT NULL, process TEXT NOT NULL, node TEXT NOT NULL, address TEXT NOT NULL,
        owns_resources INTEGER NOT NULL, capacity REAL NOT NULL, ttl_ms INTEGER NOT NULL, draining INTEGER NOT NULL,
        ready INTEGER NOT NULL, expires_at_ms REAL NOT NULL
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS claims (
        key TEXT NOT NULL, pool TEXT NOT NULL, fence INTEGER NOT NULL, session TEXT, opened INTEGER NOT NULL,
        PRIMARY KEY (key, pool)
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS claims_by_pool ON claims (pool, key);
      CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, content TEXT NOT NULL, etag TEXT NOT NULL) WITHOUT ROWID;
      PRAGMA user_version = ${schemaVersion};
      COMMIT`);
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof HoldfastError || isCorruption(error)) throw error;
    if (primaryCode(error) === busy) {
      throw new HoldfastError('HF_ALREADY_RUNNING', `another coordinator has ${path}`, { cause: error });
    }
    throw unusable(path, error, 'Check that the disk has space and that this user may write there.');
  }
}

function primaryCode(error: unknown): number | null {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : null;
  return typeof code === 'number' ? code & 0xff : null; // extended codes keep the primary one in the low byte
}
