/**
 * Uploads that come as a multipart form: the ZIP is the file in the field `package`. Other fields and files are passed over.
 * The application must have registered `@fastify/multipart`.
 */
import type { Readable } from 'node:stream';
import type {} from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { HoldfastError } from '#core';

const field = 'package';

/** What `@fastify/multipart` may read of one form; the size of the file is for the caller to bound. */
export const FORM_LIMITS = { files: 4, fields: 16, parts: 20 } as const;

/**
 * Hands the uploaded file to `take`, which has to read it to its end.
 * @throws HoldfastError HF_REQUEST_INVALID for a form that is broken or lacks the file; HF_PACKAGE_TOO_LARGE; what `take` throws
 */
export async function receiveForm<Result>(
  request: FastifyRequest,
  take: (file: Readable) => Promise<Result>,
): Promise<Result> {
  const parts = request.parts();
  let taken: { result: Result } | null = null;
  for (;;) {
    const part = await parts.next().catch((error: unknown) => Promise.reject(asRefusal(error)));
    if (part.done) break;
    if (part.value.type !== 'file') continue;
    const { file, fieldname } = part.value;
    if (fieldname !== field || taken) {
      file.resume();
      continue;
    }
    let broken: Error | null = null;
    file.once('error', error => (broken = error));
    try {
      taken = { result: await take(file) };
    } catch (error) {
      throw broken ? asRefusal(broken) : error;
    }
    if (file.truncated) throw new HoldfastError('HF_PACKAGE_TOO_LARGE', 'the file is over the limit');
  }
  if (taken) return taken.result;
  throw new HoldfastError('HF_REQUEST_INVALID', `the form has no file in the field "${field}"`, {
    details: { field },
  });
}

/** The parser's own errors carry no status; limits do, and stay what they are. */
function asRefusal(error: unknown): unknown {
  if (!(error instanceof Error) || 'statusCode' in error) return error;
  return new HoldfastError('HF_REQUEST_INVALID', `the form cannot be read: ${error.message}`, {
    cause: error,
  });
}
