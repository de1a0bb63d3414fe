/**
 * One request sent to one host, and its response forwarded to the client as it comes, with back-pressure. Tells how it
 * ended; whether to try again is decided elsewhere. Nothing reaches the client before it is certain that this answer is
 * the answer: a refusal of the host's guard never gets there, and says so by a header that only hosts set.
 */
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { channelHeaders, failureOf, guardRefused, type Upstream } from '#ownership';
import type { Exchange } from './exchange.ts';
import { responseHeaders } from './headers.ts';

export type Outcome =
  | { type: 'answered'; statusCode: number }
  | { type: 'not-owner' }
  | { type: 'unreachable'; cause: unknown }
  | { type: 'broken'; cause: unknown; responseStarted: boolean }
  | { type: 'timeout' }
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
  requestId: string;
  exchange: Exchange;
  /** The response has begun: the request will not be sent again. */
  onResponse: () => void;
}

export interface Attempt {
  readonly outcome: Promise<Outcome>;
  /** Ends it; the outcome is `cancelled`. */
  cancel(): void;
}

type Headers = Record<string, string | string[] | undefined>;

export function startAttempt(upstream: Upstream, request: AttemptRequest): Attempt {
  const attempt = new LiveAttempt(upstream, request);
  upstream.inFlight += 1;
  upstream.dispatcher.dispatch(
    {
      path: request.target,
      method: request.method as Dispatcher.HttpMethod,
      headers: [...request.headers, ...channelHeaders({ ...upstream, right: request.right })],
      body: request.body,
      // Hosts speak HTTP properly: HEAD and GET with a body need no connection of their own.
      reset: false,
    },
    attempt,
  );
  return attempt;
}

class LiveAttempt implements Dispatcher.DispatchHandler, Attempt {
  readonly outcome: Promise<Outcome>;
  readonly #upstream: Upstream;
  readonly #request: AttemptRequest;
  #settle!: (outcome: Outcome) => void;
  #settled = false;
  #controller: Dispatcher.DispatchController | null = null;
  #statusCode = 0;
  #dataSeen = false;
  #refused = false;

  constructor(upstream: Upstream, request: AttemptRequest) {
    this.#upstream = upstream;
    this.#request = request;
    this.outcome = new Promise(resolve => (this.#settle = resolve));
  }

  cancel(): void {
    if (this.#settled) return;
    this.#end({ type: 'cancelled' });
    this.#controller?.abort(new Error('cancelled'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#settled) controller.abort(new Error('cancelled'));
  }

  onResponseStart(_controller: Dispatcher.DispatchController, statusCode: number, headers: Headers): void {
    if (statusCode < 200 || this.#settled) return; // informational answers end here
    this.#statusCode = statusCode;
    if (guardRefused(statusCode, headers)) this.#refused = true;
    else this.#forwardHead(headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled || this.#refused) return; // read to its end, so that the connection can be used again
    this.#dataSeen = true;
    const { exchange } = this.#request;
    if (exchange.write(chunk)) return;
    controller.pause();
    exchange.onDrain = () => controller.resume();
  }

  onResponseEnd(): void {
    if (this.#settled) return;
    if (this.#refused) return this.#end({ type: 'not-owner' });
    this.#request.exchange.end();
    this.#end({ type: 'answered', statusCode: this.#statusCode });
  }

  onResponseError(_controller: Dispatcher.DispatchController, cause: Error): void {
    // The refusal has been said; that its text broke off takes nothing back.
    if (this.#refused) return this.#end({ type: 'not-owner' });
    if (this.#request.exchange.headSent) {
      return this.#end({ type: 'broken', cause, responseStarted: true });
    }
    const type = failureOf(cause, { sent: this.#controller !== null });
    switch (type) {
      case 'invalid':
        return this.#end({ type, cause });
      case 'timeout':
        return this.#end({ type });
      case 'unreachable':
        return this.#end({ type, cause });
      case 'broken':
        return this.#end({ type, cause, responseStarted: false });
    }
  }

  #end(outcome: Outcome): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#upstream.inFlight -= 1;
    this.#settle(outcome);
  }

  #forwardHead(headers: Headers): void {
    const { exchange, requestId, onResponse } = this.#request;
    onResponse();
    const facts = { owner: this.#upstream.processId, requestId };
    exchange.respond(this.#statusCode, responseHeaders(this.#statusCode, headers, facts));
    // The head is sent together with the first data. Where none came along with the head, the client shall not wait.
    queueMicrotask(() => {
      if (!this.#settled && !this.#dataSeen) exchange.flush();
    });
  }
}
