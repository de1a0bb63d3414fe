/** The master API: what each path does, in terms of `MasterOperations`. Contract: docs/api.md. */
import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { HoldfastError } from '#core';
import { acceptUploads, actorOf, knownUpload, UPLOAD_TYPES, withUpload } from '#http-api';
import type { KeyName } from '../keys/key-operations.ts';
import { maintenanceRoutes } from './maintenance-routes.ts';
import { backupRoutes } from './backup-routes.ts';
import type { MasterOperations } from './operations.ts';
import { settingsRoutes } from './settings-routes.ts';
import { deploymentRoutes } from './deployment-routes.ts';
import { jobRoutes } from './job-routes.ts';
import { takeTurns } from './upload-turns.ts';

const root = '/api/master';
const read = { scope: 'read' } as const;
const deploy = { scope: 'deploy' } as const;
const text = { type: 'string', minLength: 1 } as const;
const uploadsAtOnce = 4;

interface UploadQuery {
  sha256?: string;
  canary?: number;
  promoteAfterMs?: number;
}
type Upload = FastifyRequest<{ Querystring: UploadQuery }>;

export async function masterRoutes(app: FastifyInstance, operations: MasterOperations): Promise<void> {
  await app.register(async scope => readRoutes(scope, operations));
  await app.register(async scope => packageRoutes(scope, operations));
  await app.register(async scope => settingsRoutes(scope, operations));
  await app.register(async scope => backupRoutes(scope, operations));
  await app.register(async scope => actionRoutes(scope, operations));
  await app.register(async scope => keyRoutes(scope, operations));
  await app.register(async scope => deploymentRoutes(scope, operations));
  await app.register(async scope => maintenanceRoutes(scope, operations));
  await app.register(async scope => jobRoutes(scope, operations));
}

function readRoutes(app: FastifyInstance, operations: MasterOperations): void {
  const get = (path: string, summary: string, answer: () => unknown) =>
    app.get(root + path, { config: read, schema: { summary } }, async () => answer());
  get('', 'Status of the cluster', operations.status);
  get('/nodes', 'Nodes', operations.nodes);
  get('/instances', 'Instances: desired and running', operations.instances);
  get('/packages', 'Packages known to the cluster', operations.packages);
  get('/hosts', 'Live host processes', operations.hosts);
  get('/sync', 'The run under way, with the state of each action', operations.progress);
  app.get<{ Params: { id: string } }>(
    `${root}/instances/:id/explain`,
    {
      config: read,
      schema: { summary: 'Why its copies are where they are, and where the next one would go' },
    },
    ({ params }) => operations.explain(params.id),
  );
  get('/plan', 'What a sync would do now', async () => ({ actions: await operations.plan() }));

  app.get<{ Querystring: { prefix?: string; limit: number; cursor?: string; instance?: string } }>(
    `${root}/resources`,
    {
      config: read,
      schema: {
        summary: 'Owned keys, in pages; the next cursor is in the header x-holdfast-cursor',
        querystring: {
          type: 'object',
          properties: {
            prefix: { type: 'string' },
            limit: { type: 'integer', minimum: 1, maximum: 1_000, default: 100 },
            cursor: text,
            instance: text,
          },
          additionalProperties: false,
        },
      },
    },
    async ({ query }, reply) => {
      // A cursor may hold any character of a key, a header may not.
      const { cursor: after, ...rest } = query;
      const { resources, cursor } = await operations.resources(
        after === undefined ? rest : { ...rest, cursor: Buffer.from(after, 'base64url').toString() },
      );
      if (cursor !== null) reply.header('x-holdfast-cursor', Buffer.from(cursor).toString('base64url'));
      return resources;
    },
  );
  app.get<{ Params: { key: string }; Querystring: { instance?: string } }>(
    `${root}/resources/:key`,
    {
      config: read,
      schema: {
        summary: 'The owner of a key (percent-encoded)',
        querystring: { type: 'object', properties: { instance: text }, additionalProperties: false },
      },
    },
    ({ params, query }) => operations.keys.show({ key: params.key, instance: query.instance ?? null }),
  );
  app.get(
    `${root}/events`,
    {
      config: read,
      schema: { summary: 'Every state change, as server-sent events', produces: ['text/event-stream'] },
    },
    (request, reply) => operations.attachEvents(request, reply),
  );
}

async function packageRoutes(app: FastifyInstance, operations: MasterOperations): Promise<void> {
  const { uploadBytesMax } = operations;
  takeTurns(app, uploadsAtOnce);
  await acceptUploads(app);
  const upload = (makeCurrent: boolean) => async (request: Upload, reply: FastifyReply) => {
    const { sha256, canary, promoteAfterMs = null } = request.query;
    if (canary === undefined && promoteAfterMs !== null) {
      throw new HoldfastError(
        'HF_REQUEST_INVALID',
        'promoteAfterMs needs canary=<n>, the number of copies that change first',
      );
    }
    const distribute = async (zip: () => Promise<Buffer>) => {
      operations.assertLeading();
      return operations.upload(await zip(), {
        makeCurrent,
        canary: canary === undefined ? null : { instances: canary, promoteAfterMs },
        by: actorOf(request),
      });
    };
    const outcome = await (sha256 === undefined
      ? withUpload(request, reply, zip => distribute(() => readAll(zip, uploadBytesMax)))
      : distribute(() => operations.knownZip(sha256)));
    if (outcome.settingsEtag !== null) reply.header('etag', outcome.settingsEtag);
    return reply.code(outcome.created ? 201 : 200).send(outcome);
  };
  const schema = { consumes: UPLOAD_TYPES };
  app.post<{ Querystring: UploadQuery }>(
    `${root}/packages`,
    {
      config: deploy,
      schema: { summary: 'Upload a package to every node', querystring: knownUpload, ...schema },
    },
    upload(false),
  );
  app.put<{ Querystring: UploadQuery }>(
    `${root}/packages`,
    {
      config: deploy,
      schema: {
        summary: 'Upload, and roll all its instances to this version',
        querystring: {
          type: 'object',
          properties: {
            ...knownUpload.properties,
            canary: { type: 'integer', minimum: 1, maximum: 100_000 },
            promoteAfterMs: { type: 'integer', minimum: 0, maximum: 2_592_000_000 },
          },
          additionalProperties: false,
        },
        ...schema,
      },
    },
    upload(true),
  );
  app.delete<{ Params: { packageName: string }; Querystring: { version?: string } }>(
    `${root}/packages/:packageName`,
    {
      config: deploy,
      schema: {
        summary: 'Remove a package, or one version of it, from every node',
        querystring: { type: 'object', properties: { version: text }, additionalProperties: false },
      },
    },
    async ({ params, query }, reply) => {
      operations.assertLeading();
      await operations.removePackage(params.packageName, query.version ?? null);
      return reply.code(204).send();
    },
  );
}

/** It goes to every node, so it is kept. @throws HoldfastError HF_PACKAGE_TOO_LARGE */
async function readAll(zip: Readable, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  // Not destroyed when it is refused: the answer goes out on the same connection.
  for await (const chunk of zip.iterator({ destroyOnReturn: false })) {
    sizeBytes += (chunk as Buffer).length;
    if (sizeBytes > bytesMax) {
      throw new HoldfastError('HF_PACKAGE_TOO_LARGE', `the ZIP is over the limit of ${bytesMax} bytes`);
    }
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

function actionRoutes(app: FastifyInstance, operations: MasterOperations): void {
  app.post(`${root}/sync`, { config: deploy, schema: { summary: 'Reconcile now' } }, () => {
    operations.assertLeading();
    return operations.sync();
  });
  app.post<{ Params: { id: string } }>(
    `${root}/instances/:id/restart`,
    { config: deploy, schema: { summary: 'Restart all copies, rolling' } },
    async ({ params }, reply) => {
      operations.assertLeading();
      return reply.code(202).send(await operations.restart(params.id));
    },
  );

  const later = (method: 'GET' | 'POST', path: string, what: string) =>
    app.route({
      method,
      url: root + path,
      config: method === 'GET' ? read : deploy,
      schema: { summary: `${what} (not built yet)` },
      handler: () => {
        throw new HoldfastError('HF_NOT_IMPLEMENTED', `${what} is part of the contract, but not built yet`);
      },
    });
  later('GET', '/resources/:key/history', 'the history of a key');
}

function keyRoutes(app: FastifyInstance, { assertLeading, keys }: MasterOperations): void {
  type Call = {
    Params: { key: string };
    Querystring: { instance?: string };
    Body: { to?: string } | null | undefined;
  };
  const post = (
    action: string,
    summary: string,
    run: (name: KeyName, body: NonNullable<Call['Body']>) => Promise<unknown>,
    properties: Record<string, object> = {},
  ) =>
    app.post<Call>(
      `${root}/resources/:key/${action}`,
      {
        config: deploy,
        schema: {
          summary,
          querystring: { type: 'object', properties: { instance: text }, additionalProperties: false },
          body: { type: ['object', 'null'], properties, additionalProperties: false },
        },
      },
      ({ params, query, body }) => {
        assertLeading();
        return run({ key: params.key, instance: query.instance ?? null }, body ?? {});
      },
    );
  post(
    'move',
    'Hand a key (percent-encoded) to another host: to a process, to a node, or to the host with the least keys',
    (name, body) => keys.move(name, body.to ?? null),
    { to: { ...text, description: 'processId or name of a node' } },
  );
  post('release', 'Make the owner close a key and give it back', name => keys.release(name));
  post('pause', 'Let nobody own a key until it is resumed; requests for it wait', name => keys.pause(name));
  post('resume', 'Let a paused key be owned again', name => keys.resume(name));
}
