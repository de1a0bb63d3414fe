/** The body of a call, ready to be sent again as long as all of it that was read is still here. */
import { Readable } from 'node:stream';

export interface CallBody {
  /** It can be sent (again) from its beginning. */
  readonly replayable: boolean;
  /** What the source failed with, null as long as it did not. */
  readonly problem: Error | null;
  open(): Buffer | Readable | null;
  /** It will not be sent again. */
  forget(): void;
  /** The call is over; whatever is left of the body is not wanted. */
  close(): void;
}

/** Kept of one call's body, so that it can be sent again. */
const keptBytesMax = 1024 * 1024;

export function wholeBody(bytes: Buffer | null): CallBody {
  return { replayable: true, problem: null, open: () => bytes, forget() {}, close() {} };
}

export function streamedBody(stream: ReadableStream<Uint8Array>): CallBody {
  const reader = stream.getReader();
  /** What was read, from the beginning; once it cannot be sent again, only what the present sending has not taken yet. */
  let chunks: Uint8Array[] = [];
  let bytes = 0;
  let replayable = true;
  let ended = false;
  let problem: Error | null = null;
  let reading = false;
  let sending: { out: Readable; next: number } | null = null;

  function supply(): void {
    if (!sending) return;
    const { out, next } = sending;
    if (problem !== null) {
      out.destroy(problem);
    } else if (next < chunks.length) {
      sending.next += 1;
      const chunk = chunks[next]!;
      if (!replayable && sending.next === chunks.length) {
        chunks = [];
        sending.next = 0;
      }
      out.push(chunk);
    } else if (ended) {
      out.push(null);
    } else {
      void read();
    }
  }

  async function read(): Promise<void> {
    if (reading) return;
    reading = true;
    try {
      const { done, value } = await reader.read();
      if (done) ended = true;
      else {
        chunks.push(value);
        bytes += value.byteLength;
        if (bytes > keptBytesMax) replayable = false;
      }
    } catch (error) {
      problem = error instanceof Error ? error : new Error('the body failed', { cause: error });
    }
    reading = false;
    supply();
  }

  return {
    get replayable() {
      return replayable;
    },
    get problem() {
      return problem;
    },
    open() {
      const out = new Readable({ read: supply });
      out.on('error', () => {}); // the attempt that reads it tells the same
      sending = { out, next: 0 };
      return out;
    },
    forget() {
      replayable = false;
    },
    close() {
      replayable = false;
      sending = null;
      chunks = [];
      if (!ended) void reader.cancel().catch(() => {}); // a source that fails on being let go has nobody left to tell
    },
  };
}
