/** `/api/node/stats`: the machine and what its processes use. */
import type { FastifyInstance } from 'fastify';
import { nodeStats } from '../observation/node-stats.ts';
import type { NodeContext } from './context.ts';
import { isOf, requireKnownName } from './processes.ts';

const read = { scope: 'read' } as const;

export function statsRoutes(app: FastifyInstance, context: NodeContext): void {
  const { entries, statistics } = context;

  app.get(
    '/api/node/stats',
    { config: read, schema: { summary: 'The machine, its network and processes' } },
    async () => nodeStats(context, statistics.of(entries.all()), await context.assignment.describe()),
  );
  app.get('/api/node/stats/processes', { config: read, schema: { summary: 'What each process uses' } }, () =>
    statistics.of(entries.all()),
  );
  app.get<{ Params: { packageName: string } }>(
    '/api/node/stats/processes/:packageName',
    { config: read, schema: { summary: 'What the processes of one package use' } },
    ({ params: { packageName } }) => {
      const chosen = entries.all().filter(entry => isOf(entries.info(entry), packageName));
      if (chosen.length === 0) requireKnownName(context, packageName);
      return statistics.of(chosen);
    },
  );
}
