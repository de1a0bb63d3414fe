/** Sends what a component answers, with back-pressure. */
import { headerBlock, type IncomingRequest } from '#frames';
import { LazyResponse, type PlainAnswer } from './lazy-response.ts';

/** Belong to one connection, or are said by Holdfast alone. */
const notPassed = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const internalPrefix = 'x-holdfast-';
const reasonForm = /^[\t\x20-\x7e\x80-\xff]{0,255}$/;

/** Whether a component's answer is one, and a final one. Packages may bring their own class. */
export function isResponse(value: unknown): value is Response {
  return (
    typeof value === 'object' &&
    value !== null &&
    'status' in value &&
    Number.isInteger(value.status) &&
    (value.status as number) >= 200 &&
    (value.status as number) < 600 &&
    'headers' in value &&
    'body' in value
  );
}

/**
 * Sends an answer. Null: it is out; else resolves when it is, or the client is gone. `mayAnswer` is asked before each part of it.
 * @throws what the body's stream or `mayAnswer` throws, or TypeError for what cannot be sent; the stream is broken off then if the
 * head was sent
 */
export function sendResponse(
  answer: unknown,
  incoming: IncomingRequest,
  mayAnswer: () => void,
): Promise<void> | null {
  let response = answer;
  if (LazyResponse.isOne(response)) {
    const plain = response.take();
    if (plain !== null) {
      mayAnswer();
      sendPlain(plain, incoming);
      return null;
    }
    response = response.native;
  }
  if (!isResponse(response)) throw new TypeError('fetch did not return a Response');
  return sendStream(response, incoming, mayAnswer);
}

function sendPlain({ status, statusText, headers, body }: PlainAnswer, incoming: IncomingRequest): void {
  let lines = '';
  let length: string | null = null;
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!;
    if (notPassed.has(name) || name.startsWith(internalPrefix)) continue;
    if (name === 'content-length') length = headers[index + 1]!;
    lines += `${name}: ${headers[index + 1]!}\r\n`;
  }
  const isHead = incoming.method === 'HEAD';
  if (length === null) {
    if (body !== null || (!isHead && mayHaveBody(status))) {
      lines += `content-length: ${body === null ? 0 : Buffer.byteLength(body)}\r\n`;
    }
  } else if (!isHead && body !== null && length !== String(Buffer.byteLength(body))) {
    throw new RangeError(`the body is not as long as its content-length says, ${length} bytes`);
  }
  incoming.respond({ status, reason: statusText, headers: lines }, isHead ? null : body, true);
}

function mayHaveBody(status: number): boolean {
  return status !== 204 && status !== 304;
}

async function sendStream(answer: Response, incoming: IncomingRequest, mayAnswer: () => void): Promise<void> {
  mayAnswer();
  const { status, statusText } = answer;
  const headers: string[] = [];
  let length: number | null = null;
  for (const [name, value] of answer.headers) {
    if (notPassed.has(name) || name.startsWith(internalPrefix)) continue;
    if (name === 'content-length') length = Number(value);
    headers.push(name, value);
  }
  const block = headerBlock(headers);
  if (!reasonForm.test(statusText)) throw new TypeError('Invalid character in statusMessage');
  const reader = readerOf(answer);
  const head = { status, reason: statusText, headers: block };
  if (reader === null || incoming.method === 'HEAD') {
    const empty = reader === null && length === null && mayHaveBody(status) && incoming.method !== 'HEAD';
    incoming.respond(empty ? { ...head, headers: `${block}content-length: 0\r\n` } : head, null, true);
    await reader?.cancel();
    return;
  }
  await pump(reader, incoming, { head, length, mayAnswer });
}

interface Sending {
  head: Parameters<IncomingRequest['respond']>[0];
  /** What the head says of the body; null: nothing. */
  length: number | null;
  mayAnswer: () => void;
}

async function pump(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  incoming: IncomingRequest,
  { head, length, mayAnswer }: Sending,
): Promise<void> {
  const cancel = () => void reader.cancel().catch(() => {}); // the client is gone, and so is who would listen
  const writable = createWaiter();
  incoming.onWritable = () => {
    if (incoming.closed) cancel();
    writable.go();
  };
  incoming.respond(head, null, false);
  let sent = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (incoming.closed) return cancel();
    mayAnswer();
    const chunk = bytesOf(part.value);
    sent += chunk.length;
    if (length !== null && sent > length) throw tooLong(length);
    if (!incoming.write(chunk)) await writable.wait();
  }
  if (length !== null && sent < length) throw tooLong(length);
  incoming.end();
}

function tooLong(length: number): RangeError {
  return new RangeError(`the body is not as long as its content-length says, ${length} bytes`);
}

/** @throws TypeError for what is no piece of a body */
function bytesOf(part: unknown): Buffer {
  if (part instanceof Uint8Array) return Buffer.from(part.buffer, part.byteOffset, part.byteLength);
  if (typeof part === 'string') return Buffer.from(part);
  throw new TypeError('a body must be made of bytes');
}

/** Null for no body. Before the head is sent, so that an answer that cannot be sent is a failure like any other. */
function readerOf({ body, bodyUsed }: Response): ReadableStreamDefaultReader<Uint8Array> | null {
  if (body === null) return null;
  if (bodyUsed || body.locked)
    throw new TypeError('the Response was used before; make a new one for each request');
  return body.getReader();
}

function createWaiter() {
  let resolve: (() => void) | null = null;
  return {
    wait: () => new Promise<void>(done => (resolve = done)),
    go() {
      resolve?.();
      resolve = null;
    },
  };
}
