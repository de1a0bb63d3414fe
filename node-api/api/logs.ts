/** Log files of a process, also of one that ended. */
import type { FastifyInstance } from 'fastify';
import { HoldfastError } from '#core';
import { logStreams, readLogs, type LogStream } from '../observation/log-files.ts';
import type { NodeContext } from './context.ts';
import { findProcess } from './processes.ts';

const querystring = {
  type: 'object',
  properties: {
    tail: { type: 'integer', minimum: 1, maximum: 10_000, default: 200, description: 'Lines of each file.' },
    follow: { type: 'boolean', default: false },
    stream: { type: 'string', enum: logStreams, description: 'Only this file.' },
  },
  additionalProperties: false,
} as const;

export function logRoutes(app: FastifyInstance, context: NodeContext): void {
  app.get<{
    Params: { packageName: string; processId: string };
    Querystring: { tail: number; follow: boolean; stream?: LogStream };
  }>(
    '/api/node/processes/:packageName/:processId/logs',
    {
      config: { scope: 'read' },
      schema: { summary: 'The last lines of its log files', produces: ['text/plain'], querystring },
    },
    async ({ params, query }, reply) => {
      // The name of the folder comes from our own table, never from the path.
      const { processId } = findProcess(context, params, true);
      if (query.follow) {
        throw new HoldfastError(
          'HF_NOT_IMPLEMENTED',
          'following a log is not built yet; ask again with tail',
        );
      }
      const streams = query.stream ? [query.stream] : logStreams;
      const text = await readLogs(context.directoryOf(processId), streams, query.tail);
      return reply.type('text/plain; charset=utf-8').send(text);
    },
  );
}
