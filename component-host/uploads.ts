/** Packages of the host's own store over REST, as the node API's. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { HoldfastError } from '#core';
import { acceptUploads, UPLOAD_TYPES, withUpload, type Api } from '#http-api';
import { packageInfo, type PackageStore } from '#package-manager';

/** Registers `POST`, `PUT` and `GET` under `prefix`. */
export async function registerPackageRoutes(
  app: Api,
  prefix: string,
  packages: () => Promise<PackageStore>,
): Promise<void> {
  await acceptUploads(app);

  const upload = (makeCurrent: boolean, summary: string) => ({
    config: { scope: 'deploy' as const },
    schema: { summary, consumes: UPLOAD_TYPES } as object,
    async handler(request: FastifyRequest, reply: FastifyReply) {
      const { package: stored, created } = await withUpload(request, reply, async zip =>
        (await packages()).install(zip, { makeCurrent }),
      );
      reply.code(created && !makeCurrent ? 201 : 200);
      return packageInfo(stored);
    },
  });
  app.post(prefix, upload(false, 'Upload a package into this host'));
  app.put(prefix, upload(true, 'Upload a package into this host and make it current'));

  app.get(
    `${prefix}/configuration`,
    { config: { scope: 'read' }, schema: { summary: 'Packages uploaded into this host' } as object },
    async () => (await packages()).list().map(packageInfo),
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
      return found.map(packageInfo);
    },
  );
}
