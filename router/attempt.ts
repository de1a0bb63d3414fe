/**
 * One request sent to one host, and its response forwarded to the client as it comes, with back-pressure. Tells how it
 * ended; whether to try again is decided elsewhere. Nothing reaches the client before it is certain that this answer is
 * the answer: what a host refuses never gets there, since it is no answer at all but a frame of its own.
 */
import type { Readable } from 'node:stream';
import type { OutgoingRequest, RequestFailure, ResponseHead, ResponseReceiver } from '#frames';
import { failureOf, sendBody, type Upstream } from '#ownership';
import type { Exchange } from './exchange.ts';
import { headerLines, responseHeaders } from './headers.ts';

export type Outcome =
  | { type: 'answered'; statusCode: number }
  | { type: 'not-owner' }
  | { type: 'unreachable'; cause: unknown }
  | { type: 'broken'; cause: unknown; responseStarted: boolean }
  | { type: 'timeout' }
  | { type: 'cancelled' };

export interface AttemptRequest {
  method: string;
  /** Path and query. */
  target: string;
  /** Flat. */
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

export function startAttempt(upstream: Upstream, request: AttemptRequest): Attempt {
  return new LiveAttempt(upstream, request);
}

class LiveAttempt implements ResponseReceiver, Attempt {
  readonly outcome: Promise<Outcome>;
  readonly #owner: string;
  readonly #request: AttemptRequest;
  readonly #sent: OutgoingRequest;
  #settle!: (outcome: Outcome) => void;
  #settled = false;
  #statusCode = 0;
  #onDrain: (() => void) | null = null;

  constructor(upstream: Upstream, request: AttemptRequest) {
    this.#owner = upstream.processId;
    this.#request = request;
    this.outcome = new Promise(resolve => (this.#settle = resolve));
    const { method, target, headers, right, body } = request;
    const whole = body === null || Buffer.isBuffer(body);
    this.#sent = upstream.send(
      {
        method,
        target,
        headers: headerLines(headers),
        key: right?.key ?? '',
        fence: right?.fence ?? 0n,
        channel: '',
        body: whole ? body : null,
        more: !whole,
        upgrade: request.exchange.upgrade,
      },
      this,
    );
    if (!whole) {
      this.#onDrain = sendBody(body, this.#sent, cause => {
        this.#sent.cancel();
        this.#fail({ type: 'broken', text: cause.message });
      });
    }
  }

  cancel(): void {
    if (this.#settled) return;
    this.#end({ type: 'cancelled' });
    this.#sent.cancel();
  }

  onHead({ status, headers, body, end }: ResponseHead): void {
    if (this.#settled) return;
    // Informational answers end here; the one that opens a tunnel is final.
    if (status < 200 && !(status === 101 && this.#request.exchange.upgrade)) return;
    this.#statusCode = status;
    const { exchange, requestId, onResponse } = this.#request;
    try {
      exchange.respond(status, responseHeaders(status, headers, { owner: this.#owner, requestId }));
    } catch (error) {
      // A host would not say such a thing; a component that has got hold of its host might.
      this.#sent.cancel();
      return this.#fail({ type: 'broken', text: (error as Error).message });
    }
    onResponse();
    if (end) {
      // The client's connection may keep the bytes for longer than this call.
      if (body === null) exchange.end();
      else exchange.end(Buffer.from(body));
      return this.#end({ type: 'answered', statusCode: status });
    }
    if (body === null) exchange.flush();
    else exchange.write(Buffer.from(body));
  }

  onData(chunk: Buffer): boolean {
    if (this.#settled) return true;
    const { exchange } = this.#request;
    if (exchange.write(chunk)) return true;
    exchange.onDrain = () => this.#sent.resume();
    return false;
  }

  onEnd(): void {
    if (this.#settled) return;
    this.#request.exchange.end();
    this.#end({ type: 'answered', statusCode: this.#statusCode });
  }

  onDrain(): void {
    this.#onDrain?.();
  }

  onFailure(failure: RequestFailure): void {
    this.#fail(failure);
  }

  #fail({ type, text }: RequestFailure): void {
    const cause = new Error(text);
    if (this.#request.exchange.headSent) return this.#end({ type: 'broken', cause, responseStarted: true });
    // A request of a client is nobody's call, so nothing can wait for itself.
    const failure = failureOf(type === 'cycle' ? 'broken' : type);
    switch (failure) {
      case 'not-owner':
      case 'timeout':
        return this.#end({ type: failure });
      case 'unreachable':
        return this.#end({ type: failure, cause });
      case 'broken':
        return this.#end({ type: failure, cause, responseStarted: false });
    }
  }

  #end(outcome: Outcome): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#settle(outcome);
  }
}
