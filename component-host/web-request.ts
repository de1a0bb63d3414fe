/**
 * Between Node's HTTP and the Fetch API that components speak, both ways with back-pressure. srvx's lazy Request saves
 * most of the cost of a native one; this file makes it pass for one everywhere and sends the answer. Loaded only by
 * hosts whose component answers HTTP: it brings in the runtime's whole Fetch implementation.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { once } from 'node:events';
import { NodeRequest, patchGlobalRequest } from 'srvx/node';

const internalPrefix = 'x-holdfast-';

/** Belong to one connection, and are Node's to set. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Lets `new Request(request)` and `fetch(request)` take a lazy Request as they take a native one. Idempotent. */
export function preparePlatform(): void {
  if ('holdfast' in globalThis.fetch) return;
  patchGlobalRequest();
  const native = globalThis.fetch;
  const patched: typeof fetch = (input, init) =>
    native(typeof input === 'object' && '_request' in input ? (input._request as Request) : input, init);
  globalThis.fetch = Object.assign(patched, { holdfast: true });
  void new Response('').text(); // the first one takes 20 ms and more, which no request shall pay for
}

/**
 * The request as the component sees it: the URL that the client asked for (the router's `x-forwarded-*` are trusted
 * here, its channel was checked), no header of Holdfast's own, a signal that aborts when the client goes.
 */
export function toFetchRequest(request: IncomingMessage, response: ServerResponse): Request {
  dropInternalHeaders(request);
  return new NodeRequest({ req: request, res: response, trustProxy: true }) as unknown as Request;
}

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
 * Sends a component's answer and resolves when it is out, or the client is gone. `mayAnswer` is asked before each part of it.
 * @throws what the body's stream or `mayAnswer` throws; the connection is broken off then if the head was sent
 */
export async function sendFetchResponse(
  answer: Response,
  request: IncomingMessage,
  response: ServerResponse,
  mayAnswer: () => void,
): Promise<void> {
  mayAnswer();
  const headers: string[] = [];
  for (const [name, value] of answer.headers) {
    if (!hopByHop.has(name) && !name.startsWith(internalPrefix)) headers.push(name, value);
  }
  const reader = readerOf(answer);
  // A length that the body does not keep to would shift the answers of the router's connection against its requests.
  response.strictContentLength = true;
  writeHead(response, answer, headers);
  if (reader === null || request.method === 'HEAD') {
    await reader?.cancel();
    await end(response);
    return;
  }
  const onClose = () => void reader.cancel().catch(() => {}); // the client is gone, and so is who would listen
  response.once('close', onClose);
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (response.destroyed) return;
      mayAnswer();
      if (!response.write(part.value)) await drained(response);
    }
    await end(response);
  } catch (error) {
    response.destroy();
    throw error;
  } finally {
    response.off('close', onClose);
  }
}

/** Null for no body. Before the head is sent, so that an answer that cannot be sent is a failure like any other. */
function readerOf({ body, bodyUsed }: Response): ReadableStreamDefaultReader | null {
  if (body === null) return null;
  if (bodyUsed || body.locked)
    throw new TypeError('the Response was used before; make a new one for each request');
  return body.getReader();
}

/** @throws what Node says of a head that cannot be sent; then nothing of it is left in the response */
function writeHead(response: ServerResponse, { status, statusText }: Response, headers: string[]): void {
  const before = response.getHeaders();
  try {
    response.writeHead(status, statusText, headers);
  } catch (error) {
    for (const name of response.getHeaderNames()) if (!(name in before)) response.removeHeader(name);
    response.statusMessage = '';
    throw error;
  }
}

/** Resolves when all of it went to the system, or never will. */
function end(response: ServerResponse): Promise<void> {
  return new Promise(resolve => {
    if (response.destroyed) return resolve();
    response.once('close', resolve);
    response.end(resolve);
  });
}

async function drained(response: ServerResponse): Promise<void> {
  const done = new AbortController();
  const { signal } = done;
  try {
    await Promise.race([once(response, 'drain', { signal }), once(response, 'close', { signal })]);
  } finally {
    done.abort();
  }
}

function dropInternalHeaders(request: IncomingMessage): void {
  const kept: string[] = [];
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index]!;
    if (name.toLowerCase().startsWith(internalPrefix)) delete request.headers[name.toLowerCase()];
    else kept.push(name, request.rawHeaders[index + 1]!);
  }
  request.rawHeaders = kept;
}
