/**
 * Answers routers and other hosts: what comes in frames never reaches the REST API, and only that reaches the component. Whatever is
 * not ours is refused by a frame of its own before the component has seen anything, which tells who asked that nothing was executed;
 * after the component has had it, the stream breaks instead.
 */
import {
  errorTable,
  HoldfastError,
  type Component,
  type Fence,
  type Logger,
  type Resource,
  type ResourceHandler,
  type ResourceKey,
  type SessionId,
  type System,
} from '#core';
import type { IncomingRequest } from '#frames';
import type { OwnershipGuard } from '#ownership';
import { breakOff, createAnswerResets } from './answer-resets.ts';
import type { Incoming } from './calls/incoming.ts';
import { channelLinesOf, type ChannelLines } from './channel-lines.ts';
import { refuseUnseen, sendError } from './error-response.ts';
import { LazyRequest } from './fetch/lazy-request.ts';
import { preparePlatform } from './fetch/platform.ts';
import { sendResponse } from './fetch/send-response.ts';
import { textOf } from './foreign.ts';
import type { HostCounters } from './metrics.ts';
import type { Sockets } from './websockets/sockets.ts';

/** What answers while the component is started and its session lives. */
export interface Serving {
  component: Component;
  guard: OwnershipGuard;
  incoming: Incoming;
  sessionId: SessionId;
}

export interface DataPlaneOptions {
  system: System;
  log: Logger;
  counters: HostCounters;
  /** Null while nothing is served. */
  serving: () => Serving | null;
}

export interface DataPlane {
  /** @param sessionId the one that its connection was made for */
  handle(request: IncomingRequest, sessionId: string): void;
  /** The key, or (null) all that this host answers for, is about to be given up: its sockets end. */
  leave(key: ResourceKey | null): void;
  /** Resolves when no request is under way. */
  idle(): Promise<void>;
}

export function createDataPlane(options: DataPlaneOptions): DataPlane {
  const { log, counters } = options;
  let underWay = 0;
  let onIdle: (() => void)[] = [];
  const resets = createAnswerResets();
  /** Made when somebody asks for the first. */
  let sockets: Sockets | null = null;
  preparePlatform();

  async function answer(request: IncomingRequest, sessionId: string): Promise<void> {
    const serving = options.serving();
    // A port may have had another host before, and a host another session.
    if (serving === null || serving.sessionId !== sessionId) {
      throw new HoldfastError('HF_NOT_OWNER', 'this host does not serve that session');
    }
    const { component, guard, incoming } = serving;
    const lines = channelLinesOf(request);
    const asked = incoming.answerQuestion(lines);
    if (asked) return sendJson(request, await asked);
    if (component.openResource) {
      const place = { ...placeOf(request), sessionId: serving.sessionId };
      const atMs = alarmOf(lines);
      if (atMs !== null) return wake(guard, { ...place, atMs }, request);
      if (lines.open !== null) return openAhead(guard, place, request);
      if (request.upgrade)
        return guard.serve(place, (handler, resource) => openSocket(request, handler, resource));
      await incoming.serve({ request, lines }, place.key, run =>
        guard.serve(place, (handler, resource) => serveKey(run, request, handler, resource)),
      );
      return;
    }
    if (request.upgrade) return openSocket(request, component, null);
    if (!component.fetch) {
      throw new HoldfastError('HF_UNAVAILABLE', 'the component answers no HTTP requests');
    }
    await incoming.serve({ request, lines }, null, run =>
      run(() => respond(input => component.fetch!(input), request, null)),
    );
  }

  async function serveKey(
    run: (respond: () => Promise<void>) => Promise<void>,
    request: IncomingRequest,
    handler: ResourceHandler,
    resource: Resource,
  ): Promise<void> {
    resets.watch(resource, request);
    try {
      await run(() => respond(input => handler.fetch(input), request, resource));
    } finally {
      resets.forget(resource, request);
    }
  }

  async function openSocket(
    request: IncomingRequest,
    target: Pick<ResourceHandler, 'upgrade'>,
    resource: Resource | null,
  ): Promise<void> {
    if (!target.upgrade) throw new HoldfastError('HF_NOT_IMPLEMENTED', 'the component takes no WebSockets');
    if (resource) resets.watch(resource, request);
    try {
      sockets ??= (await import('./websockets/sockets.ts')).createSockets(options);
      await sockets.serve({ request, resource }, upgrade => target.upgrade!(upgrade));
    } finally {
      if (resource) resets.forget(resource, request);
    }
  }

  async function handle(request: IncomingRequest, sessionId: string): Promise<void> {
    underWay += 1;
    counters.requests += 1;
    try {
      await answer(request, sessionId);
    } catch (error) {
      refuse(error, request);
    } finally {
      underWay -= 1;
      if (underWay === 0) {
        for (const resolve of onIdle) resolve();
        onIdle = [];
      }
    }
  }

  function refuse(error: unknown, request: IncomingRequest): void {
    const known = asHoldfastError(error);
    if (known.code === 'HF_NOT_OWNER') counters.notOwner += 1;
    else counters.failures += 1;
    if (known.code === 'HF_COMPONENT_FAILED') {
      log.error({ err: known.cause ?? known }, 'the component threw while it answered');
    }
    if (request.closed) return;
    if (request.answered) return breakOff(request); // half an answer must not look like a whole one
    if (known.code === 'HF_NOT_OWNER') refuseUnseen(request, known);
    else sendError(request, known);
  }

  return {
    leave: key => sockets?.leave(key),
    handle: (request, sessionId) => void handle(request, sessionId),
    idle: () => (underWay === 0 ? Promise.resolve() : new Promise(resolve => onIdle.push(resolve))),
  };
}

function placeOf({ key, fence }: IncomingRequest): { key: ResourceKey; fence: Fence } {
  if (key === '') throw new HoldfastError('HF_NOT_OWNER', 'the request names no key and fence');
  return { key: key as ResourceKey, fence: fence as Fence };
}

/** Null for a request that is one. */
function alarmOf({ alarm }: ChannelLines): number | null {
  return alarm !== null && /^[0-9]{1,15}$/.test(alarm) ? Number(alarm) : null;
}

/** @throws HoldfastError as the guard, or what the component threw */
async function wake(
  guard: OwnershipGuard,
  alarm: Parameters<OwnershipGuard['alarm']>[0],
  request: IncomingRequest,
): Promise<void> {
  const settled = await guard.alarm(alarm);
  // Not a refusal: the handler has run, so it comes again at its own pace and not at once.
  request.respond({ status: settled ? 204 : 503, reason: '', headers: '' }, null, true);
}

/** Another host has just handed the key over, and the next request for it shall not wait for the opening. */
async function openAhead(
  guard: OwnershipGuard,
  place: Parameters<OwnershipGuard['open']>[0],
  request: IncomingRequest,
): Promise<void> {
  await guard.open(place);
  request.respond({ status: 204, reason: '', headers: '' }, null, true);
}

function sendJson(request: IncomingRequest, text: string): void {
  const headers = 'content-type: application/json\r\n';
  request.respond({ status: 200, reason: '', headers }, text, true);
}

/** `resource` is null when the component answers without owning anything. */
async function respond(
  fetch: (request: Request) => Promise<Response> | Response,
  request: IncomingRequest,
  resource: Resource | null,
): Promise<void> {
  // A process that was frozen may come here long after its time: timers of the component can run before the guard's.
  const mayAnswer = () => resource?.assertOwned();
  try {
    const input = new LazyRequest(request) as unknown as Request;
    const sending = sendResponse(await fetch(input), request, mayAnswer);
    if (sending !== null) await sending;
  } catch (cause) {
    if (!may(mayAnswer)) {
      breakOff(request);
      throw new HoldfastError('HF_NOT_OWNER', 'ownership ended while the request was answered', { cause });
    }
    // The client went away: there is nobody to tell, and nothing failed.
    if (request.closed && !request.answered) return;
    const known = asHoldfastError(cause);
    // This host is the wrong one, but the component has had the request, so nobody can say that nothing was executed, as a refusal
    // would. A stream that breaks tells the router just that: it sends again what is safe to repeat, and nothing else.
    if (known.code === 'HF_NOT_OWNER' || known.code === 'HF_FENCED') breakOff(request);
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
