/**
 * All routes of the node API, and what holds for each: answers wait until an earlier agent's processes have been taken
 * over, and every mutation that carries a leader's mark is refused when a newer leader has spoken.
 *
 * Scopes: looking needs `read`; packages, starting and stopping need `deploy`; assigning the coordination store, `admin`.
 */
import type { FastifyInstance } from 'fastify';
import { LEADER_HEADER } from '#core';
import { acceptUploads } from '#http-api';
import { admitLeader } from '../store/leader-fence.ts';
import type { NodeContext } from './context.ts';
import { conditionRoutes } from './condition.ts';
import { coordinationRoutes } from './coordination.ts';
import { eventRoutes } from './events.ts';
import { leaderRoutes } from './leader.ts';
import { logRoutes } from './logs.ts';
import { packageRoutes } from './packages.ts';
import { processRoutes } from './processes.ts';
import { statsRoutes } from './stats.ts';

const readingMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

export async function nodeRoutes(app: FastifyInstance, context: NodeContext): Promise<void> {
  app.addHook('onRequest', async request => {
    if (!request.url.startsWith('/api/')) return;
    await context.recovered;
    if (readingMethods.has(request.method)) return;
    await admitLeader(context.store, request.headers[LEADER_HEADER]?.toString());
  });
  // Once more when the body is there: what came slowly may have been overtaken by a newer leader.
  app.addHook('preHandler', async request => {
    if (!request.url.startsWith('/api/') || readingMethods.has(request.method)) return;
    await admitLeader(context.store, request.headers[LEADER_HEADER]?.toString());
  });
  await acceptUploads(app);
  statsRoutes(app, context);
  conditionRoutes(app, context);
  coordinationRoutes(app, context);
  leaderRoutes(app);
  packageRoutes(app, context);
  processRoutes(app, context);
  logRoutes(app, context);
  eventRoutes(app, context);
}
