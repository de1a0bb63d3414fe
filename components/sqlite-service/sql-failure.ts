/** What an error of SQLite means to the caller: a fault in the SQL, or trouble that has nothing to do with it. */
import { ServiceError } from './service-error.ts';

interface SqliteError extends Error {
  errcode: number;
  errstr: string;
}

/** BUSY, LOCKED */
const lockCodes = [5, 6];

/** SQLite's extended result code, or null if the error is not SQLite's. */
export function sqliteCode(error: unknown): number | null {
  return error instanceof Error && 'errcode' in error ? (error as SqliteError).errcode : null;
}

/** Whether this is what `toServiceError` made of a file that another process holds locked. */
export function isLocked(error: unknown): boolean {
  if (!(error instanceof ServiceError) || typeof error.details.sqliteCode !== 'number') return false;
  return lockCodes.includes(error.details.sqliteCode & 0xff);
}

/** @param refusal why the service refused the statement, if it did */
export function toServiceError(error: unknown, refusal: string | null): ServiceError {
  if (error instanceof ServiceError) return error;
  const code = sqliteCode(error);
  if (code === null) {
    // Node's own complaints about parameters: wrong names, too many.
    return new ServiceError('HF_SQL_ERROR', error instanceof Error ? error.message : String(error));
  }
  const { message, errstr } = error as SqliteError;
  const details = { sqliteCode: code, sqlite: errstr };
  switch (code & 0xff) {
    case 5: // BUSY
    case 6: // LOCKED
      return new ServiceError('HF_UNAVAILABLE', `another process holds the database: ${message}`, details);
    case 7: // NOMEM
      return new ServiceError(
        'HF_CAPACITY',
        `${message}: this needs more than the SQL process may have; ask for less (fewer columns, shorter values)`,
        details,
      );
    case 13: // FULL
      return new ServiceError('HF_CAPACITY', message, details);
    case 8: // READONLY
    case 10: // IOERR
    case 11: // CORRUPT
    case 14: // CANTOPEN
    case 26: // NOTADB
      return new ServiceError('HF_STATE_UNUSABLE', `the database file cannot be used: ${message}`, details);
    case 23: // AUTH
      return new ServiceError('HF_SQL_ERROR', refusal === null ? message : `${message}: ${refusal}`, details);
    default:
      return new ServiceError('HF_SQL_ERROR', message, details);
  }
}
