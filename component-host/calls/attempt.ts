/**
 * One request of this host sent to another one, and its answer as a Response that streams with back-pressure. Tells how it
 * ended; whether to try again is decided elsewhere.
 */
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { CHANNEL_HEADERS, fromErrorBody, HoldfastError } from '#core';
import { channelHeaders, failureOf, guardRefused, type Upstream } from '#ownership';

/** What a host says in `CHANNEL_HEADERS.refused` of a call that would wait for itself. */
export const refusedCycle = 'cycle';

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
  /** Flat, without those of the channel. */
  headers: readonly string[];
  body: Buffer | Readable | null;
  right: { key: string; fence: bigint } | null;
}

export interface Attempt {
  /** Settles with the head of the answer. */
  readonly outcome: Promise<Outcome>;
  /** Ends it, also in the middle of the answer. */
  cancel(reason: Error): void;
}

type Headers = Record<string, string | string[] | undefined>;

const bodiless = new Set([204, 205, 304]);
const refusalBytesMax = 64 * 1024;
const aheadBytes = 64 * 1024;
const ofTheConnection = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'trailer',
  'transfer-encoding',
]);

export function startAttempt(upstream: Upstream, request: AttemptRequest): Attempt {
  const attempt = new LiveAttempt(upstream, request.method === 'HEAD');
  upstream.inFlight += 1;
  upstream.dispatcher.dispatch(
    {
      path: request.target,
      method: request.method as Dispatcher.HttpMethod,
      headers: [...request.headers, ...channelHeaders({ ...upstream, right: request.right })],
      body: request.body,
      reset: false,
    },
    attempt,
  );
  return attempt;
}

class LiveAttempt implements Dispatcher.DispatchHandler, Attempt {
  readonly outcome: Promise<Outcome>;
  readonly #upstream: Upstream;
  readonly #isHead: boolean;
  #settle!: (outcome: Outcome) => void;
  #settled = false;
  #over = false;
  #controller: Dispatcher.DispatchController | null = null;
  #body: ReadableStreamDefaultController<Uint8Array> | null = null;
  #refused = false;
  /** The text of a refusal because of a cycle, as far as it has come. */
  #cycle: Buffer[] | null = null;

  constructor(upstream: Upstream, isHead: boolean) {
    this.#upstream = upstream;
    this.#isHead = isHead;
    this.outcome = new Promise(resolve => (this.#settle = resolve));
  }

  cancel(reason: Error): void {
    this.#end({ type: 'cancelled' });
    this.#body?.error(reason);
    this.#body = null;
    this.#controller?.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#over) controller.abort(new Error('cancelled'));
  }

  onResponseStart(_controller: Dispatcher.DispatchController, statusCode: number, headers: Headers): void {
    if (statusCode < 200 || this.#over) return;
    if (guardRefused(statusCode, headers)) {
      this.#refused = true;
    } else if (headers[CHANNEL_HEADERS.refused] === refusedCycle) {
      this.#cycle = [];
    } else {
      this.#answer(statusCode, headers);
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#cycle) {
      if (this.#cycle.length * aheadBytes < refusalBytesMax) this.#cycle.push(chunk);
      return;
    }
    if (!this.#body) return;
    this.#body.enqueue(chunk);
    if ((this.#body.desiredSize ?? 1) <= 0) controller.pause();
  }

  onResponseEnd(): void {
    if (this.#refused) return this.#end({ type: 'not-owner' });
    if (this.#cycle) return this.#end({ type: 'cycle', error: cycleError(this.#cycle) });
    this.#body?.close();
    this.#body = null;
    this.#finish();
  }

  onResponseError(_controller: Dispatcher.DispatchController, cause: Error): void {
    if (this.#refused) return this.#end({ type: 'not-owner' });
    if (this.#cycle) return this.#end({ type: 'cycle', error: cycleError(this.#cycle) });
    this.#body?.error(
      new HoldfastError('HF_OUTCOME_UNKNOWN', 'the owner broke off in the middle of its answer', { cause }),
    );
    this.#body = null;
    this.#end({ type: failureOf(cause, { sent: this.#controller !== null }), cause });
  }

  #answer(status: number, headers: Headers): void {
    const empty = this.#isHead || bodiless.has(status);
    const stream = empty
      ? null
      : new ReadableStream<Uint8Array>(
          {
            start: body => void (this.#body = body),
            pull: () => this.#controller?.resume(),
            cancel: () => {
              this.#body = null;
              this.#controller?.abort(new Error('the answer is not wanted any more'));
            },
          },
          new ByteLengthQueuingStrategy({ highWaterMark: aheadBytes }),
        );
    this.#say({ type: 'answered', response: new Response(stream, { status, headers: passed(headers) }) });
  }

  #say(outcome: Outcome): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#settle(outcome);
  }

  #end(outcome: Outcome): void {
    this.#finish();
    this.#say(outcome);
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#upstream.inFlight -= 1;
  }
}

function passed(headers: Headers): [string, string][] {
  const result: [string, string][] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || ofTheConnection.has(name) || name.startsWith('x-holdfast-')) continue;
    for (const item of Array.isArray(value) ? value : [value]) result.push([name, item]);
  }
  return result;
}

function cycleError(chunks: Buffer[]): HoldfastError {
  let body: unknown;
  try {
    body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    body = null; // the header has said it already
  }
  const { message, details } = fromErrorBody(body, 'the call would wait for itself');
  return new HoldfastError('HF_CALL_CYCLE', message, { details });
}
