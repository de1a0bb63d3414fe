/**
 * Takes one entry's content out of the archive and checks it: no byte more than declared, the whole compressed data used,
 * length and CRC-32 as declared.
 *
 * Why not adm-zip: it inflates a whole entry at once, from an archive that it holds in memory as a whole, on the event
 * loop. Here zlib inflates in libuv's thread pool, small entries in one go and others one chunk at a time with
 * back-pressure, so an archive of any size costs a bounded amount of memory and no pause. A worker was measured to be no
 * faster, costs 12 MB and 50 ms of CPU time more, and a runaway allocation in it would end the process; a child would need
 * an entry file of its own, which a package bundled into one file has not.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw, inflateRaw } from 'node:zlib';
import type { ByteSource } from './byte-source.ts';
import { invalid, tooLarge } from './refusal.ts';
import type { LocatedEntry } from './zip-layout.ts';

const chunkBytes = 64 * 1024;
const smallBytesMax = 512 * 1024;

export type Sink = (chunk: Buffer) => void | Promise<void>;

/** Hands the unpacked content to `sink`, piece by piece. What was handed out before a rejection must be thrown away. */
export async function readContent(source: ByteSource, entry: LocatedEntry, sink: Sink): Promise<void> {
  let sizeBytes = 0;
  let checksum = 0;
  async function take(chunks: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      if (sizeBytes > entry.sizeBytes) throw moreThanDeclared(entry, sizeBytes);
      checksum = crc32(chunk, checksum);
      await sink(chunk);
    }
  }

  if (entry.method === 'stored') await take(compressedChunks(source, entry));
  else await inflate(source, entry, take);

  assertContent(entry, sizeBytes, checksum);
}

function assertContent(entry: LocatedEntry, sizeBytes: number, checksum: number): void {
  if (sizeBytes > entry.sizeBytes) throw moreThanDeclared(entry, sizeBytes);
  if (sizeBytes !== entry.sizeBytes) {
    throw invalid(`it unpacks to ${sizeBytes} bytes but declares ${entry.sizeBytes}`, {
      entry: entry.name,
      expected: 'true sizes; build the ZIP again',
    });
  }
  if (checksum !== entry.crc32) {
    throw invalid('its content does not match its CRC-32', {
      entry: entry.name,
      expected: 'undamaged content; build or send the ZIP again',
    });
  }
}

/** Whether it is worth while, and costs little memory, to have all of it at once. */
export function isSmall(entry: LocatedEntry): boolean {
  return entry.sizeBytes <= smallBytesMax && entry.compressedBytes <= smallBytesMax;
}

/** The whole content in one piece; the caller has checked the declared size. */
export async function readWholeContent(source: ByteSource, entry: LocatedEntry): Promise<Buffer> {
  if (!isSmall(entry)) {
    const chunks: Buffer[] = [];
    await readContent(source, entry, chunk => void chunks.push(chunk));
    return Buffer.concat(chunks);
  }
  const packed = await source.read(entry.dataOffset, entry.compressedBytes);
  const content = entry.method === 'stored' ? packed : await inflateWhole(packed, entry);
  assertContent(entry, content.length, crc32(content));
  return content;
}

async function inflate(
  source: ByteSource,
  entry: LocatedEntry,
  take: (chunks: AsyncIterable<Buffer>) => Promise<void>,
): Promise<void> {
  const inflater = createInflateRaw({ chunkSize: chunkBytes });
  try {
    await pipeline(Readable.from(compressedChunks(source, entry)), inflater, take);
  } catch (error) {
    throw asDamage(error, entry);
  }
  assertUsed(entry, inflater.bytesWritten);
}

/** In one go in the thread pool: a stream would take several times as long for a small entry. Never more than declared. */
async function inflateWhole(packed: Buffer, entry: LocatedEntry): Promise<Buffer> {
  const limits = { maxOutputLength: entry.sizeBytes + 1, chunkSize: entry.sizeBytes + 64, info: true };
  const { buffer, engine } = await new Promise<Inflated>((resolve, reject) => {
    inflateRaw(packed, limits, (error, result) => {
      if (error) reject(asDamage(error, entry));
      else resolve(result as unknown as Inflated); // what `info` makes of it, which its types leave out
    });
  });
  assertUsed(entry, engine.bytesWritten);
  return buffer;
}

interface Inflated {
  buffer: Buffer;
  /** Of the compressed data: what was used. */
  engine: { bytesWritten: number };
}

function asDamage(error: unknown, entry: LocatedEntry): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ERR_BUFFER_TOO_LARGE') return moreThanDeclared(entry, entry.sizeBytes + 1);
  if (!code?.startsWith('Z_')) return error;
  return invalid(`its compressed data is damaged (${(error as Error).message})`, {
    entry: entry.name,
    expected: 'deflate data; build or send the ZIP again',
    cause: error,
  });
}

function moreThanDeclared(entry: LocatedEntry, actual: number): Error {
  return tooLarge('it unpacks to more than it declares', {
    entry: entry.name,
    expected: 'true sizes; build the ZIP again',
    limit: entry.sizeBytes,
    actual,
  });
}

function assertUsed(entry: LocatedEntry, usedBytes: number): void {
  if (usedBytes === entry.compressedBytes) return;
  throw invalid(`${entry.compressedBytes - usedBytes} bytes follow the end of its compressed data`, {
    entry: entry.name,
    expected: 'nothing but its content; build the ZIP again',
  });
}

async function* compressedChunks(source: ByteSource, entry: LocatedEntry): AsyncGenerator<Buffer> {
  for (let done = 0; done < entry.compressedBytes; done += chunkBytes) {
    yield await source.read(entry.dataOffset + done, Math.min(chunkBytes, entry.compressedBytes - done));
  }
}
