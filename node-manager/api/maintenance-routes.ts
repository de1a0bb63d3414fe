/** What operators say of nodes and of reconciliation itself, over HTTP. Contract: docs/api.md. */
import type { FastifyInstance } from 'fastify';
import { actorOf } from '#http-api';
import type { MasterOperations } from './operations.ts';

const root = '/api/master';
const deploy = { scope: 'deploy' } as const;
const reason = { type: 'string', minLength: 1, maxLength: 200, description: 'shown in status and events' };
const deadlineMs = {
  type: 'integer',
  minimum: 0,
  maximum: 30 * 24 * 3_600_000,
  description: 'copies that have not moved by then are stopped',
};
const body = (properties: Record<string, object>) => ({
  type: ['object', 'null'],
  properties,
  additionalProperties: false,
});

type Body = { reason?: string; deadlineMs?: number } | null | undefined;

export function maintenanceRoutes(
  app: FastifyInstance,
  { assertLeading, maintenance, pause }: MasterOperations,
): void {
  type NodeCall = { Params: { networkName: string }; Body: Body };
  const node = (path: string, summary: string, properties: Record<string, object>) => ({
    url: `${root}/nodes/:networkName/${path}`,
    options: { config: deploy, schema: { summary, body: body(properties) } },
  });

  const cordon = node('cordon', 'Give a node no more copies', { reason });
  app.post<NodeCall>(cordon.url, cordon.options, async request => {
    assertLeading();
    const { networkName } = request.params;
    const asked = { by: actorOf(request), reason: request.body?.reason ?? null, deadlineMs: null };
    return { networkName, maintenance: await maintenance.cordon(networkName, asked) };
  });
  const drain = node('drain', 'Move all copies away from a node, and give it no more', {
    reason,
    deadlineMs,
  });
  app.post<NodeCall>(drain.url, drain.options, async (request, reply) => {
    assertLeading();
    const { networkName } = request.params;
    const asked = {
      by: actorOf(request),
      reason: request.body?.reason ?? null,
      deadlineMs: request.body?.deadlineMs ?? null,
    };
    return reply.code(202).send({ networkName, maintenance: await maintenance.drain(networkName, asked) });
  });
  const undrain = node('undrain', 'Let a node have copies again, whether it was cordoned or drained', {});
  app.post<NodeCall>(undrain.url, undrain.options, async ({ params: { networkName } }) => {
    assertLeading();
    return { networkName, maintenance: await maintenance.undrain(networkName) };
  });

  app.post<{ Body: Body }>(
    `${root}/reconciliation/pause`,
    {
      config: deploy,
      schema: { summary: 'Observe and plan, but do nothing until it is resumed', body: body({ reason }) },
    },
    async request => {
      assertLeading();
      return pause.pause(actorOf(request), request.body?.reason ?? null);
    },
  );
  app.post(
    `${root}/reconciliation/resume`,
    { config: deploy, schema: { summary: 'Go on reconciling', body: body({}) } },
    async () => {
      assertLeading();
      return pause.resume();
    },
  );
}
