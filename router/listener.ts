/**
 * The port: takes connections and makes exchanges of what comes. Each begins on the fast path (`fast/`) and stays there as long
 * as it sends plain requests; the rest goes to `node:http`, with its limits and time limits. Both share one server, so that one
 * close ends both.
 */
import type { IncomingMessage, Server } from 'node:http';
import { Server as NetServer, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createHttpServer, HoldfastError, type System } from '#core';
import type { Exchange } from './exchange.ts';
import { FastConnection, type FastConnectionPorts } from './fast/connection.ts';
import { NodeExchange } from './node-exchange.ts';
import { TunnelExchange } from './tunnel-exchange.ts';

export interface Listener {
  /**
   * @param at `reusePort`: other processes that say the same may listen on the port too; the system deals the connections out
   * @throws HoldfastError HF_PORT_IN_USE, HF_START_FAILED
   */
  listen(at: ListenAt): Promise<void>;
  address(): { host: string; port: number };
  /** Accepts nothing more; idle connections end, the others after their exchange, or at once when the signal aborts. */
  close(signal: AbortSignal): Promise<void>;
}

interface ListenAt {
  host: string;
  port: number;
  reusePort: boolean;
}

export interface ListenerDeps {
  system: System;
  newRequestId: () => string;
  onExchange: (exchange: Exchange) => void;
  onConnect: (request: IncomingMessage, socket: Duplex) => void;
}

const headerBytesMax = 16 * 1024;
const keepAliveMs = 65_000;
/** How often connections are looked at that have nothing to do. */
const sweepMs = 5_000;
/** How long clients may still send a request over a connection that they have, while others already take the new ones. */
const graceMs = 1_000;
/** Turns that a stop spends at most on connections that wait; the queue of a port has 511 places. */
const turnsMax = 2_000;

export function createListener({ system, ...deps }: ListenerDeps): Listener {
  const fast = new Set<FastConnection>();
  let cancelSweep = () => {};
  let stopping = false;
  let shared = false;
  /** Connections since the start. */
  let taken = 0;

  const server = createHttpServer({
    headerBytesMax,
    keepAliveMs,
    requestMs: 0, // uploads may take long; who reads a body watches that it moves
    newRequestId: deps.newRequestId,
    onRequest: (request, response) => begin(new NodeExchange(request, response, false)),
    onExpectation: (request, response) => begin(new NodeExchange(request, response, true)),
    // Other upgrades (h2c) are offers that a server may pass over.
    shouldUpgrade: isWebSocket,
  });
  server.on('upgrade', (request, socket, early) =>
    begin(new TunnelExchange(request, socket as Socket, early)),
  );
  server.on('connect', deps.onConnect);
  const [toNode] = server.listeners('connection') as [(this: Server, socket: Socket) => void];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    taken += 1;
    fast.add(new FastConnection(socket, ports));
  });

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

  /**
   * What the system has accepted for this process nobody else can have, and a close would reset it: takes connections until a whole
   * turn of the event loop has brought none. The close follows in the same turn, right after the poll.
   */
  async function takeAll(signal: AbortSignal): Promise<void> {
    let before = -1;
    for (let turns = 0; turns < turnsMax && before !== taken && !signal.aborted; turns += 1) {
      before = taken;
      // The first may come right after a poll that was before now.
      await new Promise(resolve => setImmediate(() => setImmediate(resolve)));
    }
  }

  function sweep(): void {
    const nowMs = system.clock.monotonicMs();
    for (const connection of fast) {
      if (!connection.idle) continue;
      if (!connection.spoke) connection.handOver();
      else if (nowMs - connection.idleSinceMs > keepAliveMs) connection.stop();
    }
  }

  return {
    listen(at) {
      stopping = false;
      shared = at.reusePort;
      return new Promise((resolve, reject) => {
        if (shared && process.platform !== 'linux') throw noReusePort(at);
        const onError = (cause: Error & { code?: string }) => reject(listenError(cause, at));
        server.once('error', onError);
        server.listen({ host: at.host, port: at.port, reusePort: shared }, () => {
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
      if (shared) await takeAll(signal);
      const closed = new Promise<void>(resolve => NetServer.prototype.close.call(server, () => resolve()));
      const endIdle = () => {
        for (const connection of fast) connection.stop();
        server.close(() => {}); // it is closed already; this ends idle connections and the checks
      };
      const hurry = () => {
        endIdle();
        server.closeAllConnections();
        for (const connection of fast) connection.socket.destroy();
      };
      let cancelGrace = () => {};
      if (signal.aborted) hurry();
      else {
        signal.addEventListener('abort', hurry, { once: true });
        if (shared) cancelGrace = system.timers.after(graceMs, endIdle, { keepAlive: true });
        else endIdle();
      }
      await closed;
      cancelGrace();
      signal.removeEventListener('abort', hurry);
      cancelSweep();
    },
  };
}

/** One with a body is a request like any: the body would have to end before the tunnel begins. */
function isWebSocket({ method, headers }: IncomingMessage): boolean {
  const bodiless = headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0;
  return method === 'GET' && bodiless && headers.upgrade?.toLowerCase() === 'websocket';
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

function listenError(cause: Error & { code?: string }, { host, port, reusePort }: ListenAt): HoldfastError {
  const inUse = cause.code === 'EADDRINUSE';
  return new HoldfastError(
    inUse ? 'HF_PORT_IN_USE' : 'HF_START_FAILED',
    inUse
      ? `another program listens on ${host}:${port}${reusePort ? ', which does not share it (reusePort) or belongs to another user' : ''}`
      : `cannot listen on ${host}:${port}: ${cause.message}`,
    { details: { host, port }, cause },
  );
}

function noReusePort({ host, port }: ListenAt): HoldfastError {
  return new HoldfastError(
    'HF_START_FAILED',
    `cannot share ${host}:${port}: the setting reusePort needs Linux; here one router listens on a port`,
    { details: { host, port } },
  );
}
