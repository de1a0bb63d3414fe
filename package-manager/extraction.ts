/**
 * Unpacks an inspected archive into a new folder and makes it durable. Files are created exclusively, in a folder that
 * was made for them, with modes of ours (0600, 0700 when executable); each gets its digest while it is written, is read
 * back and synced before it is closed. Memory is bounded whatever the archive: a few small files at once, and chunks of larger ones.
 */
import { createHash, hash } from 'node:crypto';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HoldfastError, syncDirectory } from '#core';
import { forEachBounded } from './bounded.ts';
import type { ByteSource } from './byte-source.ts';
import { isSmall, readContent, readWholeContent } from './entry-data.ts';
import { fingerprintOf, type Fingerprints } from './integrity.ts';
import type { LocatedEntry } from './zip-layout.ts';

export interface FileRecord {
  /** Relative to the package's folder, with forward slashes. */
  path: string;
  sizeBytes: number;
  sha256: string;
}

export interface Extraction {
  /** In the order of their paths. */
  files: FileRecord[];
  fingerprints: Fingerprints;
}

/** Less than libuv's four threads, so that other file work of the process goes on behind files that take long. */
const width = 3;
/** What is small is over in no time, but waits for the disk at its sync: the more wait together, the fewer times the disk is waited for. */
const smallWidth = 8;

/** @throws HoldfastError HF_PACKAGE_INVALID, HF_PACKAGE_TOO_LARGE; HF_PACKAGE_CORRUPT when a file reads back differently */
export async function extractPackage(
  source: ByteSource,
  entries: readonly LocatedEntry[],
  folder: string,
): Promise<Extraction> {
  const folders = foldersOf(entries, folder);
  for (const path of folders) await mkdir(path, { mode: 0o700 });
  const files: FileRecord[] = [];
  const fingerprints = new Map<string, string>();
  const write = async (entry: LocatedEntry): Promise<void> => {
    const { sha256, fingerprint } = await extractFile(source, entry, join(folder, entry.name));
    files.push({ path: entry.name, sizeBytes: entry.sizeBytes, sha256 });
    fingerprints.set(entry.name, fingerprint);
  };
  const wanted = entries.filter(entry => !entry.isFolder);
  await forEachBounded(wanted.filter(isSmall), smallWidth, write);
  const large = wanted.filter(entry => !isSmall(entry));
  await forEachBounded(large, width, write);
  await forEachBounded(folders, width, syncDirectory);
  return { files: files.sort((a, b) => (a.path < b.path ? -1 : 1)), fingerprints };
}

async function extractFile(
  source: ByteSource,
  entry: LocatedEntry,
  path: string,
): Promise<{ sha256: string; fingerprint: string }> {
  await using file = await open(path, 'wx+', entry.executable ? 0o700 : 0o600);
  const sha256 = isSmall(entry) ? await writeWhole(source, entry, file) : await stream(source, entry, file);
  await file.sync();
  return { sha256, fingerprint: fingerprintOf(await file.stat({ bigint: true })) };
}

async function writeWhole(source: ByteSource, entry: LocatedEntry, file: FileHandle): Promise<string> {
  const content = await readWholeContent(source, entry);
  await file.writeFile(content);
  const back = await readBack(file, 0, Buffer.allocUnsafe(content.length));
  if (!back.equals(content)) throw readsDifferently(entry);
  return hash('sha256', content);
}

async function stream(source: ByteSource, entry: LocatedEntry, file: FileHandle): Promise<string> {
  const digest = createHash('sha256');
  await readContent(source, entry, async chunk => {
    digest.update(chunk);
    await file.writeFile(chunk); // goes on where the last write ended
  });
  const sha256 = digest.digest('hex');
  const again = createHash('sha256');
  const buffer = Buffer.allocUnsafe(readBackBytes);
  for (let position = 0; position < entry.sizeBytes;) {
    const part = await readBack(file, position, buffer);
    if (part.length === 0) break;
    again.update(part);
    position += part.length;
  }
  if (again.digest('hex') !== sha256) throw readsDifferently(entry);
  return sha256;
}

const readBackBytes = 64 * 1024;

/** From `position` on as much as the buffer holds, or the file has. */
async function readBack(file: FileHandle, position: number, buffer: Buffer): Promise<Buffer> {
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function readsDifferently({ name }: LocatedEntry): HoldfastError {
  return new HoldfastError(
    'HF_PACKAGE_CORRUPT',
    `what was written reads back differently: ${name}; look at the disk`,
    { details: { entry: name } },
  );
}

/** Every folder that is named or implied, `folder` itself first, parents before children. */
function foldersOf(entries: readonly LocatedEntry[], folder: string): string[] {
  const folders = new Set([folder]);
  for (const { name, isFolder } of entries) {
    const lineage: string[] = [];
    let path = join(folder, isFolder ? name.slice(0, -1) : dirname(name));
    for (; !folders.has(path); path = dirname(path)) lineage.push(path);
    for (const ancestor of lineage.reverse()) folders.add(ancestor);
  }
  return [...folders];
}
