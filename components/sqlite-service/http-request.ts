/** What an HTTP request asks of a database. Pure but for reading the body. */
import { ServiceError } from './service-error.ts';
import type { SqlInput } from './worker-protocol.ts';

export type Wish = { kind: 'describe' } | { kind: 'sql'; input: SqlInput };

/**
 * @throws HF_NOT_FOUND below the key, HF_METHOD_NOT_ALLOWED, HF_MEDIA_TYPE, HF_REQUEST_TOO_LARGE
 */
export async function readWish(request: Request, key: string, bytesMax: number): Promise<Wish> {
  const url = new URL(request.url);
  if (url.pathname.startsWith(`${key}/`) && url.pathname.length > key.length + 1) {
    throw new ServiceError('HF_NOT_FOUND', `there is nothing below ${key}`);
  }
  if (request.method === 'GET' || request.method === 'HEAD') {
    const text = url.searchParams.get('query');
    return text === null
      ? { kind: 'describe' }
      : { kind: 'sql', input: { format: 'sql', text, readOnly: true } };
  }
  if (request.method !== 'POST') {
    throw new ServiceError('HF_METHOD_NOT_ALLOWED', `${request.method} is not for databases: GET or POST`);
  }
  const text = await readText(request, bytesMax);
  return { kind: 'sql', input: { format: formatOf(request, text), text, readOnly: false } };
}

function formatOf(request: Request, text: string): 'json' | 'sql' {
  const type = (request.headers.get('content-type') ?? '').split(';')[0]!.trim().toLowerCase();
  switch (type) {
    case 'application/json':
      return 'json';
    case 'application/sql':
    case 'text/plain':
      return 'sql';
    case '':
    case 'application/x-www-form-urlencoded': // what `curl -d` says when it is not told better
      return text.trimStart().startsWith('{') ? 'json' : 'sql';
    default:
      throw new ServiceError(
        'HF_MEDIA_TYPE',
        `${type} is not understood; send application/json, application/sql or text/plain`,
      );
  }
}

async function readText(request: Request, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    const part = chunk as Uint8Array;
    bytes += part.byteLength;
    if (bytes > bytesMax) {
      throw new ServiceError('HF_REQUEST_TOO_LARGE', `the body has more than ${bytesMax} bytes`);
    }
    chunks.push(part);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new ServiceError('HF_REQUEST_INVALID', 'the body is not UTF-8 text');
  }
}
