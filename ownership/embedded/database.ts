/**
 * The SQLite file of the embedded store, opened by one process alone: locking_mode=EXCLUSIVE is taken at once and kept,
 * so that a second coordinator fails here, before it could touch anything. WAL with synchronous=NORMAL: commits cost no
 * sync and survive a killed process; what a power cut may take is covered by the fence margin (`leases/embedded/incarnation.ts`).
 */
import type { DatabaseSync } from 'node:sqlite';
import { HoldfastError } from '#core';
import { migrate, SCHEMA_VERSION } from './schema.ts';
import { unusable } from './state-folder.ts';

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
    const found = migrate(database);
    if (found > SCHEMA_VERSION) {
      throw unusable(
        path,
        new Error(`its schema ${found} is newer than ${SCHEMA_VERSION}`),
        'Run a newer Holdfast.',
      );
    }
    database.exec('COMMIT');
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
