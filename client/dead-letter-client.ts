/** Typed calls to a component host about the dead letters of its publisher. */
import type { DeadLetterPage } from '#core';
import { createConnection, type ConnectionOptions } from './http.ts';

export interface DeadLetterClient {
  /** The oldest first. Binary content is base64. */
  list(query: { group: string; limit: number; cursor?: string }): Promise<DeadLetterPage>;
  /** Gives them to their group again, or removes them for good. Resolves to the ids that were there. */
  settle(action: 'replay' | 'remove', ids: readonly string[]): Promise<string[]>;
}

const path = '/api/componentHost/deadLetters';

/** Every call has a deadline and throws HoldfastError: the host's own, or HF_NODE_UNREACHABLE. */
export function createDeadLetterClient(options: ConnectionOptions): DeadLetterClient {
  const connection = createConnection(options);
  return {
    list({ group, limit, cursor }) {
      const query = new URLSearchParams({ group, limit: String(limit), ...(cursor ? { cursor } : {}) });
      return connection.json('GET', `${path}?${query.toString()}`);
    },
    async settle(action, ids) {
      const { ids: done } = await connection.json<{ ids: string[] }>('POST', `${path}/${action}`, {
        json: { ids },
      });
      return done;
    },
  };
}
