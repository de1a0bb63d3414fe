/**
 * `/api/node/leader`: a manager that begins to lead tells its mark before it looks at the node, so that nothing an earlier leader sent can be
 * carried out after that look. The check itself is the hook of all mutations (`routes.ts`).
 */
import type { FastifyInstance } from 'fastify';
import { HoldfastError, LEADER_HEADER } from '#core';

export function leaderRoutes(app: FastifyInstance): void {
  app.put(
    '/api/node/leader',
    {
      config: { scope: 'deploy' },
      schema: { summary: 'Note the mark of the leading node manager; older ones are refused from now on' },
    },
    async (request, reply) => {
      if (request.headers[LEADER_HEADER] === undefined) {
        throw new HoldfastError('HF_REQUEST_INVALID', `the header ${LEADER_HEADER} is missing`);
      }
      return reply.code(204).send();
    },
  );
}
