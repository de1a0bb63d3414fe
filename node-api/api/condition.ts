/** `/api/node/condition`: what the node is short of. The node manager asks for it with every look. */
import type { FastifyInstance } from 'fastify';
import type { NodeContext } from './context.ts';

export function conditionRoutes(app: FastifyInstance, { condition }: NodeContext): void {
  app.get(
    '/api/node/condition',
    { config: { scope: 'read' }, schema: { summary: 'What the node is short of: disk, memory, ports' } },
    async () => ({ pressure: await condition.pressure() }),
  );
}
