/** Backup and restore over HTTP. Contract: docs/api.md. */
import type { FastifyInstance } from 'fastify';
import { acceptUploads, actorOf, UPLOAD_TYPES, withUpload } from '#http-api';
import type { MasterOperations } from './operations.ts';

const root = '/api/master';
const admin = { scope: 'admin' } as const;

export async function backupRoutes(app: FastifyInstance, operations: MasterOperations): Promise<void> {
  await acceptUploads(app);
  app.get(
    `${root}/backup`,
    {
      config: admin,
      schema: { summary: 'The state of the whole cluster as a ZIP', produces: ['application/zip'] },
    },
    async (_request, reply) => {
      operations.assertLeading();
      const { name, zip } = operations.backups.backup();
      return reply
        .type('application/zip')
        .header('content-disposition', `attachment; filename="${name}"`)
        .header('cache-control', 'no-store')
        .send(zip);
    },
  );
  app.post<{ Querystring: { withNodes: boolean } }>(
    `${root}/restore`,
    {
      config: admin,
      schema: {
        summary: 'Bring a backup into an empty cluster',
        consumes: UPLOAD_TYPES,
        querystring: {
          type: 'object',
          properties: { withNodes: { type: 'boolean', default: false } },
          additionalProperties: false,
        },
      },
    },
    (request, reply) =>
      withUpload(request, reply, async zip => {
        operations.assertLeading();
        const { withNodes } = request.query;
        return operations.backups.restore(zip, {
          withNodes,
          by: actorOf(request, 'restore'),
          // 102: clients give up when they hear nothing for minutes.
          stillAtWork: () => reply.raw.writeProcessing(),
        });
      }),
  );
}
