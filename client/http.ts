/**
 * One HTTP call to a Holdfast API: bearer token, a deadline on every call, and Holdfast's errors. What answers with an
 * error body throws that error; what does not answer at all throws HF_NODE_UNREACHABLE, which names the URI and why.
 */
import { ACTOR_HEADER, fromErrorBody, HoldfastError } from '#core';
import { sendZip, type Zip } from './upload.ts';

export interface ConnectionOptions {
  /** Base URI, `http://host:port`. A trailing slash is ignored. */
  uri: string;
  /** Bearer token; never logged. */
  token: string;
  /** Deadline of a call, milliseconds. Default 10,000. */
  timeoutMs?: number;
  /** For whom the calls are made, as records of changes shall name them: `ada@laptop`. ASCII. */
  actor?: string;
}

export interface CallOptions {
  query?: Record<string, string | number | boolean | undefined>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is, with `contentType`. */
  body?: string | Buffer;
  contentType?: string;
  /** Sent as `application/zip`. */
  zip?: Zip;
  headers?: Record<string, string>;
  timeoutMs?: number;
  /** Besides the deadline; its reason is thrown when it aborts. */
  signal?: AbortSignal;
}

export interface Connection {
  readonly uri: string;
  /** Sends and checks the status. The body is still to be read, within the same deadline. */
  send(method: string, path: string, options?: CallOptions): Promise<Response>;
  json<Result>(method: string, path: string, options?: CallOptions): Promise<Result>;
  /** Reads a body under the call's error rules. */
  read<Result>(reading: Promise<Result>): Promise<Result>;
  /** Whether `/health/ready` answers 200; false also when nobody answers. */
  ready(): Promise<boolean>;
}

const defaultTimeoutMs = 10_000;

export function createConnection(
  options: ConnectionOptions & { extraHeaders?: (method: string) => Record<string, string> },
): Connection {
  const uri = options.uri.replace(/\/+$/, '');

  async function send(method: string, path: string, call: CallOptions = {}): Promise<Response> {
    const url = new URL(uri + path);
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const headers: Record<string, string> = {
      accept: 'application/json',
      authorization: `Bearer ${options.token}`,
      ...(options.actor === undefined ? {} : { [ACTOR_HEADER]: options.actor }),
      ...options.extraHeaders?.(method),
      ...call.headers,
    };
    const body = call.json === undefined ? call.body : JSON.stringify(call.json);
    if (body !== undefined) headers['content-type'] = call.contentType ?? 'application/json';
    const deadline = AbortSignal.timeout(call.timeoutMs ?? options.timeoutMs ?? defaultTimeoutMs);
    const signal = call.signal ? AbortSignal.any([call.signal, deadline]) : deadline;
    const sending = call.zip
      ? sendZip(url, { method, headers, zip: call.zip, signal })
      : fetch(url, {
          method,
          headers,
          redirect: 'error',
          signal,
          ...(body === undefined ? {} : { body: body as NonNullable<RequestInit['body']> }),
        });
    const response = await read(sending, call.signal);
    if (response.ok) return response;
    throw await errorOf(response, `${method} ${url.pathname} at ${uri}`);
  }

  async function read<Result>(reading: Promise<Result>, signal?: AbortSignal): Promise<Result> {
    try {
      return await reading;
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      if (cause instanceof HoldfastError) throw cause;
      throw new HoldfastError('HF_NODE_UNREACHABLE', `${uri} does not answer: ${reasonOf(cause)}`, {
        details: { uri },
        cause,
      });
    }
  }

  return {
    uri,
    send,
    read,
    async json<Result>(method: string, path: string, call: CallOptions = {}) {
      const response = await send(method, path, call);
      const text = await read(response.text(), call.signal);
      if (text === '') return undefined as Result;
      try {
        return JSON.parse(text) as Result;
      } catch (cause) {
        throw new HoldfastError('HF_INTERNAL', `${method} ${path} at ${uri} did not answer with JSON`, {
          cause,
        });
      }
    },
    async ready() {
      try {
        await (await send('GET', '/health/ready', { timeoutMs: 2_000 })).body?.cancel();
        return true;
      } catch {
        return false; // the caller polls: not ready and not there are the same to it
      }
    },
  };
}

/** `['api', 'a/b']` → `/api/a%2Fb`. */
export function path(...segments: string[]): string {
  return segments.map(segment => `/${encodeURIComponent(segment)}`).join('');
}

async function errorOf(response: Response, what: string): Promise<HoldfastError> {
  const fallback = `${what} answered ${response.status}`;
  let body: unknown;
  try {
    body = await response.json();
  } catch {
    body = undefined; // not our error shape: the status says what there is to say
  }
  return fromErrorBody(body, fallback);
}

/** fetch says only "fetch failed"; the reason is in its cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return 'the deadline passed';
  const { cause } = error;
  if (cause instanceof Error) return (cause as NodeJS.ErrnoException).code ?? cause.message;
  return error.message;
}
