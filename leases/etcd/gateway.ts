/**
 * etcd's JSON gateway over fetch: one call with a deadline, on the endpoint that answered last, then on the others. The gateway's
 * dialect: bytes are base64, 64-bit numbers are strings of digits, fields that are false, zero or empty are left out.
 *
 * A call that is tried on another endpoint may have been executed on the first as well: `retried` says so, and callers must bear it.
 */
import { HoldfastError, type System } from '#core';

export interface GatewayOptions {
  /** `http://host:2379`, `https://…`; at least one. */
  endpoints: string[];
  username?: string | undefined;
  /** Never logged. */
  password?: string | undefined;
  callTimeoutMs: number;
  fetch: typeof globalThis.fetch;
  system: System;
}

export interface Gateway {
  /**
   * Resolves to the answer. Rejects with `EtcdError` when etcd refused the request itself, and with HF_COORDINATION_UNAVAILABLE when
   * no endpoint executed it in time, as far as is known.
   */
  call(path: string, body: object): Promise<{ answer: JsonObject; retried: boolean }>;
  /** Opens an answer without an end; null when no endpoint gives it. The signal ends it. */
  stream(path: string, body: object, signal: AbortSignal): Promise<ReadableStream<Uint8Array> | null>;
  close(): void;
}

export type JsonObject = { readonly [name: string]: unknown };

/** Codes of gRPC. */
export const etcdCode = { notFound: 5 } as const;

export class EtcdError extends Error {
  override readonly name = 'EtcdError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE: another endpoint may do better. */
const passing = new Set([1, 2, 4, 8, 10, 13, 14]);
const unauthenticated = 16;

/** @throws HoldfastError HF_LEASE_INVALID, without any of the text, which may hold a password */
function checkEndpoints(endpoints: unknown): string[] {
  const usable =
    Array.isArray(endpoints) &&
    endpoints.length > 0 &&
    endpoints.every((text: unknown) => {
      const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : null;
      return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
    });
  if (!usable) {
    throw new HoldfastError(
      'HF_LEASE_INVALID',
      'endpoints must be one or more URLs like http://host:2379, without user and password',
      { details: { argument: 'endpoints' } },
    );
  }
  return endpoints.map((text: string) => text.replace(/\/+$/, ''));
}

/** @throws HoldfastError HF_LEASE_INVALID on unusable endpoints */
export function createGateway(options: GatewayOptions): Gateway {
  const { system, callTimeoutMs, username, password } = options;
  const endpoints = checkEndpoints(options.endpoints);
  let current = 0;
  let token: string | null = null;
  const closed = new AbortController();

  const order = () => endpoints.map((_, index) => (current + index) % endpoints.length);

  async function call(path: string, body: object): Promise<{ answer: JsonObject; retried: boolean }> {
    const endMs = system.clock.monotonicMs() + callTimeoutMs;
    let last: unknown = null;
    let retried = false;
    for (const index of order()) {
      const leftMs = endMs - system.clock.monotonicMs();
      if (closed.signal.aborted) throw unavailable('the lease store has been closed');
      if (leftMs <= 0) break;
      // A server that is stopped must leave time for the others.
      const turnMs = Math.min(leftMs, callTimeoutMs / Math.min(endpoints.length, 3));
      try {
        const answer = await authenticated(endpoints[index]!, path, body, turnMs);
        current = index;
        return { answer, retried };
      } catch (error) {
        if (error instanceof EtcdError && !passing.has(error.code)) throw error;
        last = error;
        retried = true;
      }
    }
    throw unavailable(`etcd cannot be asked: ${describe(last)}`, last);
  }

  /** One attempt, with a new token if the one in use has run out. */
  async function authenticated(
    endpoint: string,
    path: string,
    body: object,
    withinMs: number,
  ): Promise<JsonObject> {
    for (let attempt = 1; ; attempt++) {
      if (username !== undefined && token === null) {
        const answer = await post(endpoint, '/v3/auth/authenticate', { name: username, password }, withinMs);
        token = typeof answer['token'] === 'string' ? answer['token'] : null;
      }
      try {
        return await post(endpoint, path, body, withinMs);
      } catch (error) {
        const expired =
          error instanceof EtcdError && error.code === unauthenticated && username !== undefined;
        if (!expired || attempt > 1) throw error;
        token = null;
      }
    }
  }

  async function post(endpoint: string, path: string, body: object, withinMs: number): Promise<JsonObject> {
    const controller = new AbortController();
    const cancel = system.timers.after(
      withinMs,
      () => controller.abort(new Error(`no answer within ${Math.round(withinMs)} ms`)),
      { keepAlive: true },
    );
    try {
      const signal = AbortSignal.any([controller.signal, closed.signal]);
      const response = await send(endpoint, path, body, signal);
      return parse(await response.text(), response.ok);
    } finally {
      cancel();
    }
  }

  function send(endpoint: string, path: string, body: object, signal: AbortSignal): Promise<Response> {
    const headers = {
      'content-type': 'application/json',
      ...(token === null ? {} : { authorization: token }),
    };
    return options.fetch(endpoint + path, { method: 'POST', headers, body: JSON.stringify(body), signal });
  }

  return {
    call,
    async stream(path, body, signal) {
      const endpoint = endpoints[current]!;
      try {
        const response = await send(endpoint, path, body, AbortSignal.any([signal, closed.signal]));
        if (response.ok) return response.body;
        await response.body?.cancel();
      } catch {
        // Polling covers it, and calls find another endpoint.
      }
      return null;
    },
    close() {
      closed.abort(unavailable('the lease store has been closed'));
    },
  };
}

/** An answer, or the error that it tells. Streaming calls wrap their answers in `result`. */
function parse(text: string, ok: boolean): JsonObject {
  let answer: JsonObject;
  try {
    answer = JSON.parse(text) as JsonObject;
  } catch {
    throw new Error('the answer is not JSON: is this the client port of etcd?');
  }
  const { error, code, message, result } = answer;
  if (ok && error === undefined) return (result as JsonObject | undefined) ?? answer;
  const inner = (typeof error === 'object' ? error : {}) as { grpc_code?: number; message?: string };
  const shown = message ?? inner.message ?? error;
  throw new EtcdError(Number(code ?? inner.grpc_code ?? 2), typeof shown === 'string' ? shown : 'refused');
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return 'it did not answer in time';
  // fetch says only "fetch failed"; the reason is its cause.
  return error.cause instanceof Error && error.cause.message ? error.cause.message : error.message;
}

/** HF_COORDINATION_UNAVAILABLE. */
export function unavailable(message: string, cause?: unknown): HoldfastError {
  if (cause instanceof HoldfastError) return cause;
  return new HoldfastError('HF_COORDINATION_UNAVAILABLE', message, cause == null ? {} : { cause });
}
