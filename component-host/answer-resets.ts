/**
 * Breaks off what is being answered for a resource whose right ends in the middle: whoever asked learns at once that the outcome is
 * unknown, and gets nothing that was put together past that moment. One listener per resource, not per request.
 */
import type { Resource } from '#core';
import type { IncomingRequest } from '#frames';

export interface AnswerResets {
  watch(resource: Resource, incoming: IncomingRequest): void;
  /** It was answered. */
  forget(resource: Resource, incoming: IncomingRequest): void;
}

export function createAnswerResets(): AnswerResets {
  const answering = new WeakMap<Resource, Set<IncomingRequest>>();
  return {
    watch(resource, incoming) {
      let all = answering.get(resource);
      if (!all) {
        const created = (all = new Set<IncomingRequest>());
        answering.set(resource, created);
        resource.signal.addEventListener('abort', () => created.forEach(breakOff), { once: true });
      }
      all.add(incoming);
    },
    forget: (resource, incoming) => void answering.get(resource)?.delete(incoming),
  };
}

/** Only this answer, nothing else of its connection. */
export function breakOff(incoming: IncomingRequest): void {
  incoming.breakOff('ownership ended while the request was answered');
}
