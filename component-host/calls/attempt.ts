/**
 * One request of this host sent to another one, and its answer as a Response that streams with back-pressure. Tells how it
 * ended; whether to try again is decided elsewhere.
 */
import type { Readable } from 'node:stream';
import { fromErrorBody, HoldfastError } from '#core';
import {
  parseHeaderBlock,
  type OutgoingRequest,
  type RequestFailure,
  type ResponseHead,
  type ResponseReceiver,
} from '#frames';
import { failureOf, sendBody, type Upstream } from '#ownership';

export type Outcome =
  | { type: 'answered'; response: Response }
  | { type: 'not-owner' }
  | { type: 'cycle'; error: HoldfastError }
  | { type: 'unreachable' | 'broken' | 'timeout'; cause: Error }
  /** The request cannot be put on the wire at all. */
  | { type: 'invalid'; cause: Error }
  | { type: 'cancelled' };

export interface AttemptRequest {
  method: string;
  /** Path and query. */
  target: string;
  /** A header block. */
  headers: string;
  /** What is said to the host alone, see `channel-lines.ts`. */
  channel: string;
  body: Buffer | Readable | null;
  right: { key: string; fence: bigint } | null;
}

export interface Attempt {
  /** Settles with the head of the answer. */
  readonly outcome: Promise<Outcome>;
  /** Ends it, also in the middle of the answer. */
  cancel(reason: Error): void;
}

const bodiless = new Set([204, 205, 304]);
const aheadBytes = 64 * 1024;
/** What a host takes of a head. */
const headBytesMax = 64 * 1024;

export function startAttempt(upstream: Upstream, request: AttemptRequest): Attempt {
  return new LiveAttempt(upstream, request);
}

class LiveAttempt implements ResponseReceiver, Attempt {
  readonly outcome: Promise<Outcome>;
  readonly #isHead: boolean;
  #sent: OutgoingRequest | null = null;
  #settle!: (outcome: Outcome) => void;
  #settled = false;
  #body: ReadableStreamDefaultController<Uint8Array> | null = null;
  #onDrain: (() => void) | null = null;

  constructor(upstream: Upstream, request: AttemptRequest) {
    this.#isHead = request.method === 'HEAD';
    this.outcome = new Promise(resolve => (this.#settle = resolve));
    const { method, target, headers, channel, right, body } = request;
    if (target.length + headers.length > headBytesMax) {
      const cause = new Error(`its head is longer than ${headBytesMax} bytes`);
      this.#say({ type: 'invalid', cause });
      return;
    }
    const whole = body === null || Buffer.isBuffer(body);
    const sent = upstream.send(
      {
        method,
        target,
        headers,
        key: right?.key ?? '',
        fence: right?.fence ?? 0n,
        channel,
        body: whole ? body : null,
        more: !whole,
      },
      this,
    );
    this.#sent = sent;
    if (whole) return;
    this.#onDrain = sendBody(body, sent, cause => {
      sent.cancel();
      this.onFailure({ type: 'broken', text: cause.message });
    });
  }

  cancel(reason: Error): void {
    this.#say({ type: 'cancelled' });
    this.#body?.error(reason);
    this.#body = null;
    this.#sent?.cancel();
  }

  onHead({ status, reason, headers, body, end }: ResponseHead): void {
    if (status < 200 || this.#settled) return;
    const passed = pairs(parseHeaderBlock(headers.toString('latin1')));
    const init = { status, statusText: reason, headers: passed };
    const empty = this.#isHead || bodiless.has(status);
    const first = body === null ? null : Buffer.from(body);
    if (empty || end) {
      return this.#say({
        type: 'answered',
        response: new Response(empty ? null : (first ?? new Uint8Array()), init),
      });
    }
    const stream = new ReadableStream<Uint8Array>(
      {
        start: controller => void (this.#body = controller),
        pull: () => this.#sent?.resume(),
        cancel: () => {
          this.#body = null;
          this.#sent?.cancel();
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: aheadBytes }),
    );
    if (first !== null) this.#body!.enqueue(first);
    this.#say({ type: 'answered', response: new Response(stream, init) });
  }

  onData(chunk: Buffer): boolean {
    if (!this.#body) return true;
    this.#body.enqueue(chunk);
    return (this.#body.desiredSize ?? 1) > 0;
  }

  onEnd(): void {
    this.#body?.close();
    this.#body = null;
  }

  onDrain(): void {
    this.#onDrain?.();
  }

  onFailure({ type, text }: RequestFailure): void {
    const cause = new Error(text);
    this.#body?.error(
      new HoldfastError('HF_OUTCOME_UNKNOWN', 'the owner broke off in the middle of its answer', { cause }),
    );
    this.#body = null;
    if (type === 'cycle') return this.#say({ type, error: cycleError(text) });
    const failure = failureOf(type);
    this.#say(failure === 'not-owner' ? { type: failure } : { type: failure, cause });
  }

  #say(outcome: Outcome): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#settle(outcome);
  }
}

function pairs(flat: readonly string[]): [string, string][] {
  const result: [string, string][] = [];
  for (let index = 0; index < flat.length; index += 2) result.push([flat[index]!, flat[index + 1]!]);
  return result;
}

function cycleError(text: string): HoldfastError {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = null; // the frame has said it already
  }
  const { message, details } = fromErrorBody(body, 'the call would wait for itself');
  return new HoldfastError('HF_CALL_CYCLE', message, { details });
}
