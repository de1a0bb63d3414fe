/** The part of the master API that is about deployments. Contract: docs/api.md. */
import type { FastifyInstance } from 'fastify';
import { actorOf } from '#http-api';
import { DEPLOYMENT_COMMANDS } from '../deployments/commands.ts';
import type { MasterOperations } from './operations.ts';

const root = '/api/master';
const text = { type: 'string', minLength: 1 } as const;

const summaries = {
  promote: 'Let a canary go on to all copies',
  pause: 'Replace nothing until it is resumed',
  resume: 'Go on with a paused deployment',
  abort: 'Go back to what was before',
} as const;

export function deploymentRoutes(app: FastifyInstance, operations: MasterOperations): void {
  const { deployments } = operations;
  app.get<{ Querystring: { instance?: string; limit: number } }>(
    `${root}/deployments`,
    {
      config: { scope: 'read' },
      schema: {
        summary: 'Deployments, newest first: those under way, and the last 100 that ended',
        querystring: {
          type: 'object',
          properties: { instance: text, limit: { type: 'integer', minimum: 1, maximum: 1_000, default: 20 } },
          additionalProperties: false,
        },
      },
    },
    async ({ query }) => deployments.list(query),
  );
  app.get<{ Params: { id: string } }>(
    `${root}/deployments/:id`,
    { config: { scope: 'read' }, schema: { summary: 'One deployment' } },
    async ({ params }) => deployments.get(params.id),
  );
  for (const command of DEPLOYMENT_COMMANDS) {
    app.post<{ Params: { id: string } }>(
      `${root}/deployments/:id/${command}`,
      { config: { scope: 'deploy' }, schema: { summary: summaries[command] } },
      async request => {
        operations.assertLeading();
        return deployments.command(request.params.id, command, actorOf(request));
      },
    );
  }
  app.post<{ Params: { packageName: string } }>(
    `${root}/packages/:packageName/rollback`,
    { config: { scope: 'deploy' }, schema: { summary: 'Back to the previous version, everywhere' } },
    async request => {
      operations.assertLeading();
      return operations.rollback(request.params.packageName, actorOf(request));
    },
  );
}
