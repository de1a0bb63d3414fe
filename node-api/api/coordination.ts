/** `/api/node/coordination`: which store the node belongs to, and handing it the cluster's. */
import type { FastifyInstance } from 'fastify';
import { describeProblem, HoldfastError, redisAddressProblems, type RedisAddress } from '#core';
import type { NodeContext } from './context.ts';
import { uncheckedBody } from './requests.ts';

const path = '/api/node/coordination';

export function coordinationRoutes(app: FastifyInstance, { assignment }: NodeContext): void {
  app.get(
    path,
    { config: { scope: 'read' }, schema: { summary: 'The coordination store of the node, as it sees it' } },
    () => assignment.describe(),
  );
  app.put(
    path,
    {
      // It decides who may own what, and holds passwords.
      config: { scope: 'admin' },
      schema: {
        summary: 'Hand the node the coordination store of its cluster, once',
        body: {
          type: 'object',
          required: ['kind', 'urls', 'prefix', 'sessionTtlMs'],
          properties: {
            kind: { const: 'redis' },
            urls: { type: 'array', items: { type: 'string' }, minItems: 1 },
            prefix: { type: 'string' },
            sessionTtlMs: { type: 'integer' },
          },
        },
      },
      ...uncheckedBody,
    },
    ({ body }) => assignment.assign(parseAddress(body)),
  );
}

/** @throws HoldfastError HF_REQUEST_INVALID with every problem's path, and no value */
function parseAddress(body: unknown): RedisAddress {
  const problems = redisAddressProblems(body ?? {});
  if (problems.length === 0) return body as RedisAddress;
  throw new HoldfastError('HF_REQUEST_INVALID', problems.map(describeProblem).join('; '), {
    details: { in: 'body', problems },
  });
}
