/**
 * The state folder of a cluster that `up` runs: its mode, the token, the lock against a second `up`, and the note about
 * the last run. What is half written is either mended safely, and said, or refused with the way to mend it.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { HoldfastError, writeFileDurably } from '#core';

export interface State {
  /** Absolute. */
  root: string;
  tokenPath: string;
  token: string;
  /** Whether an earlier run did not come to its end: what it left may still be ending. */
  crashed: boolean;
  /** What was mended, in words. */
  repairs: string[];
  /** Notes that this run ended well and lets the next one in. Idempotent. */
  release(): Promise<void>;
}

/** @throws HoldfastError HF_STATE_UNUSABLE, HF_ALREADY_RUNNING */
export async function openState(root: string): Promise<State> {
  const repairs: string[] = [];
  await prepareFolder(root, repairs);
  const unlock = await lock(root);
  try {
    const runFile = join(root, 'up.json');
    const crashed = (await stat(runFile).catch(() => null)) !== null;
    const tokenPath = join(root, 'token');
    const token = await ensureToken(tokenPath, repairs);
    await writeFileDurably(runFile, JSON.stringify({ pid: process.pid }));
    let released = false;
    return {
      root,
      tokenPath,
      token,
      crashed,
      repairs,
      async release() {
        if (released) return;
        released = true;
        await rm(runFile, { force: true });
        unlock();
      },
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

async function prepareFolder(root: string, repairs: string[]): Promise<void> {
  try {
    await mkdir(root, { recursive: true, mode: 0o700 });
    const found = await stat(root);
    if (!found.isDirectory()) throw new Error('it is not a folder');
    if (process.getuid && found.uid !== process.getuid()) throw new Error('it belongs to another user');
    if ((found.mode & 0o077) !== 0) {
      await chmod(root, 0o700);
      repairs.push(`${root} was open to others; its mode is 0700 now`);
    }
  } catch (cause) {
    throw unusable(root, cause, `make ${dirname(root)} writable, or choose another folder with --state`);
  }
}

/**
 * The lock is one that the kernel releases with the process: an exclusive transaction on an empty database, never
 * committed. So there is no stale lock to judge.
 */
async function lock(root: string): Promise<() => void> {
  const path = join(root, 'up.lock');
  let database: DatabaseSync;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
  } catch (cause) {
    throw unusable(path, cause, `make ${root} writable, or choose another folder with --state`);
  }
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    if (!/locked|busy/i.test((cause as Error).message)) {
      throw unusable(path, cause, 'remove this file; it holds nothing');
    }
    throw new HoldfastError('HF_ALREADY_RUNNING', `${await runningName(root)} runs on ${root} already`, {
      cause,
    });
  }
  return () => database.close();
}

async function runningName(root: string): Promise<string> {
  try {
    const { pid } = JSON.parse(await readFile(join(root, 'up.json'), 'utf8')) as { pid: number };
    return `another holdfast up (pid ${pid})`;
  } catch {
    return 'another holdfast up'; // it is just starting
  }
}

/** Made once. An existing token is kept, whatever it is, if it can be one. */
async function ensureToken(path: string, repairs: string[]): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw unusable(path, cause, 'make it a file that you can read, or remove it to get a new token');
    }
    // base64url has no dot, which tells the secret from tokens derived from it.
    const token = randomBytes(32).toString('base64url');
    await writeFileDurably(path, `${token}\n`).catch((failure: unknown) => {
      throw unusable(path, failure, `make ${dirname(path)} writable`);
    });
    return token;
  }
  const token = text.trim();
  if (!/^[A-Za-z0-9_-]{16,512}$/.test(token)) {
    throw unusable(
      path,
      new Error(
        token === '' ? 'it is empty' : 'it holds no usable token (16 to 512 letters, digits, - and _)',
      ),
      'put the token back, or remove the file to get a new one (then everybody needs the new one)',
    );
  }
  if (((await stat(path)).mode & 0o077) !== 0) {
    await chmod(path, 0o600);
    repairs.push(`${path} was readable by others; its mode is 0600 now (remove it to get a new token)`);
  }
  return token;
}

function unusable(path: string, cause: unknown, advice: string): HoldfastError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new HoldfastError('HF_STATE_UNUSABLE', `cannot use ${path}: ${reason}; ${advice}`, { cause });
}
