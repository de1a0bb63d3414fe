/**
 * One owner at a time for a folder. The lock is one that the kernel frees with its process, however that ends, so there
 * is no stale lock to judge and none is ever taken over: SQLite's RESERVED lock on the empty file `.lock`, held by a
 * transaction that is never committed. Why it has one winner:
 * - It is taken by one system call (an fcntl lock on one byte), which the kernel grants to exactly one. BEGIN EXCLUSIVE
 *   needs more than one: of several that try at once, it may refuse all.
 * - SQLite knows what this process holds, by inode, and refuses it a second time, under any path; fcntl alone would not.
 * - A child process inherits neither the lock nor its file, which is close-on-exec.
 * - `.lock` is never removed: whoever had opened it before would then hold a lock that nobody else sees.
 *
 * One thing would lose it: this very process opening and closing `.lock` by other means (POSIX ends its locks on the
 * file then). So nothing may read it; what there is to read, who the owner is, stands beside it in `.lock-owner`.
 */
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { HoldfastError } from '../errors/holdfast-error.ts';
import { isRunning, processIdentity, type ProcessIdentity } from './process-table.ts';

export interface FolderLock {
  /** Whether the owner before ended without releasing it: what that one had started may still be ending. */
  readonly abandoned: boolean;
  /** Lets the next one in, who is told that it was abandoned if `abandoned` says so. Idempotent. */
  release(options?: { abandoned?: boolean }): void;
}

const lockFile = '.lock';
const ownerFile = '.lock-owner';

/** What a lock leaves in its folder. */
export const FOLDER_LOCK_FILES: readonly string[] = [lockFile, ownerFile];

/** SQLite's result code, see sqlite.org/rescode.html. */
const busy = 5;

/** Referred to from here, because a database that is garbage collected is closed, and its lock with it. */
const held = new Set<DatabaseSync>();

/**
 * Takes the folder, which must exist, without waiting.
 * @throws HoldfastError HF_ALREADY_RUNNING naming the owner's pid, HF_STATE_UNUSABLE when the folder cannot be used
 */
export function lockFolder(directory: string): FolderLock {
  const owner = join(directory, ownerFile);
  const database = open(directory);
  let abandoned: boolean;
  try {
    chmodSync(join(directory, lockFile), 0o600); // who can read it could block it
    abandoned = existsSync(owner);
    writeFileSync(owner, JSON.stringify(processIdentity(process.pid)), { mode: 0o600 });
  } catch (cause) {
    database.close();
    throw unusable(directory, cause);
  }
  held.add(database);
  return {
    abandoned,
    release(options) {
      if (!held.delete(database)) return;
      try {
        if (!options?.abandoned) rmSync(owner, { force: true });
      } catch {
        // It is left behind, and the next one believes in a crash: that makes it more careful, no more.
      }
      database.close();
    },
  };
}

function open(directory: string): DatabaseSync {
  // Loaded here and not at the top: most of what uses this folder locks nothing.
  const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(join(directory, lockFile), { timeout: 0 });
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE'); // no journal file: there is nothing to undo
    return database;
  } catch (cause) {
    database?.close();
    // Extended codes keep the primary one in the low byte.
    if (((cause as { errcode?: number }).errcode ?? 0) % 256 === busy) throw alreadyRunning(directory, cause);
    throw unusable(directory, cause);
  }
}

function alreadyRunning(directory: string, cause: unknown): HoldfastError {
  const pid = ownerOf(directory)?.pid ?? null;
  const who = pid === process.pid ? 'this very process' : 'another process';
  return new HoldfastError(
    'HF_ALREADY_RUNNING',
    `${directory} is in use by ${who}${pid === null ? '' : ` (pid ${pid})`}; stop it, or choose another folder`,
    { details: { directory, pid }, cause },
  );
}

/** Null while a new owner has not yet written itself down over the one before: nobody shall be told to stop a stranger. */
function ownerOf(directory: string): ProcessIdentity | null {
  try {
    const owner = JSON.parse(readFileSync(join(directory, ownerFile), 'utf8')) as ProcessIdentity;
    return isRunning(owner) ? owner : null;
  } catch {
    return null; // not there yet, or half written
  }
}

function unusable(directory: string, cause: unknown): HoldfastError {
  const { message } = cause as Error;
  return new HoldfastError(
    'HF_STATE_UNUSABLE',
    `${directory} cannot be locked: ${message}; make the folder writable for this user and ${lockFile} in it, if it is there, an empty file, or choose another folder`,
    { details: { directory }, cause },
  );
}
