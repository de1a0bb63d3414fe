/** Answers for one database while its key is owned here. */
import { STATUS_CODES } from 'node:http';
import type { Resource, ResourceHandler } from '#core';
import { databaseName } from './file-name.ts';
import { readWish } from './http-request.ts';
import { ServiceError } from './service-error.ts';
import type { Answer, SqlProcess } from './sql-process.ts';
import type { Target } from './worker-protocol.ts';

export interface HandlerOptions {
  resource: Resource;
  target: Target;
  process: SqlProcess;
  /** The host's processId. */
  worker: string;
  bytesMax: number;
}

/** Errors that say that this host should not answer for the key: the host must hear of them, not only the client. */
const forTheHost: ReadonlySet<string> = new Set(['HF_FENCED', 'HF_NOT_OWNER']);

export function createDatabaseHandler(options: HandlerOptions): ResourceHandler {
  const { resource, target, process, worker } = options;
  const database = databaseName(resource.key);

  async function answer(request: Request): Promise<Answer> {
    const wish = await readWish(request, resource.key, options.bytesMax);
    resource.assertOwned();
    const signals = { right: resource.signal, client: request.signal };
    const done = await (wish.kind === 'describe'
      ? process.call({ type: 'describe', target, worker, database }, signals)
      : process.call({ type: 'execute', target, worker, database, input: wish.input }, signals));
    // What was read may be old news by now. What was committed was committed under the fence and stays true, and saying
    // "not the owner" would make the router send it again.
    if (!done.wrote) resource.assertOwned();
    return done;
  }

  return {
    async fetch(request) {
      try {
        return json(200, (await answer(request)).text);
      } catch (error) {
        if (!(error instanceof ServiceError) || forTheHost.has(error.code)) throw error;
        return failure(error);
      }
    },
    async close() {
      await process.call({ type: 'close', target }, {});
    },
  };
}

function json(status: number, text: string, headers: Record<string, string> = {}): Response {
  return new Response(text, {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
  });
}

function failure({ statusCode, code, message, details }: ServiceError): Response {
  const body = {
    statusCode,
    error: STATUS_CODES[statusCode] ?? 'Error',
    code,
    message,
    ...(Object.keys(details).length > 0 ? { details } : {}),
  };
  const headers: Record<string, string> = {};
  if (statusCode === 405) headers.allow = 'GET, HEAD, POST';
  if (statusCode === 503) headers['retry-after'] = '1';
  return json(statusCode, JSON.stringify(body), headers);
}
