/**
 * Unpacks an inspected archive into a new folder and makes it durable. Files are created exclusively, in a folder that
 * was made for them, with modes of ours (0600, 0700 when executable); each gets its digest while it is written.
 */
import { createHash } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory } from '#core';
import { forEachBounded } from './bounded.ts';
import type { ByteSource } from './byte-source.ts';
import { readContent } from './entry-data.ts';
import type { LocatedEntry } from './zip-layout.ts';

export interface FileRecord {
  /** Relative to the package's folder, with forward slashes. */
  path: string;
  sizeBytes: number;
  sha256: string;
}

/** Less than libuv's four threads, so that other file work of the process goes on. */
const width = 3;

export async function extractPackage(
  source: ByteSource,
  entries: readonly LocatedEntry[],
  folder: string,
): Promise<FileRecord[]> {
  const folders = foldersOf(entries, folder);
  for (const path of folders) await mkdir(path, { mode: 0o700 });
  const files: FileRecord[] = [];
  await forEachBounded(
    entries.filter(entry => !entry.isFolder),
    width,
    async entry => {
      files.push(await extractFile(source, entry, folder));
    },
  );
  await forEachBounded(folders, width, syncDirectory);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function extractFile(source: ByteSource, entry: LocatedEntry, folder: string): Promise<FileRecord> {
  const hash = createHash('sha256');
  await using file = await open(join(folder, entry.name), 'wx', entry.executable ? 0o700 : 0o600);
  await readContent(source, entry, async chunk => {
    hash.update(chunk);
    await file.writeFile(chunk); // goes on where the last write ended
  });
  await file.sync();
  return { path: entry.name, sizeBytes: entry.sizeBytes, sha256: hash.digest('hex') };
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
