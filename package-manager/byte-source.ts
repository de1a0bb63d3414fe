/** Positioned reads from a ZIP that lies in a file or in memory. Memory use is bounded by one window, whatever the size. */
import type { FileHandle } from 'node:fs/promises';
import { invalid } from './refusal.ts';

export interface ByteSource {
  readonly sizeBytes: number;
  /** Exactly `length` bytes. Rejects with HF_PACKAGE_INVALID when they reach past the end. */
  read(position: number, length: number): Promise<Buffer>;
}

export function bufferSource(buffer: Buffer): ByteSource {
  return {
    sizeBytes: buffer.length,
    async read(position, length) {
      assertInside(position, length, buffer.length);
      return buffer.subarray(position, position + length);
    },
  };
}

const readAheadBytes = 64 * 1024;

/**
 * Reads ahead by a window, because headers are mostly read in order and are many. A window is never written to again, so
 * that what was handed out stays as it was. With a window of 0 exactly what is asked for is read: for readers side by
 * side, who would only push each other's window away.
 */
export function fileSource(file: FileHandle, sizeBytes: number, windowBytes = readAheadBytes): ByteSource {
  let window: Buffer = Buffer.alloc(0);
  let windowStart = 0;

  async function fill(position: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
      if (bytesRead === 0) throw truncated(position, length, position + filled);
      filled += bytesRead;
    }
    return buffer;
  }

  return {
    sizeBytes,
    async read(position, length) {
      assertInside(position, length, sizeBytes);
      if (length > windowBytes) return fill(position, length);
      const offset = position - windowStart;
      if (offset >= 0 && offset + length <= window.length) return window.subarray(offset, offset + length);
      const fresh = await fill(position, Math.min(windowBytes, sizeBytes - position));
      window = fresh;
      windowStart = position;
      return fresh.subarray(0, length);
    },
  };
}

function assertInside(position: number, length: number, sizeBytes: number): void {
  if (position < 0 || length < 0 || position + length > sizeBytes)
    throw truncated(position, length, sizeBytes);
}

function truncated(position: number, length: number, sizeBytes: number): Error {
  return invalid(`it points to bytes ${position} to ${position + length}, but has only ${sizeBytes}`, {
    expected: 'a complete archive; the upload may have been cut off: build and send it again',
  });
}
