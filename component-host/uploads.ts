/**
 * Packages of the host's own store over REST: as the node API's, the ZIP itself or a multipart field `package`. The
 * body is a stream into the store, which checks it while it comes; nothing of it is kept in memory.
 */
import type { Readable } from 'node:stream';
import multipart from '@fastify/multipart';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { HoldfastError, type PackageInfo } from '#core';
import type { Api } from '#http-api';
import { defaultPackageLimits, type PackageStore, type StoredPackage } from '#package-manager';

const zipTypes = ['application/zip', 'application/x-zip-compressed', 'application/octet-stream'];
const field = 'package';

/** Registers `POST`, `PUT` and `GET` under `prefix`. */
export async function registerPackageRoutes(
  app: Api,
  prefix: string,
  packages: () => Promise<PackageStore>,
): Promise<void> {
  await app.register(multipart, {
    // One byte over what the store takes: it is the store that refuses, and a cut file never looks whole.
    limits: { fileSize: defaultPackageLimits.archiveBytesMax + 1, files: 4, fields: 16 },
  });
  app.addContentTypeParser(zipTypes, (_request, payload, done) => done(null, payload));

  const upload = (makeCurrent: boolean, summary: string) => ({
    config: { scope: 'deploy' as const },
    schema: { summary, consumes: ['application/zip', 'multipart/form-data'] } as object,
    async handler(request: FastifyRequest, reply: FastifyReply) {
      try {
        const store = await packages();
        const { package: stored, created } = await receive(request, source =>
          store.install(source, { makeCurrent }),
        );
        reply.code(created && !makeCurrent ? 201 : 200);
        return describe(stored);
      } catch (error) {
        reply.header('connection', 'close'); // the rest of a refused upload is not worth reading
        throw error;
      }
    },
  });
  app.post(prefix, upload(false, 'Upload a package into this host'));
  app.put(prefix, upload(true, 'Upload a package into this host and make it current'));

  app.get(
    `${prefix}/configuration`,
    { config: { scope: 'read' }, schema: { summary: 'Packages uploaded into this host' } as object },
    async () => (await packages()).list().map(describe),
  );
  app.get<{ Params: { packageName: string } }>(
    `${prefix}/:packageName/configuration`,
    {
      config: { scope: 'read' },
      schema: { summary: 'Versions of one package that were uploaded into this host' } as object,
    },
    async request => {
      const { packageName } = request.params;
      const found = (await packages()).list().filter(stored => stored.packageName === packageName);
      if (found.length === 0) {
        throw new HoldfastError('HF_PACKAGE_NOT_FOUND', `this host has no package ${packageName}`);
      }
      return found.map(describe);
    },
  );
}

async function receive<Result>(
  request: FastifyRequest,
  install: (source: Readable) => Promise<Result>,
): Promise<Result> {
  if (!request.isMultipart()) {
    const body: unknown = request.body;
    if (isStream(body)) return install(body);
    throw new HoldfastError(
      'HF_MEDIA_TYPE',
      `send the ZIP as ${zipTypes[0]}, or as the multipart field ${field}`,
    );
  }
  let result: { value: Result } | null = null;
  for await (const part of request.parts()) {
    if (part.type !== 'file') continue;
    if (part.fieldname !== field || result) {
      part.file.resume();
      continue;
    }
    result = { value: await install(part.file) };
    if (part.file.truncated) throw new HoldfastError('HF_PACKAGE_TOO_LARGE', 'the file is over the limit');
  }
  if (!result) {
    throw new HoldfastError('HF_REQUEST_INVALID', `the form has no file in the field ${field}`, {
      details: { field },
    });
  }
  return result.value;
}

function isStream(body: unknown): body is Readable {
  return typeof body === 'object' && body !== null && 'pipe' in body;
}

/** Where its files lie is nobody's business outside. */
function describe({ directory: _directory, ...info }: StoredPackage): PackageInfo {
  return info;
}
