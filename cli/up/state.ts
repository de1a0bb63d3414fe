/**
 * The state folder of a cluster that `up` runs: its mode, the token, and the lock against a second `up`, which also tells
 * how the last run ended. What is half written is either mended safely, and said, or refused with the way to mend it.
 */
import { randomBytes } from 'node:crypto';
import { chmod, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HoldfastError, lockFolder, makeFolder, writeFileDurably } from '#core';

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
  release(): void;
}

/** @throws HoldfastError HF_STATE_UNUSABLE, HF_ALREADY_RUNNING */
export async function openState(root: string): Promise<State> {
  const repairs: string[] = [];
  await prepareFolder(root, repairs);
  const lock = lockFolder(root);
  const { abandoned } = lock;
  try {
    const tokenPath = join(root, 'token');
    const token = await ensureToken(tokenPath, repairs);
    return { root, tokenPath, token, crashed: abandoned, repairs, release: () => lock.release() };
  } catch (error) {
    lock.release({ abandoned });
    throw error;
  }
}

async function prepareFolder(root: string, repairs: string[]): Promise<void> {
  try {
    await makeFolder(root);
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
