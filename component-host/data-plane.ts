/**
 * Answers the router: requests that carry the channel header never reach the REST API, and only they reach the
 * component. Believes the other `x-holdfast-*` headers because the channel key proves that a router of this cluster
 * wrote them, for this very session. Whatever is not ours is answered with 421 before a byte of the body is read, which
 * tells the router that nothing was executed; after the component has had it, the connection breaks instead.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  CHANNEL_HEADERS,
  errorTable,
  HoldfastError,
  parseFence,
  type Component,
  type Logger,
  type ProcessId,
  type Resource,
  type ResourceKey,
  type SessionId,
} from '#core';
import { verifyChannelKey, type OwnershipGuard } from '#ownership';
import type { Incoming } from './calls/incoming.ts';
import { createConnectionResets, reset } from './connection-resets.ts';
import { refuseUnseen, sendError } from './error-response.ts';
import { textOf } from './foreign.ts';
import type { HostCounters } from './metrics.ts';
import { isResponse, preparePlatform, sendFetchResponse, toFetchRequest } from './web-request.ts';

/** What answers while the component is started and its session lives. */
export interface Serving {
  component: Component;
  guard: OwnershipGuard;
  incoming: Incoming;
  sessionId: SessionId;
}

export interface DataPlaneOptions {
  processId: ProcessId;
  clusterSecret: string;
  log: Logger;
  counters: HostCounters;
  /** Null while nothing is served. */
  serving: () => Serving | null;
}

export interface DataPlane {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Resolves when no request is under way. */
  idle(): Promise<void>;
}

export function createDataPlane(options: DataPlaneOptions): DataPlane {
  const { log, counters } = options;
  let underWay = 0;
  let onIdle: (() => void)[] = [];
  const resets = createConnectionResets();
  preparePlatform();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { serving, sessionId } = admit(request, options);
    const { component, guard, incoming } = serving;
    const asked = incoming.answerQuestion(request);
    if (asked) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(await asked);
      return;
    }
    const exchange = { request, response };
    if (component.openResource) {
      const place = { ...placeOf(request), sessionId };
      const atMs = alarmOf(request);
      if (atMs !== null) return wake(guard, { ...place, atMs }, response);
      if (header(request, CHANNEL_HEADERS.open) !== '') return openAhead(guard, place, response);
      await incoming.serve(exchange, place.key, run =>
        guard.serve(place, async (handler, resource) => {
          const forget = resets.watch(resource, response);
          try {
            await run(() => respond(input => handler.fetch(input), request, response, resource));
          } finally {
            forget();
          }
        }),
      );
      return;
    }
    if (!component.fetch) {
      throw new HoldfastError('HF_UNAVAILABLE', 'the component answers no HTTP requests');
    }
    await incoming.serve(exchange, null, run =>
      run(() => respond(input => component.fetch!(input), request, response, null)),
    );
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    underWay += 1;
    counters.requests += 1;
    // A socket that breaks shows as the end of the response; its error adds nothing.
    response.on('error', () => {});
    response.setHeader(CHANNEL_HEADERS.owner, options.processId);
    try {
      await answer(request, response);
    } catch (error) {
      refuse(error, response);
    } finally {
      underWay -= 1;
      if (underWay === 0) {
        for (const resolve of onIdle) resolve();
        onIdle = [];
      }
    }
  }

  function refuse(error: unknown, response: ServerResponse): void {
    const known = asHoldfastError(error);
    if (known.code === 'HF_NOT_OWNER') counters.notOwner += 1;
    else counters.failures += 1;
    if (known.code === 'HF_COMPONENT_FAILED') {
      log.error({ err: known.cause ?? known }, 'the component threw while it answered');
    }
    if (response.headersSent || response.destroyed) {
      response.destroy(); // half an answer must not look like a whole one
      return;
    }
    if (known.code === 'HF_NOT_OWNER') refuseUnseen(response, known);
    else sendError(response, known);
  }

  return {
    handle: (request, response) => void handle(request, response),
    idle: () => (underWay === 0 ? Promise.resolve() : new Promise(resolve => onIdle.push(resolve))),
  };
}

/** Who asks, and whether this host serves that session. @throws HoldfastError HF_NOT_OWNER */
function admit(
  request: IncomingMessage,
  options: DataPlaneOptions,
): { serving: Serving; sessionId: SessionId } {
  const presented = header(request, CHANNEL_HEADERS.channel);
  const sessionId = header(request, CHANNEL_HEADERS.session) as SessionId;
  if (!verifyChannelKey(options.clusterSecret, sessionId, presented)) {
    throw new HoldfastError('HF_NOT_OWNER', 'the channel key is not valid for this session');
  }
  const serving = options.serving();
  // A port may have had another host before, and a host another session.
  if (serving?.sessionId !== sessionId) {
    throw new HoldfastError('HF_NOT_OWNER', 'this host does not serve that session');
  }
  return { serving, sessionId };
}

function placeOf(request: IncomingMessage) {
  const key = header(request, CHANNEL_HEADERS.resource) as ResourceKey;
  try {
    if (key === '') throw new RangeError('no key');
    return { key, fence: parseFence(header(request, CHANNEL_HEADERS.fence)) };
  } catch (cause) {
    throw new HoldfastError('HF_NOT_OWNER', 'the request names no key and fence', { cause });
  }
}

/** Null for a request that is one. */
function alarmOf(request: IncomingMessage): number | null {
  const text = header(request, CHANNEL_HEADERS.alarm);
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : null;
}

/** @throws HoldfastError as the guard, or what the component threw */
async function wake(
  guard: OwnershipGuard,
  alarm: Parameters<OwnershipGuard['alarm']>[0],
  response: ServerResponse,
): Promise<void> {
  const settled = await guard.alarm(alarm);
  // Not a refusal: the handler has run, so it comes again at its own pace and not at once.
  response.writeHead(settled ? 204 : 503).end();
}

/** Another host has just handed the key over, and the next request for it shall not wait for the opening. */
async function openAhead(
  guard: OwnershipGuard,
  place: Parameters<OwnershipGuard['open']>[0],
  response: ServerResponse,
): Promise<void> {
  await guard.open(place);
  response.writeHead(204).end();
}

/** `resource` is null when the component answers without owning anything. */
async function respond(
  fetch: (request: Request) => Promise<Response> | Response,
  request: IncomingMessage,
  response: ServerResponse,
  resource: Resource | null,
): Promise<void> {
  const input = toFetchRequest(request, response);
  // A process that was frozen may come here long after its time: timers of the component can run before the guard's.
  const mayAnswer = () => resource?.assertOwned();
  try {
    const answer: unknown = await fetch(input);
    if (!isResponse(answer)) throw new TypeError('fetch did not return a Response');
    await sendFetchResponse(answer, request, response, mayAnswer);
  } catch (cause) {
    if (!may(mayAnswer)) {
      reset(response);
      throw new HoldfastError('HF_NOT_OWNER', 'ownership ended while the request was answered', { cause });
    }
    // The client went away: there is nobody to tell, and nothing failed.
    if (response.destroyed && !response.headersSent) return;
    const known = asHoldfastError(cause);
    // This host is the wrong one, but the component has had the request, so nobody can say that nothing was executed, as a 421
    // would. A connection that breaks tells the router just that: it sends again what is safe to repeat, and nothing else.
    if (known.code === 'HF_NOT_OWNER' || known.code === 'HF_FENCED') response.destroy();
    throw known; // for the guard too: it gives a key back whose resource refuses the fence
  }
}

function may(assert: () => void): boolean {
  try {
    assert();
    return true;
  } catch {
    return false; // it says no by throwing
  }
}

/** Holdfast's errors keep their status; what a component throws otherwise shows its text, and its stack in the log. */
function asHoldfastError(cause: unknown): HoldfastError {
  // A package brings its own copy of the class, maybe of another version with other codes.
  if (cause instanceof HoldfastError && Object.hasOwn(errorTable, cause.code)) {
    const ours = cause.constructor === HoldfastError && Object.keys(cause.details).length === 0;
    return ours
      ? cause
      : new HoldfastError(cause.code, textOf(cause), { details: asJson(cause.details), cause });
  }
  return new HoldfastError('HF_COMPONENT_FAILED', textOf(cause), { cause });
}

/** As far as an answer can carry it: a fence in the details, say, is no JSON. */
function asJson(details: HoldfastError['details'] | undefined): Record<string, unknown> {
  try {
    return JSON.parse(JSON.stringify({ ...details })) as Record<string, unknown>;
  } catch {
    return {}; // the code and the message say the most
  }
}

function header(request: IncomingMessage, name: string): string {
  const value = request.headers[name];
  return typeof value === 'string' ? value : '';
}
