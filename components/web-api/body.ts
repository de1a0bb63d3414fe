/** Reading the body of a request, within its limit, and checking it. */
import type { ValidateFunction } from 'ajv';
import { refuse } from './refusal.ts';

/** The body as it was sent, which is JSON that the schema accepts. @throws what the client did wrong */
export async function readBody(
  request: Request,
  validate: ValidateFunction,
  bytesMax: number,
): Promise<string> {
  const mediaType = (request.headers.get('content-type') ?? '').split(';')[0]!.trim().toLowerCase();
  if (mediaType !== 'application/json' && !mediaType.endsWith('+json')) {
    throw refuse('HF_MEDIA_TYPE', `the content type is "${mediaType}"; send application/json`);
  }
  const text = await readText(request, bytesMax);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw refuse('HF_REQUEST_INVALID', `the body is no JSON: ${(error as Error).message}`);
  }
  if (!validate(value)) {
    const [problem] = validate.errors ?? [];
    const path = problem?.instancePath || '/';
    const message = `the body does not fit: ${path} ${problem?.message ?? 'is not accepted'}`;
    throw refuse('HF_REQUEST_INVALID', message, { path, ...problem?.params });
  }
  return text;
}

async function readText(request: Request, bytesMax: number): Promise<string> {
  const tooLarge = () => refuse('HF_REQUEST_TOO_LARGE', `the body has more than ${bytesMax} bytes`);
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > bytesMax) throw tooLarge();
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw refuse('HF_REQUEST_INVALID', 'the body is no UTF-8');
  }
}
