/** Takes a package as the body itself (`application/zip`) or as multipart field `package`; streamed, never held in memory. */
import type { Readable } from 'node:stream';
import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { HoldfastError } from '#core';

const zipTypes = ['application/zip', 'application/x-zip-compressed', 'application/octet-stream'];

export async function acceptUploads(app: FastifyInstance): Promise<void> {
  app.addContentTypeParser(zipTypes, (_request, payload, done) => done(null, payload));
  // The package store has the limit on size and refuses with our own error; the parser must not cut the file short before.
  await app.register(multipart, {
    limits: { files: 1, fields: 10, parts: 11, fileSize: Number.MAX_SAFE_INTEGER },
  });
}

/**
 * Hands the uploaded ZIP to `store`.
 * @throws HoldfastError HF_REQUEST_INVALID, HF_MEDIA_TYPE, and what `store` throws
 */
export async function withUpload<Result>(
  request: FastifyRequest,
  reply: FastifyReply,
  store: (zip: Readable) => Promise<Result>,
): Promise<Result> {
  try {
    if (!request.isMultipart()) return await store(rawBody(request));
    const part = await request.file();
    if (part?.fieldname !== 'package') {
      throw new HoldfastError(
        'HF_REQUEST_INVALID',
        `send the ZIP in the multipart field "package"${part ? `, not "${part.fieldname}"` : ''}, or as a body of type application/zip`,
      );
    }
    const result = await store(part.file);
    if (part.file.truncated) throw new HoldfastError('HF_PACKAGE_TOO_LARGE', 'the upload was cut short');
    return result;
  } catch (error) {
    // The rest of the body is not wanted: without this the connection would have to swallow it to be used again.
    reply.header('connection', 'close');
    throw error;
  }
}

function rawBody(request: FastifyRequest): Readable {
  if (request.body === undefined || request.body === null) {
    throw new HoldfastError('HF_REQUEST_INVALID', 'the body is empty; it must be the ZIP of a package');
  }
  if (!isStream(request.body)) {
    throw new HoldfastError(
      'HF_MEDIA_TYPE',
      'send the ZIP as application/zip, or as multipart/form-data with the field "package"',
    );
  }
  return request.body;
}

function isStream(body: unknown): body is Readable {
  return typeof body === 'object' && body !== null && 'pipe' in body;
}
