/**
 * Whether the files of an installed version are still those that were verified when it was installed: none changed, none
 * missing, none added (an added `node_modules` could change what the code loads).
 *
 * A fingerprint (inode, size, change times, as the kernel keeps them) taken at the last full check lets a later check
 * skip the reading of what was not touched since.
 */
import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { lstat, opendir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { forEachBounded } from './bounded.ts';
import type { FileRecord } from './extraction.ts';
import { digestOf } from './package-source.ts';

/** Path → fingerprint at the last time that its content was seen to be right. */
export type Fingerprints = ReadonlyMap<string, string>;

export interface IntegrityResult {
  /** In words, or null when all is well. */
  problem: string | null;
  fingerprints: Fingerprints;
}

const width = 3;
const wholeFileBytesMax = 1024 * 1024;

/** With `trusted`, files whose fingerprint is in it are not read again. */
export async function checkFiles(
  folder: string,
  files: readonly FileRecord[],
  trusted: Fingerprints = new Map(),
): Promise<IntegrityResult> {
  const fingerprints = new Map<string, string>();
  const problems: string[] = [];
  try {
    const expected = new Set(files.map(file => file.path));
    const extra = await unexpectedFile(folder, '', expected);
    if (extra !== null) problems.push(`${extra} does not belong to it`);
    await forEachBounded(files, width, async file => {
      const fingerprint = await presentFingerprint(join(folder, file.path), file);
      if (fingerprint === null) {
        problems.push(`${file.path} is missing or has another size or type`);
      } else if (
        trusted.get(file.path) !== fingerprint &&
        (await fileDigest(join(folder, file.path), file.sizeBytes)) !== file.sha256
      ) {
        problems.push(`${file.path} was changed`);
      } else {
        fingerprints.set(file.path, fingerprint);
      }
    });
  } catch (error) {
    problems.push((error as Error).message);
  }
  return { problem: problems.length === 0 ? null : problems.sort().slice(0, 3).join('; '), fingerprints };
}

/** The archive's digest, or null when it cannot be read. */
export async function archiveDigest(path: string): Promise<string | null> {
  try {
    return (await digestOf({ path })).sha256;
  } catch {
    return null; // missing or unreadable is the same as wrong to the caller
  }
}

/** Small files, which are most, at one go: a stream each would take several times as long. */
async function fileDigest(path: string, sizeBytes: number): Promise<string> {
  if (sizeBytes > wholeFileBytesMax) return (await digestOf({ path })).sha256;
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

export function fingerprintOf(found: BigIntStats): string {
  return [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join(':');
}

async function presentFingerprint(path: string, file: FileRecord): Promise<string | null> {
  const found = await lstat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw error;
  });
  return found?.isFile() && found.size === BigInt(file.sizeBytes) ? fingerprintOf(found) : null;
}

/** The first thing below `folder` that is neither an expected file nor a folder, or null. */
async function unexpectedFile(
  folder: string,
  prefix: string,
  expected: ReadonlySet<string>,
): Promise<string | null> {
  for await (const entry of await opendir(join(folder, prefix))) {
    const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    if (!entry.isDirectory()) {
      if (!expected.has(path)) return path;
      continue;
    }
    const found = await unexpectedFile(folder, path, expected);
    if (found !== null) return found;
  }
  return null;
}
