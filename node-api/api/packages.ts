/** `/api/node/packages`: upload, list, remove, roll back, and hand out stored archives to other nodes. */
import { createReadStream } from 'node:fs';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { knownUpload, UPLOAD_TYPES, withUpload } from '#http-api';
import { packageInfo } from '#package-manager';
import type { NodeContext } from './context.ts';

interface Named {
  Params: { packageName: string };
  Querystring: { version?: string };
}

interface UploadRoute {
  Querystring: { sha256?: string };
}
type Upload = FastifyRequest<UploadRoute>;

const root = '/api/node/packages';
const deploy = { scope: 'deploy' } as const;
const read = { scope: 'read' } as const;
const ofVersion = {
  querystring: {
    type: 'object',
    properties: { version: { type: 'string', minLength: 1, maxLength: 64 } },
    additionalProperties: false,
  },
};

export function packageRoutes(app: FastifyInstance, context: NodeContext): void {
  const { packages, events, spares, condition } = context;

  const upload = (makeCurrent: boolean) => async (request: Upload, reply: FastifyReply) => {
    const { sha256: known } = request.query;
    const { package: stored, created } =
      known === undefined
        ? await withUpload(request, reply, async zip => {
            // The archive and what is unpacked of it: at least as much again.
            await condition.requireDisk(2 * Number(request.headers['content-length'] ?? 0));
            return packages.install(zip, { makeCurrent });
          })
        : { package: await packages.useStored(known, { makeCurrent }), created: false };
    const { packageName, packageVersion, sha256, current } = stored;
    // An upgrade to a version that is here already changes what is current: that is news too.
    if (created || makeCurrent) {
      events.publish('package-installed', { packageName, packageVersion, sha256, current, created });
      spares.refill();
    }
    return reply.code(created && !makeCurrent ? 201 : 200).send(packageInfo(stored));
  };
  const uploadSchema = { consumes: UPLOAD_TYPES, querystring: knownUpload };
  app.post<UploadRoute>(
    root,
    { config: deploy, schema: { summary: 'Upload a new package or version', ...uploadSchema } },
    upload(false),
  );
  app.put<UploadRoute>(
    root,
    { config: deploy, schema: { summary: 'Upload and make current', ...uploadSchema } },
    upload(true),
  );

  app.get(`${root}/configuration`, { config: read, schema: { summary: 'All stored versions' } }, () =>
    packages.list().map(packageInfo),
  );
  app.get<Named>(
    `${root}/:packageName/configuration`,
    { config: read, schema: { summary: 'All stored versions of one package' } },
    ({ params }) => {
      packages.get(params.packageName); // refuses a name that is not there
      return packages
        .list()
        .filter(item => item.packageName === params.packageName)
        .map(packageInfo);
    },
  );
  app.get<Named>(
    `${root}/:packageName/archive`,
    {
      config: deploy,
      schema: {
        summary: 'The stored ZIP; by default of the current version',
        produces: ['application/zip'],
        ...ofVersion,
      },
    },
    ({ params, query }, reply) => {
      const { packageName, packageVersion, sha256, sizeBytes } = packages.get(
        params.packageName,
        query.version,
      );
      const archive = createReadStream(packages.archivePath(packageName, packageVersion));
      return reply
        .type('application/zip')
        .header('content-length', sizeBytes)
        .header('etag', `"${sha256}"`)
        .header('content-disposition', `attachment; filename="${packageName}-${packageVersion}.zip"`)
        .send(archive);
    },
  );
  app.delete<Named>(
    `${root}/:packageName`,
    { config: deploy, schema: { summary: 'Remove one version, or all', ...ofVersion } },
    async ({ params, query }, reply) => {
      await packages.remove(params.packageName, query.version);
      events.publish('package-removed', {
        packageName: params.packageName,
        packageVersion: query.version ?? null,
      });
      spares.refill();
      return reply.code(204).send();
    },
  );
  app.post<Named>(
    `${root}/:packageName/rollback`,
    { config: deploy, schema: { summary: 'Make the previous version current' } },
    async ({ params }) => {
      const stored = await packages.rollback(params.packageName);
      const { packageName, packageVersion } = stored;
      events.publish('package-rolled-back', { packageName, packageVersion });
      spares.refill();
      return packageInfo(stored);
    },
  );
}
