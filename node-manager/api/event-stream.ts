/** Server-sent events to whoever listens. Nothing is kept for those who come later. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ApiEvent, System } from '#core';

export interface EventStream {
  send(event: ApiEvent): void;
  /** Turns a request into a listener until it goes away. */
  attach(request: FastifyRequest, reply: FastifyReply): void;
  /** Ends all streams. */
  close(): void;
}

const heartbeatMs = 15_000;
/** A listener that reads too slowly is cut off; it connects again and looks at the present state. */
const backlogBytesMax = 1024 * 1024;

export function createEventStream(system: System): EventStream {
  const listeners = new Set<FastifyReply['raw']>();
  let id = 0;
  const cancelHeartbeat = system.timers.every(heartbeatMs, () => write(': still here\n\n'));

  function write(text: string): void {
    for (const listener of listeners) {
      if (listener.writableLength > backlogBytesMax) listener.destroy();
      else listener.write(text);
    }
  }

  return {
    send(event) {
      id += 1;
      write(`id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    },
    attach(request, reply) {
      reply.hijack();
      reply.raw.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-request-id': request.id,
      });
      reply.raw.write(': connected\n\n');
      listeners.add(reply.raw);
      reply.raw.on('close', () => listeners.delete(reply.raw));
      reply.raw.on('error', () => listeners.delete(reply.raw)); // it went away
    },
    close() {
      cancelHeartbeat();
      for (const listener of listeners) listener.end();
      listeners.clear();
    },
  };
}
