/** The part of the master API that is about jobs. Contract: docs/api.md. */
import type { FastifyInstance } from 'fastify';
import { actorOf } from '#http-api';
import type { MasterOperations } from './operations.ts';

const root = '/api/master/jobs';

interface OfJob {
  Params: { id: string };
}

export function jobRoutes(app: FastifyInstance, operations: MasterOperations): void {
  const { jobs } = operations;
  const read = (summary: string) => ({ config: { scope: 'read' }, schema: { summary } }) as const;
  const deploy = (summary: string) => ({ config: { scope: 'deploy' }, schema: { summary } }) as const;

  app.get(root, read('Jobs: what runs, what came of the last run, when the next is due'), async () =>
    jobs.list(),
  );
  app.get<OfJob>(`${root}/:id`, read('One job, with its next times and its history'), async ({ params }) =>
    jobs.get(params.id),
  );
  app.post<OfJob>(`${root}/:id/run`, deploy('Run it now; 409 while a run is under way'), async request => {
    operations.assertLeading();
    return jobs.run(request.params.id, actorOf(request));
  });
  app.post<OfJob>(`${root}/:id/cancel`, deploy('End the run under way'), async request => {
    operations.assertLeading();
    return jobs.cancel(request.params.id, actorOf(request));
  });
}
