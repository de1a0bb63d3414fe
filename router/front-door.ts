/**
 * The HTTP server: limits, what is answered without an owner (health page, malformed requests, no route, upgrades), and
 * a stop that lets requests in flight finish.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  acceptableRequestId,
  answerOnSocket,
  createHttpServer,
  HoldfastError,
  toErrorBody,
  type Logger,
  type System,
} from '#core';
import { canonicalTarget } from '#ownership';
import { answerError, type StatedError } from './answers.ts';
import type { Counters } from './counters.ts';
import type { Forward } from './forwarding.ts';
import { healthHtml, wantsHtml, type HealthPage } from './health-page.ts';
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

const headerBytesMax = 16 * 1024;
const keepAliveMs = 65_000;

export function createFrontDoor(deps: FrontDoorDeps): FrontDoor {
  const { settings, system, log, counters, forward, routing } = deps;
  const idPrefix = system.random.id(10);
  let serial = 0;
  let stopping = false;
  const active = new Set<ServerResponse>();
  const newId = () => `${idPrefix}-${(serial++).toString(36)}`;

  function onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    counters.requests += 1;
    counters.active += 1;
    active.add(response);
    response.on('error', () => {}); // a broken connection shows as the end of the response; its error adds nothing
    response.once('close', () => {
      counters.active -= 1;
      active.delete(response);
      if (stopping) request.socket.destroySoon();
    });
    if (stopping) response.shouldKeepAlive = false;
    const requestId = acceptableRequestId(request.headers['x-request-id']) ?? newId();
    const exchange = { request, response, requestId, system };
    serve(request, response, requestId, expectsContinue)
      .then(error => {
        if (error) answerError(exchange, error);
      })
      .catch((error: unknown) => {
        if (error instanceof HoldfastError) return answerError(exchange, error);
        log.error({ err: error, requestId }, 'a request failed by a defect');
        answerError(exchange, new HoldfastError('HF_INTERNAL', 'an internal error; the log has the cause'));
      });
  }

  async function serve(
    request: IncomingMessage,
    response: ServerResponse,
    requestId: string,
    expectsContinue: boolean,
  ): Promise<HoldfastError | StatedError | null> {
    if (counters.active > settings.maxRequests) {
      return new HoldfastError('HF_UNAVAILABLE', 'the router serves as many requests as it may already');
    }
    const coding = request.headers['transfer-encoding'];
    if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
      return new HoldfastError('HF_NOT_IMPLEMENTED', 'of transfer codings only chunked is understood');
    }
    const { path, query, authority } = canonicalTarget(request.url!);
    if (path === '/' && (request.method === 'GET' || request.method === 'HEAD')) {
      sendHealth(request, response, requestId);
      return null;
    }
    const current = routing();
    if (!current)
      return new HoldfastError('HF_UNAVAILABLE', 'the router has not read the cluster settings yet');
    const route = findRoute(current.table, path);
    if (!route) return new HoldfastError('HF_NO_ROUTE', `no route covers ${path}`);
    const { holdMs } = current;
    return forward({ request, response, requestId, path, query, authority, route, holdMs, expectsContinue });
  }

  function sendHealth(request: IncomingMessage, response: ServerResponse, requestId: string): void {
    const html = wantsHtml(request.headers.accept);
    const page = deps.health();
    const body = Buffer.from(html ? healthHtml(page) : `${JSON.stringify(page, null, 2)}\n`);
    response.writeHead(200, {
      'content-type': html ? 'text/html; charset=utf-8' : 'application/json; charset=utf-8',
      'content-length': body.length,
      'cache-control': 'no-store',
      'x-request-id': requestId,
    });
    request.resume();
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  function refuseOnSocket(request: IncomingMessage, socket: Duplex, message: string): void {
    socket.on('error', () => socket.destroy());
    const id = acceptableRequestId(request.headers['x-request-id']) ?? newId();
    answerOnSocket(socket, toErrorBody(new HoldfastError('HF_NOT_IMPLEMENTED', message)), id);
  }

  const server = createHttpServer({
    headerBytesMax,
    keepAliveMs,
    requestMs: 0, // uploads may take long; `request-body.ts` watches that they move
    newRequestId: newId,
    onRequest: (request, response) => onRequest(request, response, false),
    onExpectation: (request, response) => onRequest(request, response, true),
    // Other upgrades (h2c) are offers that a server may pass over.
    shouldUpgrade: request => request.headers.upgrade?.toLowerCase() === 'websocket',
  });
  server.on('upgrade', (request, socket) => {
    refuseOnSocket(request, socket, 'WebSocket upgrades are not passed on yet');
  });
  server.on('connect', (request, socket) => refuseOnSocket(request, socket, 'CONNECT is not supported'));

  return {
    listen() {
      stopping = false;
      return listen(server, settings);
    },
    address() {
      const { address, port } = server.address() as AddressInfo;
      return { host: address, port };
    },
    async close(signal) {
      if (!server.listening) return;
      stopping = true;
      const closed = new Promise<void>(resolve => server.close(() => resolve()));
      for (const response of active) if (!response.headersSent) response.shouldKeepAlive = false;
      const hurry = () => server.closeAllConnections();
      if (signal.aborted) hurry();
      else signal.addEventListener('abort', hurry, { once: true });
      await closed;
      signal.removeEventListener('abort', hurry);
    },
  };
}

function listen(server: Server, { host, port }: RouterSettings): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: Error & { code?: string }) => {
      const inUse = cause.code === 'EADDRINUSE';
      reject(
        new HoldfastError(
          inUse ? 'HF_PORT_IN_USE' : 'HF_START_FAILED',
          inUse
            ? `another program listens on ${host}:${port}`
            : `cannot listen on ${host}:${port}: ${cause.message}`,
          { details: { host, port }, cause },
        ),
      );
    };
    server.once('error', onError);
    server.listen(port, host, () => {
      server.off('error', onError);
      resolve();
    });
  });
}
