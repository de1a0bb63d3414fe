/**
 * A ZIP that is no package, read with the same strictness: what is declared is checked before anything is unpacked, and again against the real
 * bytes of each entry. Entries are read one at a time, so that memory is bounded by the largest.
 */
import { open } from 'node:fs/promises';
import { fileSource } from './byte-source.ts';
import { readContent, readWholeContent, type Sink } from './entry-data.ts';
import { inspectArchive } from './inspection.ts';
import { archiveLimits, type PackageLimits } from './limits.ts';
import { invalid } from './refusal.ts';

export interface Archive {
  /** In the order of their bytes. */
  readonly entries: readonly { name: string; sizeBytes: number }[];
  /** The whole content of an entry. @throws HoldfastError HF_PACKAGE_INVALID */
  read(name: string): Promise<Buffer>;
  /** The content piece by piece; what was handed out before a rejection must be thrown away. @throws as `read` */
  stream(name: string, sink: Sink): Promise<void>;
  close(): Promise<void>;
}

/** @throws HoldfastError HF_PACKAGE_INVALID or HF_PACKAGE_TOO_LARGE; what the file system throws */
export async function openArchive(path: string, limits: PackageLimits = archiveLimits): Promise<Archive> {
  const file = await open(path);
  try {
    const source = fileSource(file, (await file.stat()).size);
    const entries = await inspectArchive(source, limits);
    const byName = new Map(entries.map(entry => [entry.name, entry]));
    const find = (name: string) => {
      const entry = byName.get(name);
      if (!entry) throw invalid('it is missing', { entry: name, expected: 'this file in the ZIP' });
      return entry;
    };
    return {
      entries: entries.map(({ name, sizeBytes }) => ({ name, sizeBytes })),
      read: async name => readWholeContent(source, find(name)),
      stream: async (name, sink) => readContent(source, find(name), sink),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}
