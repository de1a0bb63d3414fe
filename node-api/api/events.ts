/**
 * `/api/node/events` as server-sent events. A client that comes back with `Last-Event-ID` first gets what it missed; one
 * that does not read is cut off before its backlog fills the memory, and comes back the same way.
 */
import type { FastifyInstance } from 'fastify';
import type { NumberedEvent } from '../observation/event-log.ts';
import type { NodeContext } from './context.ts';

const heartbeatMs = 15_000;
const backlogBytesMax = 1024 * 1024;

export function eventRoutes(app: FastifyInstance, { events, system, closing }: NodeContext): void {
  app.get(
    '/api/node/events',
    {
      config: { scope: 'read' },
      exposeHeadRoute: false, // it would hold an empty answer open
      schema: { summary: 'What happens, as server-sent events', produces: ['text/event-stream'] },
    },
    (request, reply) => {
      reply.hijack();
      const { raw } = reply;
      raw.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        'x-request-id': request.id,
      });
      const write = (text: string) => {
        raw.write(text);
        if (raw.writableLength > backlogBytesMax) raw.destroy();
      };
      write('retry: 1000\n: connected\n\n');
      const lastId = request.headers['last-event-id'];
      if (typeof lastId === 'string' && /^[0-9]{1,16}$/.test(lastId)) {
        for (const missed of events.since(Number(lastId))) write(format(missed));
      }
      const unsubscribe = events.subscribe(event => write(format(event)));
      const stopHeartbeat = system.timers.every(heartbeatMs, () => write(': heartbeat\n\n'));
      const end = () => raw.end();
      closing.addEventListener('abort', end, { once: true });
      if (closing.aborted) end();
      raw.on('error', () => raw.destroy()); // the client went away
      raw.on('close', () => {
        unsubscribe();
        stopHeartbeat();
        closing.removeEventListener('abort', end);
      });
    },
  );
}

function format({ id, event }: NumberedEvent): string {
  return `id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}
