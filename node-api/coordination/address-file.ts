/**
 * How an agent learns where the coordination store is. It looks, in this order, into the file that it was told to read
 * (`--coordination-file`), the one in its own folder (where it keeps what it was handed), and the one in the state folder
 * that agents of one machine share (where `holdfast up` leaves it). Without any it uses the embedded store of that state
 * folder. Passwords stand in such a file, so it is for its owner alone, and no message repeats what it holds.
 */
import { readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  COORDINATION_FILE,
  describeProblem,
  HoldfastError,
  redisAddressProblems,
  syncDirectory,
  writeFileDurably,
  type NodeCoordination,
  type RedisAddress,
} from '#core';

/** The embedded store needs no more words: each machine has its own. */
export type StoredAddress = { kind: 'embedded' } | RedisAddress;

export interface FoundAddress {
  address: StoredAddress;
  source: NodeCoordination['source'];
  /** The file that says so; null for the default. */
  path: string | null;
  /** Whether others may read the file. */
  readableByOthers: boolean;
}

/** @throws HoldfastError HF_STATE_UNUSABLE naming the file, and what is wrong in it */
export async function findAddress(places: {
  file: string | null;
  dataDirectory: string;
  stateRoot: string;
}): Promise<FoundAddress> {
  if (places.file !== null) {
    const found = await readAddress(places.file, 'file');
    if (!found) throw unusable(places.file, 'it is not there');
    return found;
  }
  const own = await readAddress(join(places.dataDirectory, COORDINATION_FILE), 'assigned');
  if (own) return own;
  // A lone agent's state folder is its own.
  const shared =
    places.stateRoot === places.dataDirectory
      ? null
      : await readAddress(join(places.stateRoot, COORDINATION_FILE), 'shared');
  return shared ?? { address: { kind: 'embedded' }, source: 'default', path: null, readableByOthers: false };
}

/** @throws HoldfastError HF_STATE_UNUSABLE when the disk does not take it */
export async function writeAddress(path: string, address: RedisAddress): Promise<void> {
  await writeFileDurably(path, `${JSON.stringify(address, null, 2)}\n`).catch((cause: unknown) => {
    throw unusable(path, (cause as Error).message, cause);
  });
}

/** Idempotent and durable. */
export async function removeAddress(path: string): Promise<void> {
  await rm(path, { force: true });
  await syncDirectory(dirname(path));
}

async function readAddress(path: string, source: FoundAddress['source']): Promise<FoundAddress | null> {
  let text: string;
  let mode: number;
  try {
    text = await readFile(path, 'utf8');
    ({ mode } = await stat(path));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw unusable(path, (cause as Error).message, cause);
  }
  return { address: parseAddress(path, text), source, path, readableByOthers: (mode & 0o077) !== 0 };
}

function parseAddress(path: string, text: string): StoredAddress {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unusable(path, 'it holds no JSON'); // the parser's own words would quote it
  }
  if ((value as { kind?: unknown } | null)?.kind === 'embedded') return { kind: 'embedded' };
  const problems = redisAddressProblems(value);
  if (problems.length > 0) throw unusable(path, problems.map(describeProblem).join('; '));
  return value as RedisAddress;
}

function unusable(path: string, reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'HF_STATE_UNUSABLE',
    `the address of the coordination store in ${path}: ${reason}`,
    {
      details: { path },
      cause,
    },
  );
}
