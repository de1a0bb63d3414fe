/** Where the bytes of an archive come from, as one stream of chunks; and the way of a stream into a file. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { nextTurn } from './bounded.ts';
import { archiveTooLarge } from './inspection.ts';
import type { PackageLimits } from './limits.ts';

/** A stream is read to its end; when it is refused it is left as it is, so that an HTTP server can still answer on it. */
export type PackageSource = Readable | Buffer | { readonly path: string };

export interface Digest {
  /** Hex. */
  sha256: string;
  sizeBytes: number;
}

const chunkBytes = 64 * 1024;
/** Large enough for few system calls, small enough that memory stays where it was. */
const writeBytes = 256 * 1024;

/** Copies into `file`, hashing while it is written; stops at the size limit. The file is not synced yet. */
export async function copyArchive(
  source: PackageSource,
  file: FileHandle,
  limits: PackageLimits,
): Promise<Digest> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  let gathered: Buffer[] = [];
  let gatheredBytes = 0;
  let writing: Promise<void> = Promise.resolve();
  const flush = async (): Promise<void> => {
    const chunks = gathered;
    gathered = [];
    gatheredBytes = 0;
    await writing; // at most one write is under way, and at most one more is gathered meanwhile
    writing = writeAll(file, chunks);
    writing.catch(() => undefined); // it is awaited before the next one, or at the end
  };
  try {
    for await (const chunk of chunksOf(source)) {
      sizeBytes += chunk.length;
      if (sizeBytes > limits.archiveBytesMax) throw archiveTooLarge(limits, sizeBytes);
      hash.update(chunk);
      gathered.push(chunk);
      gatheredBytes += chunk.length;
      if (gatheredBytes >= writeBytes) await flush();
    }
    await flush();
  } finally {
    await writing; // nothing is written any more when this is over
  }
  return { sha256: hash.digest('hex'), sizeBytes };
}

/** Goes on where the last write ended. */
async function writeAll(file: FileHandle, chunks: Buffer[]): Promise<void> {
  const wanted = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  if (wanted === 0) return;
  const { bytesWritten } = await file.writev(chunks);
  // A disk that is nearly full takes a part; writing the rest tells why.
  if (bytesWritten < wanted) await file.writeFile(Buffer.concat(chunks).subarray(bytesWritten));
}

/** Hashes without keeping. */
export async function digestOf(source: PackageSource, limits?: PackageLimits): Promise<Digest> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of chunksOf(source)) {
    sizeBytes += chunk.length;
    if (limits && sizeBytes > limits.archiveBytesMax) throw archiveTooLarge(limits, sizeBytes);
    hash.update(chunk);
  }
  return { sha256: hash.digest('hex'), sizeBytes };
}

/**
 * To be called at once with a source that will be read a little later. Without a listener of ours a stream that breaks
 * before it is read, or after it was refused, would end the process; its reader learns of the error all the same.
 */
export function expectErrors(source: PackageSource): void {
  if (isStream(source)) source.on('error', () => undefined);
}

export function isStream(source: PackageSource): source is Readable {
  return !Buffer.isBuffer(source) && 'pipe' in source;
}

async function* chunksOf(source: PackageSource): AsyncGenerator<Buffer> {
  if (Buffer.isBuffer(source)) {
    for (let start = 0; start < source.length; start += chunkBytes) {
      yield source.subarray(start, start + chunkBytes);
      if (start % (16 * chunkBytes) === 0) await nextTurn(); // hashing a large buffer must not hold up the event loop
    }
    return;
  }
  const own = !isStream(source);
  const stream = own ? createReadStream(source.path, { highWaterMark: chunkBytes }) : source;
  for await (const chunk of stream.iterator({ destroyOnReturn: own })) {
    yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk as Uint8Array | string);
  }
}
