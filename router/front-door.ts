/**
 * What is answered without an owner (health page, no route, upgrades, too much at once), and the way of everything else to one.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  acceptableRequestId,
  answerOnSocket,
  HoldfastError,
  toErrorBody,
  type Logger,
  type System,
} from '#core';
import { canonicalTarget } from '#ownership';
import { answerError, type StatedError } from './answers.ts';
import type { Counters } from './counters.ts';
import { soleValue, type Exchange } from './exchange.ts';
import type { Forward } from './forwarding.ts';
import { healthHtml, wantsHtml, type HealthPage } from './health-page.ts';
import { createListener } from './listener.ts';
import { findRoute } from './route-table.ts';
import type { Routing } from './routing.ts';
import type { RouterSettings } from './settings.ts';

export interface FrontDoor {
  /** @throws HoldfastError HF_PORT_IN_USE */
  listen(): Promise<void>;
  address(): { host: string; port: number };
  /** Accepts nothing more; resolves when all requests have ended, which the signal hurries. */
  close(signal: AbortSignal): Promise<void>;
}

export interface FrontDoorDeps {
  settings: RouterSettings;
  system: System;
  log: Logger;
  counters: Counters;
  forward: Forward;
  /** Null until the settings have come. */
  routing: () => Routing | null;
  health: () => HealthPage;
}

export function createFrontDoor(deps: FrontDoorDeps): FrontDoor {
  const { settings, system, log, counters, forward, routing } = deps;
  const idPrefix = system.random.id(10);
  let serial = 0;
  const active = new Set<Exchange>();
  const newId = () => `${idPrefix}-${(serial++).toString(36)}`;

  function onExchange(exchange: Exchange): void {
    counters.requests += 1;
    if (exchange.upgrade) counters.tunnels += 1;
    else counters.active += 1;
    active.add(exchange);
    exchange.onClose = () => {
      if (exchange.upgrade) counters.tunnels -= 1;
      else counters.active -= 1;
      active.delete(exchange);
    };
    const requestId = acceptableRequestId(soleValue(exchange, 'x-request-id')) ?? newId();
    const answerable = { exchange, requestId, system };
    serve(exchange, requestId)
      .then(error => {
        if (error) answerError(answerable, error);
      })
      .catch((error: unknown) => {
        if (error instanceof HoldfastError) return answerError(answerable, error);
        log.error({ err: error, requestId }, 'a request failed by a defect');
        answerError(answerable, new HoldfastError('HF_INTERNAL', 'an internal error; the log has the cause'));
      });
  }

  async function serve(exchange: Exchange, requestId: string): Promise<HoldfastError | StatedError | null> {
    if (!exchange.upgrade && counters.active > settings.maxRequests) {
      return new HoldfastError('HF_UNAVAILABLE', 'the router serves as many requests as it may already');
    }
    if (exchange.upgrade && counters.tunnels > settings.maxWebSockets) {
      return new HoldfastError('HF_UNAVAILABLE', 'the router carries as many WebSockets as it may already');
    }
    const codings =
      exchange.announcedBytes === null && !exchange.upgrade ? exchange.values('transfer-encoding') : [];
    if (codings.some(coding => coding.toLowerCase() !== 'chunked') || codings.length > 1) {
      return new HoldfastError('HF_NOT_IMPLEMENTED', 'of transfer codings only chunked is understood');
    }
    const { path, query, authority } = canonicalTarget(exchange.target);
    if (path === '/' && (exchange.method === 'GET' || exchange.method === 'HEAD')) {
      sendHealth(exchange, requestId);
      return null;
    }
    const current = routing();
    if (!current)
      return new HoldfastError('HF_UNAVAILABLE', 'the router has not read the cluster settings yet');
    const route = findRoute(current.table, path);
    if (!route) return new HoldfastError('HF_NO_ROUTE', `no route covers ${path}`);
    return forward({ exchange, requestId, path, query, authority, route, holdMs: current.holdMs });
  }

  function sendHealth(exchange: Exchange, requestId: string): void {
    const html = wantsHtml(exchange.values('accept').join());
    const page = deps.health();
    const body = Buffer.from(html ? healthHtml(page) : `${JSON.stringify(page, null, 2)}\n`);
    exchange.respond(200, [
      'content-type',
      html ? 'text/html; charset=utf-8' : 'application/json; charset=utf-8',
      'content-length',
      String(body.length),
      'cache-control',
      'no-store',
      'x-request-id',
      requestId,
    ]);
    exchange.discardBody();
    exchange.end(exchange.method === 'HEAD' ? undefined : body);
  }

  function refuseOnSocket(request: IncomingMessage, socket: Duplex, message: string): void {
    socket.on('error', () => socket.destroy());
    const id = acceptableRequestId(request.headers['x-request-id']) ?? newId();
    answerOnSocket(socket, toErrorBody(new HoldfastError('HF_NOT_IMPLEMENTED', message)), id);
  }

  const listener = createListener({
    system,
    newRequestId: newId,
    onExchange,
    onConnect: (request, socket) => refuseOnSocket(request, socket, 'CONNECT is not supported'),
  });

  return {
    listen: () => listener.listen(settings),
    address: () => listener.address(),
    close(signal) {
      for (const exchange of active) exchange.closeAfter();
      return listener.close(signal);
    },
  };
}
