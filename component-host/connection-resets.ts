/**
 * Breaks off, with a reset, what is being answered for a resource whose right ends in the middle: whoever asked learns at once that
 * the outcome is unknown, and gets nothing that was put together past that moment. One listener per resource, not per request.
 */
import type { ServerResponse } from 'node:http';
import type { Resource } from '#core';

export interface ConnectionResets {
  /** Until the result is called. */
  watch(resource: Resource, response: ServerResponse): () => void;
}

export function createConnectionResets(): ConnectionResets {
  const answering = new WeakMap<Resource, Set<ServerResponse>>();
  return {
    watch(resource, response) {
      let responses = answering.get(resource);
      if (!responses) {
        const created = (responses = new Set<ServerResponse>());
        answering.set(resource, created);
        resource.signal.addEventListener('abort', () => created.forEach(reset), { once: true });
      }
      const entered = responses;
      entered.add(response);
      return () => void entered.delete(response);
    },
  };
}

/** Nothing that is buffered goes out any more. */
export function reset(response: ServerResponse): void {
  response.socket?.resetAndDestroy();
  response.destroy();
}
