/**
 * Where the embedded store lies: `<stateRoot>/coordination/` (0700) with the SQLite file, the log and, unless its path is too long
 * for the kernel, the socket. A folder or file that cannot be used is reported with what to do about it.
 */
import { chmod, open, readdir, rename, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { HoldfastError, makeFolder, socketPath, type CoordinationAddress } from '#core';

export type EmbeddedAddress = Extract<CoordinationAddress, { kind: 'embedded' }>;

export interface CoordinationPaths {
  readonly folder: string;
  readonly database: string;
  /** See longest-ttl.ts. */
  readonly longestTtl: string;
  readonly log: string;
  readonly socket: string;
}

export function coordinationPaths(stateRoot: string): CoordinationPaths {
  const folder = join(resolve(stateRoot), 'coordination');
  return {
    folder,
    database: join(folder, 'coordination.sqlite'),
    longestTtl: join(folder, 'longest-ttl.json'),
    log: join(folder, 'coordinator.log'),
    socket: socketPath(folder, 'coordinator'),
  };
}

/** The address that hosts and agents of this state root connect to. */
export function coordinationAddress(stateRoot: string): EmbeddedAddress {
  return { kind: 'embedded', socketPath: coordinationPaths(stateRoot).socket };
}

/**
 * Makes the folder if it is not there, and closes it to others.
 * @throws HoldfastError HF_STATE_UNUSABLE
 */
export async function prepareFolder(folder: string): Promise<void> {
  try {
    await makeFolder(folder);
    await chmod(folder, 0o700);
  } catch (cause) {
    throw unusable(
      folder,
      cause,
      'Make it a folder that this user may write to, or choose another state folder.',
    );
  }
}

/**
 * Makes sure that the database file is there, 0600. Tells what was found: `known` has content, `lost` follows one that was
 * set aside, `new` never was. (An empty file is new: another coordinator may have made it just now.)
 *
 * A file that is there is not opened: closing it would drop the POSIX locks that this very process may hold on it, as a coordinator
 * that runs here already, and a second one could then open the database beside it.
 */
export async function prepareDatabaseFile(path: string): Promise<'known' | 'lost' | 'new'> {
  try {
    await createFile(path);
    await chmod(path, 0o600);
    if ((await stat(path)).size > 0) return 'known';
    return (await setAsideBefore(path)).length > 0 ? 'lost' : 'new';
  } catch (cause) {
    throw unusable(path, cause, 'Make it a file that this user may write to, or move it away.');
  }
}

/** Renames the database and what belongs to it to `*.corrupt-<n>`. Returns the new name of the database. */
export async function setAside(path: string): Promise<string> {
  const taken = await setAsideBefore(path);
  let number = 1;
  while (taken.some(name => name.endsWith(`.corrupt-${number}`))) number++;
  for (const suffix of ['-wal', '-shm', '-journal', '']) {
    await rename(path + suffix, `${path}${suffix}.corrupt-${number}`).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        throw unusable(path, error, 'It is corrupt and could not be set aside: move it away by hand.');
      }
    });
  }
  return `${path}.corrupt-${number}`;
}

export function unusable(path: string, cause: unknown, remedy: string): HoldfastError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new HoldfastError('HF_STATE_UNUSABLE', `cannot use ${path}: ${reason}. ${remedy}`, {
    cause,
    details: { path },
  });
}

/** By hand, because SQLite would create it with whatever the umask leaves. */
async function createFile(path: string): Promise<void> {
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

async function setAsideBefore(path: string): Promise<string[]> {
  const folder = resolve(path, '..');
  const names = await readdir(folder);
  return names
    .map(name => join(folder, name))
    .filter(name => name.startsWith(path) && /\.corrupt-\d+$/.test(name));
}
