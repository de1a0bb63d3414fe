/**
 * Who asked for a change, for the records that operators read later. What the header says is a statement of the caller, not a proof:
 * whoever has a token can say any name. What is proven, the scope of the token, stands behind it. Pure but for the mark on the request.
 */
import { ACTOR_HEADER } from '#core';
import type { FastifyRequest } from 'fastify';
import type { Scope } from './token.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** What the token of this request allows; null before it was looked at, and on public routes. */
    scope: Scope | null;
  }
}

const actorLengthMax = 80;

/**
 * As records show it: `api: ada@laptop (admin)`, or just `api` for a caller who says no name.
 * @param by what was asked for, where that tells more than that the API was used: `undo`, `restore`
 */
export function actorOf(request: Pick<FastifyRequest, 'headers' | 'scope'>, by = 'api'): string {
  const header = request.headers[ACTOR_HEADER];
  const name = readable(Array.isArray(header) ? (header[0] ?? '') : (header ?? ''));
  return name === '' ? by : `${by}: ${name} (${request.scope ?? 'no token'})`;
}

/** No brackets, which would forge a scope, and nothing that a terminal or a page could take for more than text. */
function readable(name: string): string {
  return name
    .slice(0, actorLengthMax)
    .replaceAll(/[^\w.@+:/ -]+/g, '_')
    .trim();
}
