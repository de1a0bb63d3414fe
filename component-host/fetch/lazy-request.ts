/**
 * The request as the component sees it: the URL that the client asked for (the router's `x-forwarded-*` are trusted here, its
 * channel was checked), no header of Holdfast's own, a signal that aborts when the client goes. Nothing of it is made before it is
 * touched: most handlers look at a few parts only. What is asked for beyond the common parts is answered by a real Request, made then.
 */
import { findHeader, parseHeaderBlock, type IncomingRequest } from '#frames';
import { delegate } from './delegate.ts';
import { bodyStream, readWhole } from './request-body.ts';

const NativeRequest = globalThis.Request;
const internalPrefix = 'x-holdfast-';

export class LazyRequest {
  readonly #incoming: IncomingRequest;
  #url: string | null = null;
  #headers: Headers | null = null;
  #abort: AbortController | null = null;
  #native: Request | null = null;
  #used = false;

  constructor(incoming: IncomingRequest) {
    this.#incoming = incoming;
  }

  static isOne(value: unknown): value is LazyRequest {
    return typeof value === 'object' && value !== null && #native in value;
  }

  get method(): string {
    return this.#incoming.method;
  }

  get url(): string {
    return (this.#url ??= urlOf(this.#incoming));
  }

  get headers(): Headers {
    if (this.#native) return this.#native.headers;
    return (this.#headers ??= headersOf(this.#incoming.headers));
  }

  get signal(): AbortSignal {
    if (this.#native) return this.#native.signal;
    return this.#aborting().signal;
  }

  get body(): ReadableStream<Uint8Array> | null {
    return this.#hasBody ? this.native.body : null;
  }

  get bodyUsed(): boolean {
    return this.#native?.bodyUsed ?? this.#used;
  }

  async text(): Promise<string> {
    if (this.#native) return this.#native.text();
    const text = (await this.#take()).toString('utf8');
    return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text; // a byte order mark is not part of it
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text()) as unknown;
  }

  async bytes(): Promise<Uint8Array> {
    if (this.#native) return this.#native.bytes();
    return new Uint8Array(await this.#take());
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return (await this.bytes()).buffer as ArrayBuffer;
  }

  /** The real one, with which this one shares everything from now on. */
  get native(): Request {
    if (this.#native) return this.#native;
    const body = this.#hasBody ? this.#bodyForNative() : null;
    const made = new NativeRequest(this.url, {
      method: this.method,
      headers: this.headers,
      signal: this.#aborting().signal,
      ...(body === null ? {} : { body, duplex: 'half' as const }),
    });
    if (this.#used && body !== null) void made.body?.cancel();
    this.#native = made;
    return made;
  }

  get #hasBody(): boolean {
    const { body, bodyIsWhole, method } = this.#incoming;
    return method !== 'GET' && method !== 'HEAD' && (body !== null || !bodyIsWhole);
  }

  #bodyForNative(): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> {
    const { body, bodyIsWhole } = this.#incoming;
    if (this.#used) return new Uint8Array(1);
    return bodyIsWhole ? (body as Buffer<ArrayBuffer>) : bodyStream(this.#incoming);
  }

  async #take(): Promise<Buffer> {
    if (!this.#hasBody) return Buffer.alloc(0);
    if (this.#used) throw new TypeError('Body is unusable: Body has already been read');
    this.#used = true;
    return readWhole(this.#incoming);
  }

  #aborting(): AbortController {
    if (this.#abort) return this.#abort;
    const controller = (this.#abort = new AbortController());
    const abort = () => controller.abort(new DOMException('This operation was aborted', 'AbortError'));
    if (this.#incoming.aborted) abort();
    else this.#incoming.onAbort = abort;
    return controller;
  }
}

delegate(LazyRequest.prototype, NativeRequest.prototype, value => (value as LazyRequest).native);

/** Hosts whose form was looked at, as a URL has them; the same few come again and again. */
const hosts = new Map<string, string>();
const hostsMax = 1_000;
/** What a URL takes as it is. A path with dots in front of a segment might be another one. */
const plainTarget = /^\/(?!.*(?:\/\.|%2[eE]))[A-Za-z0-9\-._~!$&()*+,;=:@%/?]*$/;

function urlOf({ target, headers }: IncomingRequest): string {
  const proto = findHeader(headers, 'x-forwarded-proto') === 'https' ? 'https' : 'http';
  const asked = findHeader(headers, 'x-forwarded-host') ?? findHeader(headers, 'host') ?? 'localhost';
  const origin = originOf(`${proto}://${asked}`);
  return plainTarget.test(target) ? origin + target : new URL(origin + target).href;
}

function originOf(text: string): string {
  const known = hosts.get(text);
  if (known !== undefined) return known;
  const origin = URL.canParse(text)
    ? new URL(text).origin
    : `${text.slice(0, text.indexOf(':'))}://localhost`;
  if (hosts.size < hostsMax) hosts.set(text, origin);
  return origin;
}

function headersOf(block: string): Headers {
  const flat = parseHeaderBlock(block);
  const headers = new Headers();
  for (let index = 0; index < flat.length; index += 2) {
    const name = flat[index]!;
    if (!name.startsWith(internalPrefix)) headers.append(name, flat[index + 1]!);
  }
  return headers;
}
