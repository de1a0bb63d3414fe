/**
 * What a request has for a body, ready to be sent as often as need be: nothing, a small one read as a whole (a slow
 * client then costs its owner nothing), or a stream of which the beginning is kept.
 */
import { Readable } from 'node:stream';
import { HoldfastError } from '#core';
import type { StatedError } from './answers.ts';
import type { Exchange } from './exchange.ts';
import { createRequestBody, readSmallBody, type ByteBudget } from './request-body.ts';
import type { RouterSettings } from './settings.ts';

export interface Upload {
  /** It can be sent (again) from its beginning. */
  readonly replayable: boolean;
  open(): Buffer | Readable | null;
  /** It will not be sent again. */
  forget(): void;
  /** The request is over; whatever still comes is thrown away. */
  close(): void;
}

export interface UploadOptions {
  settings: Pick<RouterSettings, 'maxBodyBytes' | 'replayBytes'>;
  budget: ByteBudget;
  /** The body cannot be received to its end; called at most once, while it streams. */
  onProblem: (problem: HoldfastError | StatedError) => void;
}

const smallBytesMax = 16 * 1024;
/** How long a client may pause in the middle of its body. */
const clientIdleMs = 60_000;

const tooSlow: StatedError = {
  statusCode: 408,
  code: 'HF_REQUEST_INVALID',
  message: `the body did not arrive: nothing came for ${clientIdleMs} ms`,
};

const nothing: Upload = { replayable: true, open: () => null, forget() {}, close() {} };

/**
 * At once where there is nothing to wait for. An error that has no code of its own is a result.
 * @throws HoldfastError HF_REQUEST_TOO_LARGE
 */
export function receiveUpload(
  exchange: Exchange,
  options: UploadOptions,
): Upload | Promise<Upload | StatedError> {
  const { settings, budget } = options;
  if (exchange.upgrade) return tunnelUpload(exchange);
  const announced = exchange.announcedBytes;
  if (announced === 0) return nothing;
  if (settings.maxBodyBytes > 0 && announced !== null && announced > settings.maxBodyBytes) {
    throw tooLarge(settings.maxBodyBytes);
  }
  if (announced !== null && announced <= smallBytesMax && budget.take(announced)) {
    if (exchange.expectsContinue) exchange.writeContinue();
    const taken = exchange.takeBody();
    if (taken) return smallUpload(taken, budget);
    return readSmallBody(exchange, clientIdleMs).then(whole => {
      if (whole) return smallUpload(whole, budget);
      budget.give(announced);
      return tooSlow;
    });
  }
  const body = createRequestBody(exchange, {
    bytesMax: settings.maxBodyBytes,
    replayBytes: settings.replayBytes,
    budget,
    idleMs: clientIdleMs,
    onProblem: problem => options.onProblem(problem === 'idle' ? tooSlow : tooLarge(settings.maxBodyBytes)),
  });
  let invited = !exchange.expectsContinue;
  return {
    get replayable() {
      return body.replayable;
    },
    open() {
      if (!invited) exchange.writeContinue();
      invited = true;
      return body.open();
    },
    forget: () => body.forget(),
    close() {
      body.close();
      // An owner may answer before it has read all. Unread data would stop the next request of this connection.
      exchange.discardBody();
    },
  };
}

function smallUpload(whole: Buffer, budget: ByteBudget): Upload {
  return { ...nothing, open: () => whole, close: () => budget.give(whole.length) };
}

/** What the client sends through a tunnel: nothing before it is open, and nothing of it is kept. */
function tunnelUpload(exchange: Exchange): Upload {
  let out: Readable | null = null;
  let begun = false;
  return {
    replayable: true,
    open() {
      const stream = new Readable({
        read() {
          if (begun) exchange.resumeBody();
        },
      });
      stream.on('error', () => {}); // the attempt that reads this stream tells the same error itself
      return (out = stream);
    },
    forget() {
      begun = true;
      exchange.readBody(
        {
          onData(chunk) {
            if (!out!.push(chunk)) exchange.pauseBody();
          },
          onEnd: () => void out!.push(null),
          onIdle() {},
          onLost() {}, // the whole exchange is given up
        },
        0,
      );
    },
    close: () => exchange.stopReading(),
  };
}

function tooLarge(maxBodyBytes: number): HoldfastError {
  return new HoldfastError('HF_REQUEST_TOO_LARGE', `the body must be at most ${maxBodyBytes} bytes long`, {
    details: { maxBodyBytes },
  });
}
