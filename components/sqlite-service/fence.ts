/**
 * The fence of a database file, kept by `#fences`: what is of this service is that files are made knowingly, what a new one holds,
 * and the words of its errors.
 */
import { closeSync, constants, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { FENCE_TABLE, type Connection } from './connection.ts';
import { ServiceError } from './service-error.ts';
import type { Target } from './worker-protocol.ts';

const firstTable = `CREATE TABLE customers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT,
  email TEXT,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)`;

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
export function installFence({ database, fence }: Connection, target: Target): void {
  inOurWords(() =>
    fence.install(target.fence, () => {
      const others = database.prepare('SELECT 1 FROM main.sqlite_schema WHERE tbl_name <> ? LIMIT 1');
      if (!others.get(FENCE_TABLE)) database.exec(firstTable);
    }),
  );
}

/**
 * Runs `work` in one transaction under the target's fence. Reading takes no lock.
 * @throws HF_FENCED when the file holds another fence; what `work` throws, after rolling back
 */
export function inFencedTransaction<Value>({ fence }: Connection, target: Target, work: () => Value): Value {
  return inOurWords(() => fence.write(target.fence, work, { lock: 'late' }));
}

/** The error that crosses to the host is one of this service. */
function inOurWords<Value>(work: () => Value): Value {
  try {
    return work();
  } catch (error) {
    if (!isFenced(error)) throw error;
    throw new ServiceError('HF_FENCED', 'the database has another owner', { ...error.details });
  }
}

function isFenced(error: unknown): error is Error & { details: Record<string, unknown> } {
  return (
    !(error instanceof ServiceError) &&
    error instanceof Error &&
    'code' in error &&
    error.code === 'HF_FENCED'
  );
}
