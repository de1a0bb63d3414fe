/**
 * What happened on this node, for `GET /api/node/events`: numbered, the last 1,000 kept, so that a client that lost its
 * connection gets what it missed. Numbers go on increasing over a restart of the agent, because they begin at the
 * time of the start in microseconds, which no agent can use up.
 */
import { isoTime, type ApiEvent, type System } from '#core';

export interface NumberedEvent {
  id: number;
  event: ApiEvent;
}

export interface EventLog {
  publish(type: string, facts: Record<string, unknown>): void;
  /** What came after this id, as far as it is kept; all that is kept when the id is not one of ours. */
  since(lastId: number): NumberedEvent[];
  /** Calls for every event from now on; the result stops it. */
  subscribe(listener: (event: NumberedEvent) => void): () => void;
}

const keptMax = 1_000;

export function createEventLog(system: System): EventLog {
  const kept: NumberedEvent[] = [];
  const listeners = new Set<(event: NumberedEvent) => void>();
  let lastId = Math.floor(system.clock.wallMs()) * 1_000;

  return {
    publish(type, facts) {
      const numbered = { id: ++lastId, event: { type, at: isoTime(system.clock), ...facts } };
      kept.push(numbered);
      if (kept.length > keptMax) kept.shift();
      for (const listener of listeners) listener(numbered);
    },
    since: id => (id > lastId ? [...kept] : kept.filter(item => item.id > id)),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
