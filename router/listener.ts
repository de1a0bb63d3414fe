/**
 * The port: takes connections and makes exchanges of what comes. Each begins on the fast path (`fast/`) and stays there as long
 * as it sends plain requests; the rest goes to `node:http`, with its limits and time limits. Both share one server, so that one
 * close ends both.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createHttpServer, HoldfastError, type System } from '#core';
import type { Exchange } from './exchange.ts';
import { FastConnection, type FastConnectionPorts } from './fast/connection.ts';
import { NodeExchange } from './node-exchange.ts';

export interface Listener {
  /** @throws HoldfastError HF_PORT_IN_USE, HF_START_FAILED */
  listen(at: { host: string; port: number }): Promise<void>;
  address(): { host: string; port: number };
  /** Accepts nothing more; idle connections end, the others after their exchange, or at once when the signal aborts. */
  close(signal: AbortSignal): Promise<void>;
}

export interface ListenerDeps {
  system: System;
  newRequestId: () => string;
  onExchange: (exchange: Exchange) => void;
  /** A request to speak another protocol from here on. */
  onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  onConnect: (request: IncomingMessage, socket: Duplex) => void;
}

const headerBytesMax = 16 * 1024;
const keepAliveMs = 65_000;
/** How often connections are looked at that have nothing to do. */
const sweepMs = 5_000;

export function createListener({ system, ...deps }: ListenerDeps): Listener {
  const fast = new Set<FastConnection>();
  let cancelSweep = () => {};
  let stopping = false;

  const server = createHttpServer({
    headerBytesMax,
    keepAliveMs,
    requestMs: 0, // uploads may take long; who reads a body watches that it moves
    newRequestId: deps.newRequestId,
    onRequest: (request, response) => begin(new NodeExchange(request, response, false)),
    onExpectation: (request, response) => begin(new NodeExchange(request, response, true)),
    // Other upgrades (h2c) are offers that a server may pass over.
    shouldUpgrade: request => request.headers.upgrade?.toLowerCase() === 'websocket',
  });
  server.on('upgrade', deps.onUpgrade);
  server.on('connect', deps.onConnect);
  const [toNode] = server.listeners('connection') as [(this: Server, socket: Socket) => void];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => fast.add(new FastConnection(socket, ports)));

  function begin(exchange: Exchange): void {
    if (stopping) exchange.closeAfter();
    deps.onExchange(exchange);
  }

  const ports: FastConnectionPorts = {
    onExchange: begin,
    toNode: socket => toNode.call(server, socket),
    onOver: connection => fast.delete(connection),
    nowMs: () => system.clock.monotonicMs(),
    date: createDate(system),
    keepAlive: `connection: keep-alive\r\nkeep-alive: timeout=${keepAliveMs / 1_000}\r\n\r\n`,
  };

  function sweep(): void {
    const nowMs = system.clock.monotonicMs();
    for (const connection of fast) {
      if (!connection.idle) continue;
      if (!connection.spoke) connection.handOver();
      else if (nowMs - connection.idleSinceMs > keepAliveMs) connection.stop();
    }
  }

  return {
    listen({ host, port }) {
      stopping = false;
      return new Promise((resolve, reject) => {
        const onError = (cause: Error & { code?: string }) => reject(listenError(cause, { host, port }));
        server.once('error', onError);
        server.listen(port, host, () => {
          server.off('error', onError);
          cancelSweep = system.timers.every(sweepMs, sweep);
          resolve();
        });
      });
    },
    address() {
      const { address, port } = server.address() as AddressInfo;
      return { host: address, port };
    },
    async close(signal) {
      if (!server.listening) return;
      stopping = true;
      const closed = new Promise<void>(resolve => server.close(() => resolve()));
      for (const connection of fast) connection.stop();
      const hurry = () => {
        server.closeAllConnections();
        for (const connection of fast) connection.socket.destroy();
      };
      if (signal.aborted) hurry();
      else signal.addEventListener('abort', hurry, { once: true });
      await closed;
      signal.removeEventListener('abort', hurry);
      cancelSweep();
    },
  };
}

/** The time as HTTP writes it, made once a second. */
function createDate({ clock }: System): () => string {
  let second = 0;
  let text = '';
  return () => {
    const now = Math.floor(clock.wallMs() / 1_000);
    if (now !== second) text = new Date((second = now) * 1_000).toUTCString();
    return text;
  };
}

function listenError(
  cause: Error & { code?: string },
  { host, port }: { host: string; port: number },
): HoldfastError {
  const inUse = cause.code === 'EADDRINUSE';
  return new HoldfastError(
    inUse ? 'HF_PORT_IN_USE' : 'HF_START_FAILED',
    inUse
      ? `another program listens on ${host}:${port}`
      : `cannot listen on ${host}:${port}: ${cause.message}`,
    { details: { host, port }, cause },
  );
}
