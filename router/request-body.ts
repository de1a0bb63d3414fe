/**
 * A request's body on its way to the owner: streamed with back-pressure, and kept as far as the limits allow, so that it
 * can be sent again from its beginning. What was kept is let go as soon as it cannot be of use any more.
 */
import { Readable } from 'node:stream';
import type { Exchange } from './exchange.ts';

/** Bytes that all requests together may keep. */
export interface ByteBudget {
  /** Whether so many more may be kept; takes them if so. */
  take(bytes: number): boolean;
  give(bytes: number): void;
  readonly taken: number;
}

/** @param onExhausted called whenever it cannot give what was asked for */
export function createByteBudget(bytesMax: number, onExhausted: () => void = () => {}): ByteBudget {
  let taken = 0;
  return {
    take(bytes) {
      if (taken + bytes > bytesMax) {
        onExhausted();
        return false;
      }
      taken += bytes;
      return true;
    },
    give(bytes) {
      taken -= bytes;
    },
    get taken() {
      return taken;
    },
  };
}

export interface RequestBodyOptions {
  /** 0: no bound. */
  bytesMax: number;
  replayBytes: number;
  budget: ByteBudget;
  /** How long the client may send nothing while it could. */
  idleMs: number;
  /** Called at most once; the body ends nowhere after it. */
  onProblem: (problem: 'too-large' | 'idle') => void;
}

export interface RequestBody {
  /** Everything read so far is still here. */
  readonly replayable: boolean;
  /** The body from its beginning; ends an earlier one. Only while `replayable`. */
  open(): Readable;
  /** It will not be sent again: lets go of what was kept. */
  forget(): void;
  /** Stops reading for good. */
  close(): void;
}

export function createRequestBody(exchange: Exchange, options: RequestBodyOptions): RequestBody {
  const { budget, bytesMax, replayBytes } = options;
  let kept: Buffer[] = [];
  let keptBytes = 0;
  let received = 0;
  let replayable = true;
  let reading = false;
  let closed = false;
  let out: Readable | null = null;

  function forget(): void {
    replayable = false;
    budget.give(keptBytes);
    kept = [];
    keptBytes = 0;
  }

  function keep(chunk: Buffer): void {
    if (received > replayBytes || !budget.take(chunk.length)) return forget();
    kept.push(chunk);
    keptBytes += chunk.length;
  }

  const reader = {
    onData(chunk: Buffer): void {
      received += chunk.length;
      if (bytesMax > 0 && received > bytesMax) {
        close();
        return options.onProblem('too-large');
      }
      if (replayable) keep(chunk);
      if (!out?.push(chunk)) exchange.pauseBody();
    },
    onEnd(): void {
      out?.push(null);
    },
    onIdle(): void {
      close();
      options.onProblem('idle');
    },
    onLost(): void {}, // the whole request is given up
  };

  function close(): void {
    if (closed) return;
    closed = true;
    forget();
    exchange.stopReading();
    out = null;
  }

  return {
    get replayable() {
      return replayable;
    },
    open() {
      const stream: Readable = new Readable({
        read() {
          if (out === stream && !closed) exchange.resumeBody();
        },
        destroy(error, callback) {
          if (out === stream) {
            out = null;
            if (!closed) exchange.pauseBody();
          }
          callback(error);
        },
      });
      stream.on('error', () => {}); // the attempt that reads this stream tells the same error itself
      for (const chunk of kept) stream.push(chunk);
      out = stream;
      if (exchange.bodyEnded) stream.push(null);
      else if (!reading) {
        reading = true;
        exchange.readBody(reader, options.idleMs);
      }
      return stream;
    },
    forget() {
      if (replayable) forget();
    },
    close,
  };
}

/** A small body as a whole: null if the client went away or fell silent before its end. */
export function readSmallBody(exchange: Exchange, idleMs: number): Promise<Buffer | null> {
  const { promise, resolve } = Promise.withResolvers<Buffer | null>();
  const chunks: Buffer[] = [];
  const lost = () => {
    exchange.stopReading();
    resolve(null);
  };
  exchange.readBody(
    {
      onData: chunk => void chunks.push(chunk),
      onEnd: () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)),
      onIdle: lost,
      onLost: lost,
    },
    idleMs,
  );
  return promise;
}
