/**
 * Uploads of ZIPs. Not by `fetch`, which copies a buffer for each call: a package goes to many nodes at once, and all of
 * these share the one buffer here.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '#core';

/** A ZIP: its bytes, or a file that is streamed. */
export type Zip = Buffer | { path: string };

/** More than the manifest of any package; what is longer is no answer of ours. */
const answerBytesMax = 16 * 1024 * 1024;

/**
 * Sends it as `application/zip` with its length. Resolves to the answer, also when that came before all was sent.
 * @throws HoldfastError HF_USAGE when the file cannot be read; the signal's reason; what the connection throws
 */
export async function sendZip(
  url: URL,
  options: { method: string; headers: Record<string, string>; zip: Zip; signal: AbortSignal },
): Promise<Response> {
  const { method, zip, signal } = options;
  const length = Buffer.isBuffer(zip) ? zip.length : await sizeOf(zip.path);
  const headers = { ...options.headers, 'content-type': 'application/zip', 'content-length': length };
  const { request } = process.getBuiltinModule(url.protocol === 'https:' ? 'node:https' : 'node:http');
  // A connection of its own: one that was kept could be closed by the other side in just this moment.
  const sent = request(url, { method, headers, signal, agent: false });
  try {
    return await new Promise<Response>((resolve, reject) => {
      sent.on('error', reject); // after the answer it says nothing more
      sent.on('response', answer => void readAnswer(answer).then(resolve, reject));
      if (Buffer.isBuffer(zip)) sent.end(zip);
      else pipeline(createReadStream(zip.path), sent).catch(reject);
    });
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    sent.destroy();
  }
}

async function readAnswer(answer: IncomingMessage): Promise<Response> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of answer) {
    chunks.push(chunk as Buffer);
    sizeBytes += (chunk as Buffer).length;
    if (sizeBytes > answerBytesMax) throw new Error('the answer is too long');
  }
  const { statusCode: status = 502, headers } = answer;
  const etag = headers.etag === undefined ? {} : { etag: headers.etag };
  const body = sizeBytes === 0 ? null : Buffer.concat(chunks);
  return new Response(body, { status, headers: { 'content-type': headers['content-type'] ?? '', ...etag } });
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    throw new HoldfastError('HF_USAGE', `cannot read the package file ${path}`, { cause });
  }
}

/** What a node says that does not have these bytes, and one that is too old to be asked so. */
const mustBeSent: ReadonlySet<string> = new Set(['HF_PACKAGE_NOT_FOUND', 'HF_REQUEST_INVALID']);

/** By its digest alone first, if that is given; the ZIP itself goes only to who does not have it. */
export async function uploadUnlessKnown<Answer>(
  zip: Zip,
  sha256: string | undefined,
  call: (upload: { zip?: Zip; query?: { sha256: string } }) => Promise<Answer>,
): Promise<Answer> {
  if (sha256 !== undefined) {
    try {
      return await call({ query: { sha256 } });
    } catch (error) {
      if (!(error instanceof HoldfastError && mustBeSent.has(error.code))) throw error;
    }
  }
  return call({ zip });
}
