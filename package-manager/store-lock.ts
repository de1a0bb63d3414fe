/**
 * One process owns a store. Each opener leaves a claim, a file named after itself (pid and start time), and then looks
 * who else is there. Claims come before looking, so of two openers at the same time at least one sees the other; that
 * both give way is possible, and they try again after a random pause. A claim of a process that is gone is removed;
 * no lock is ever taken over, so there is no moment at which two believe that they have it.
 */
import { open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isRunning, processIdentity, type System } from '#core';

const claimName = /^\.owner-([1-9][0-9]*)-(.+)$/;
const attempts = 4;
const pauseMsMax = 50;

export const isClaim = (fileName: string): boolean => claimName.test(fileName);

/** Resolves to the release. @throws HoldfastError HF_ALREADY_RUNNING */
export async function lockStore(folder: string, system: System): Promise<() => Promise<void>> {
  const self = processIdentity(process.pid)!;
  const own = `.owner-${self.pid}-${encodeURIComponent(self.startTime)}`;
  const release = () => rm(join(folder, own), { force: true });
  for (let attempt = 1; ; attempt++) {
    await claim(join(folder, own), folder);
    try {
      const other = await otherOwner(folder, own);
      if (other === null) return release;
      if (attempt === attempts) throw alreadyRunning(folder, `process ${other}`);
    } catch (error) {
      await release();
      throw error;
    }
    await release();
    await system.timers.sleep(pauseMsMax * system.random.fraction());
  }
}

async function claim(path: string, folder: string): Promise<void> {
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw alreadyRunning(folder, 'this very process');
    throw error;
  }
}

/** The pid of a live process with a claim, or null. */
async function otherOwner(folder: string, own: string): Promise<number | null> {
  for (const fileName of await readdir(folder)) {
    const match = fileName === own ? null : claimName.exec(fileName);
    if (!match) continue;
    const identity = { pid: Number(match[1]), startTime: decodeURIComponent(match[2]!) };
    if (isRunning(identity)) return identity.pid;
    await rm(join(folder, fileName), { force: true });
  }
  return null;
}

function alreadyRunning(folder: string, owner: string): HoldfastError {
  return new HoldfastError(
    'HF_ALREADY_RUNNING',
    `the package store ${folder} is in use by ${owner}; stop it, or choose another folder`,
    { details: { directory: folder } },
  );
}
