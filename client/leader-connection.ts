/**
 * A connection to the master API that ends up at the manager that leads: one that stands by refuses a mutation and says who leads, and the call
 * is repeated there, once. From then on all calls go there, so that reads see what was written, until it is away: then back to where it began.
 */
import { HoldfastError } from '#core';
import { createConnection, type CallOptions, type Connection, type ConnectionOptions } from './http.ts';

export function createLeaderConnection(options: ConnectionOptions): Connection {
  const origin = createConnection(options);
  let present = origin;

  async function follow<Result>(
    method: string,
    call: (connection: Connection) => Promise<Result>,
  ): Promise<Result> {
    const asked = present;
    try {
      return await call(asked);
    } catch (error) {
      const next = elsewhere(error, method, asked);
      if (!next) throw error;
      const result = await call(next);
      present = next;
      return result;
    }
  }

  function elsewhere(error: unknown, method: string, asked: Connection): Connection | null {
    if (!(error instanceof HoldfastError)) return null;
    if (error.code === 'HF_NOT_LEADER') {
      const { leader } = error.details;
      if (typeof leader !== 'string' || leader === asked.uri || !/^https?:\/\/[^/]+/.test(leader))
        return null;
      return createConnection({ ...options, uri: leader });
    }
    if (error.code !== 'HF_NODE_UNREACHABLE' || asked === origin) return null;
    present = origin;
    // Whether a mutation was carried out is not known; who asked for it has to look.
    return method === 'GET' ? origin : null;
  }

  return {
    get uri() {
      return present.uri;
    },
    send: (method, path, call?: CallOptions) =>
      follow(method, connection => connection.send(method, path, call)),
    json: <Result>(method: string, path: string, call?: CallOptions) =>
      follow(method, connection => connection.json<Result>(method, path, call)),
    read: reading => present.read(reading),
    ready: () => present.ready(),
  };
}
