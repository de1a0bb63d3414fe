/**
 * Streams one entry's content out of the archive and checks it while it flows: no byte more than declared, the whole
 * compressed data used, length and CRC-32 as declared.
 *
 * Why not adm-zip: it inflates a whole entry at once, from an archive that it holds in memory as a whole, on the event
 * loop. Here zlib inflates in libuv's thread pool, one chunk at a time and with back-pressure, so an archive of any
 * size costs a few hundred kilobytes and no pause. That needs neither a worker (which a runaway allocation would take
 * the process down with) nor a child with an entry file of its own (which a package bundled into one file has not).
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw } from 'node:zlib';
import type { ByteSource } from './byte-source.ts';
import { invalid, tooLarge } from './refusal.ts';
import type { LocatedEntry } from './zip-layout.ts';

const chunkBytes = 64 * 1024;

export type Sink = (chunk: Buffer) => void | Promise<void>;

/** Hands the unpacked content to `sink`, piece by piece. What was handed out before a rejection must be thrown away. */
export async function readContent(source: ByteSource, entry: LocatedEntry, sink: Sink): Promise<void> {
  let sizeBytes = 0;
  let checksum = 0;
  async function take(chunks: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      if (sizeBytes > entry.sizeBytes) {
        throw tooLarge('it unpacks to more than it declares', {
          entry: entry.name,
          expected: 'true sizes; build the ZIP again',
          limit: entry.sizeBytes,
          actual: sizeBytes,
        });
      }
      checksum = crc32(chunk, checksum);
      await sink(chunk);
    }
  }

  if (entry.method === 'stored') await take(compressedChunks(source, entry));
  else await inflate(source, entry, take);

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

/** The whole content of a small entry; the caller has checked its declared size. */
export async function readSmallContent(source: ByteSource, entry: LocatedEntry): Promise<Buffer> {
  const chunks: Buffer[] = [];
  await readContent(source, entry, chunk => void chunks.push(chunk));
  return Buffer.concat(chunks);
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
    const { code } = error as NodeJS.ErrnoException;
    if (!code?.startsWith('Z_')) throw error;
    throw invalid(`its compressed data is damaged (${(error as Error).message})`, {
      entry: entry.name,
      expected: 'deflate data; build or send the ZIP again',
      cause: error,
    });
  }
  if (inflater.bytesWritten !== entry.compressedBytes) {
    throw invalid(
      `${entry.compressedBytes - inflater.bytesWritten} bytes follow the end of its compressed data`,
      {
        entry: entry.name,
        expected: 'nothing but its content; build the ZIP again',
      },
    );
  }
}

async function* compressedChunks(source: ByteSource, entry: LocatedEntry): AsyncGenerator<Buffer> {
  for (let done = 0; done < entry.compressedBytes; done += chunkBytes) {
    yield await source.read(entry.dataOffset + done, Math.min(chunkBytes, entry.compressedBytes - done));
  }
}
