/**
 * One agent per data folder: the file `agent.lock` names its owner by pid and start time. A lock whose owner is gone is
 * taken over; of two that try at once one wins, because the file appears by `link`, which is atomic.
 */
import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isRunning, processIdentity, type ProcessIdentity } from '#core';

export interface DataLock {
  release(): Promise<void>;
}

/** @throws HoldfastError HF_ALREADY_RUNNING naming the owner; file errors as they are */
export async function lockDataDirectory(directory: string): Promise<DataLock> {
  const path = join(directory, 'agent.lock');
  const mine = JSON.stringify(processIdentity(process.pid));
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(temporary, mine, { mode: 0o600, flag: 'wx' });
  try {
    if (!(await tryLink(temporary, path))) {
      await removeStale(path, directory);
      if (!(await tryLink(temporary, path))) throw running(directory, null);
    }
  } finally {
    await rm(temporary, { force: true });
  }
  return {
    async release() {
      if ((await content(path)) === mine) await rm(path, { force: true });
    },
  };
}

/** Moves the lock of a dead owner away; puts it back if it turns out to be a newer one. */
async function removeStale(path: string, directory: string): Promise<void> {
  const found = await content(path);
  const owner = parse(found);
  if (owner && isRunning(owner)) throw running(directory, owner.pid);
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // its owner released it just now
    throw error;
  }
  if ((await content(aside)) !== found) {
    await tryLink(aside, path);
    await rm(aside, { force: true });
    throw running(directory, null);
  }
  await rm(aside, { force: true });
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function content(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return null; // not there: nothing is locked
  }
}

function parse(text: string | null): ProcessIdentity | null {
  try {
    const value = JSON.parse(text ?? 'null') as Partial<ProcessIdentity> | null;
    return typeof value?.pid === 'number' && typeof value.startTime === 'string'
      ? { pid: value.pid, startTime: value.startTime }
      : null;
  } catch {
    return null; // half-written by a machine that lost power: nobody holds it
  }
}

function running(directory: string, pid: number | null): HoldfastError {
  return new HoldfastError(
    'HF_ALREADY_RUNNING',
    `another node agent ${pid === null ? '' : `(process ${pid}) `}runs on ${directory}`,
    { details: { directory, pid } },
  );
}
