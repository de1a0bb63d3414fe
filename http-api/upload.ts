/**
 * Uploads of packages: the body is the ZIP itself, or a multipart form with the ZIP in the field `package`. Either way
 * it is handed on as a stream; nothing is kept, and whoever takes it bounds its size.
 */
import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { HoldfastError } from '#core';
import { FORM_LIMITS, receiveForm } from './form.ts';

const zipTypes = ['application/zip', 'application/x-zip-compressed', 'application/octet-stream'];

/** For the OpenAPI document: `consumes` of a route that takes uploads. */
export const UPLOAD_TYPES = [zipTypes[0]!, 'multipart/form-data'];

/** The query of such a route: an upload without a body, of bytes that may be there already. */
export const knownUpload = {
  type: 'object',
  properties: { sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' } },
} as const;

/** Lets the routes of `app` take uploads. */
export async function acceptUploads(app: FastifyInstance): Promise<void> {
  const { default: multipart } = await import('@fastify/multipart'); // not for those who only make tokens
  app.addContentTypeParser(zipTypes, (_request, payload, done) => done(null, payload));
  await app.register(multipart, { limits: { ...FORM_LIMITS, fileSize: Number.MAX_SAFE_INTEGER } });
}

/**
 * Hands the uploaded ZIP to `take`, which has to read it to its end, or throw.
 * @throws HoldfastError HF_REQUEST_INVALID, HF_MEDIA_TYPE, and what `take` throws
 */
export async function withUpload<Result>(
  request: FastifyRequest,
  reply: FastifyReply,
  take: (zip: Readable) => Promise<Result>,
): Promise<Result> {
  try {
    return await (request.isMultipart() ? receiveForm(request, take) : take(rawBody(request)));
  } catch (error) {
    // The rest of the body is not wanted: without this the connection would have to swallow it to be used again.
    reply.header('connection', 'close');
    throw error;
  }
}

function rawBody({ body }: FastifyRequest): Readable {
  if (body === undefined || body === null) {
    throw new HoldfastError('HF_REQUEST_INVALID', 'the body is empty; it must be the ZIP of a package');
  }
  if (isStream(body)) return body;
  throw new HoldfastError(
    'HF_MEDIA_TYPE',
    'send the ZIP as application/zip, or as multipart/form-data with the field "package"',
  );
}

function isStream(body: unknown): body is Readable {
  return typeof body === 'object' && body !== null && 'pipe' in body;
}
