/**
 * A Response that most components make, text or bytes with a few headers, without the stream and the lists that the platform's own
 * makes of it at once. It takes the simple cases only, and leaves every other to a real Response: so does whatever is asked of it
 * beyond its status. Tests hold it against the platform's.
 */
import { delegate } from './delegate.ts';

const NativeResponse = globalThis.Response;

/** What is sent, where nobody has looked inside. */
export interface PlainAnswer {
  status: number;
  statusText: string;
  /** Flat, names in lower case. */
  headers: string[];
  body: string | Buffer | null;
}

const nullBodyStatus = new Set([204, 205, 304]);
const valueForm = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
const nameForm = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const reasonForm = /^[\x20-\x7e]*$/;
/** Names by their spelling; the same few come again and again. */
const names = new Map<string, string>();
const namesMax = 1_000;

export class LazyResponse {
  #plain: PlainAnswer | null;
  #native: Response | null = null;
  #used = false;

  constructor(body?: ConstructorParameters<typeof NativeResponse>[0], init?: ResponseInit) {
    this.#plain = plainAnswer(body, init, 'text/plain;charset=UTF-8');
    if (this.#plain === null) this.#native = new NativeResponse(body, init);
  }

  static isOne(value: unknown): value is LazyResponse {
    return typeof value === 'object' && value !== null && #plain in value;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    if (this === LazyResponse) return value instanceof NativeResponse;
    return Function.prototype[Symbol.hasInstance].call(this, value);
  }

  static json(data: unknown, init?: ResponseInit): Response {
    const text = JSON.stringify(data) as string | undefined;
    const plain = text === undefined ? null : plainAnswer(text, init, 'application/json');
    if (plain === null) return NativeResponse.json(data, init);
    const made = new LazyResponse();
    made.#plain = plain;
    return made as unknown as Response;
  }

  static error(): Response {
    return NativeResponse.error();
  }

  static redirect(...parameters: Parameters<typeof NativeResponse.redirect>): Response {
    return NativeResponse.redirect(...parameters);
  }

  get status(): number {
    return this.#native?.status ?? this.#plain!.status;
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  get statusText(): string {
    return this.#native?.statusText ?? this.#plain!.statusText;
  }

  /** The real one, which stands for this one from now on. */
  get native(): Response {
    if (this.#native) return this.#native;
    const { status, statusText, headers, body } = this.#plain!;
    const pairs: [string, string][] = [];
    for (let index = 0; index < headers.length; index += 2)
      pairs.push([headers[index]!, headers[index + 1]!]);
    const made = new NativeResponse(body as string | Uint8Array<ArrayBuffer> | null, {
      status,
      statusText,
      headers: pairs,
    });
    // The platform names a type for a text that came as bytes by nobody's wish.
    if (this.#used) void made.body?.cancel();
    this.#native = made;
    return made;
  }

  /** What to send, where nobody has looked inside. Null: ask `native`. Counts as reading it. */
  take(): PlainAnswer | null {
    if (this.#native) return null;
    const plain = this.#plain!;
    if (plain.body === null) return plain;
    if (this.#used) throw new TypeError('the Response was used before; make a new one for each request');
    this.#used = true;
    return plain;
  }
}

delegate(LazyResponse.prototype, NativeResponse.prototype, value => (value as LazyResponse).native);

/** Null for whatever is not simple. */
function plainAnswer(body: unknown, init: ResponseInit | undefined, textType: string): PlainAnswer | null {
  if (init !== undefined && (init === null || typeof init !== 'object')) return null;
  const { status = 200, statusText = '', headers: named } = init ?? {};
  if (!Number.isInteger(status) || status < 200 || status > 599) return null;
  if (typeof statusText !== 'string' || !reasonForm.test(statusText)) return null;
  const kept = bodyOf(body);
  if (kept === undefined || (kept !== null && nullBodyStatus.has(status))) return null;
  const headers: string[] = [];
  let typed = typeof kept !== 'string';
  if (named !== undefined) {
    if (named === null || typeof named !== 'object') return null;
    const prototype: unknown = Object.getPrototypeOf(named);
    if (prototype !== Object.prototype && prototype !== null) return null;
    for (const key of Reflect.ownKeys(named)) {
      if (typeof key !== 'string') return null;
      const name = nameOf(key);
      const value: unknown = (named as Record<string, unknown>)[key];
      if (name === null || typeof value !== 'string' || !valueForm.test(value)) return null;
      if (name === 'set-cookie' || headersHave(headers, name)) return null;
      typed ||= name === 'content-type';
      headers.push(name, value);
    }
  }
  if (!typed) headers.push('content-type', textType);
  return { status, statusText, headers, body: kept };
}

/** Undefined for what only the platform knows. */
function bodyOf(body: unknown): string | Buffer | null | undefined {
  if (body === undefined || body === null) return null;
  if (typeof body === 'string') return body.isWellFormed() ? body : undefined;
  // A copy, as the platform makes one: who gave it may change it.
  if (body instanceof Uint8Array) return Buffer.from(body);
  return undefined;
}

function nameOf(key: string): string | null {
  const known = names.get(key);
  if (known !== undefined) return known;
  if (!nameForm.test(key)) return null;
  const name = key.toLowerCase();
  if (names.size < namesMax) names.set(key, name);
  return name;
}

function headersHave(flat: readonly string[], name: string): boolean {
  for (let index = 0; index < flat.length; index += 2) if (flat[index] === name) return true;
  return false;
}
