/**
 * WebSockets of a component: the handshake (the library `ws` speaks the protocol), messages one at a time, and an end that clients
 * understand. A socket counts as a request in flight for as long as it is open; so a key is handed on, and a host stops, only when
 * its sockets have ended: they are asked to leave at once, and broken off at the deadline like any request.
 */
import { WebSocketServer, type RawData, type WebSocket } from 'ws';
import {
  HoldfastError,
  type Logger,
  type Resource,
  type ResourceKey,
  type System,
  type WebSocketConnection,
  type WebSocketEvents,
  type WebSocketUpgrade,
} from '#core';
import { findHeader, type IncomingRequest } from '#frames';
import { LazyRequest } from '../fetch/lazy-request.ts';
import { sendResponse } from '../fetch/send-response.ts';
import { FrameDuplex } from './frame-duplex.ts';

export interface Sockets {
  /** Resolves when the socket has ended, or was refused. @throws what the component threw before it accepted */
  serve(place: SocketPlace, upgrade: Upgrade): Promise<void>;
  /** The key's right, or (null) everything here, is about to be given up. */
  leave(key: ResourceKey | null): void;
}

export interface SocketPlace {
  request: IncomingRequest;
  /** Null when the component answers without owning anything. */
  resource: Resource | null;
}

type Upgrade = (upgrade: WebSocketUpgrade) => Promise<Response | void> | Response | void;

/** The resource or the host goes elsewhere: come again. */
const serviceRestart = 1012;
const internalError = 1011;
const messageBytesMax = 16 * 1024 * 1024;
/** What a component may have sent that the client has not taken. */
const bufferedBytesMax = 8 * 1024 * 1024;
/** How long a client may take to confirm the end. */
const closingMs = 2_000;

export function createSockets({ log, system }: { log: Logger; system: System }): Sockets {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: messageBytesMax,
    perMessageDeflate: false,
    handleProtocols: () => false,
  });
  const open = new Map<ResourceKey | null, Set<Socket>>();

  function enter(key: ResourceKey | null, socket: Socket): () => void {
    let sockets = open.get(key);
    if (!sockets) open.set(key, (sockets = new Set()));
    sockets.add(socket);
    return () => {
      sockets.delete(socket);
      if (sockets.size === 0 && open.get(key) === sockets) open.delete(key);
    };
  }

  return {
    async serve({ request, resource }, upgrade) {
      const offered = (findHeader(request.headers, 'sec-websocket-protocol') ?? '').split(',');
      const protocols = offered.map(name => name.trim()).filter(name => name !== '');
      let socket: Socket | null = null;
      const accepted = Promise.withResolvers<void>();
      const answer = await upgrade({
        request: new LazyRequest(request) as unknown as Request,
        protocols,
        accept(events = {}) {
          if (socket || request.answered) throw new TypeError('an upgrade is answered once');
          const { protocol = '' } = events;
          if (protocol !== '' && !protocols.includes(protocol)) {
            throw new TypeError(`the client offers no sub-protocol ${JSON.stringify(protocol)}`);
          }
          const ws = handshake(server, request, protocol);
          const leave = enter(
            (resource?.key ?? null) as ResourceKey | null,
            (socket = new Socket(ws, events, resource, { log, system })),
          );
          ws.once('close', () => {
            leave();
            accepted.resolve();
          });
          return socket;
        },
      });
      if (socket) return accepted.promise;
      if (!answer) throw new TypeError('upgrade neither accepted nor returned a Response');
      await sendResponse(answer, request, () => resource?.assertOwned());
    },
    leave(key) {
      const leaving = key === null ? [...open.values()] : [open.get(key) ?? []];
      for (const sockets of leaving) for (const socket of sockets) void socket.leave();
    },
  };
}

/** @throws HoldfastError HF_REQUEST_INVALID for what is no handshake */
function handshake(server: WebSocketServer, request: IncomingRequest, protocol: string): WebSocket {
  const header = (name: string) => findHeader(request.headers, name) ?? undefined;
  const headers = {
    connection: 'upgrade',
    upgrade: 'websocket',
    'sec-websocket-key': header('sec-websocket-key'),
    'sec-websocket-version': header('sec-websocket-version'),
    ...(protocol === '' ? {} : { 'sec-websocket-protocol': protocol }),
  };
  if (
    !/^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? '') ||
    headers['sec-websocket-version'] !== '13'
  ) {
    throw new HoldfastError('HF_REQUEST_INVALID', 'this is no handshake of WebSocket version 13');
  }
  let made: WebSocket | null = null;
  server.options.handleProtocols = () => (protocol === '' ? false : protocol);
  // All that the library looks at in a request.
  const shaken = { method: 'GET', url: request.target, headers } as unknown as Parameters<
    WebSocketServer['handleUpgrade']
  >[0];
  server.handleUpgrade(shaken, new FrameDuplex(request), Buffer.alloc(0), ws => (made = ws));
  if (!made) throw new HoldfastError('HF_REQUEST_INVALID', 'the handshake of the WebSocket failed');
  return made;
}

class Socket implements WebSocketConnection {
  readonly #ws: WebSocket;
  readonly #events: WebSocketEvents;
  readonly #resource: Resource | null;
  readonly #log: Logger;
  readonly #system: System;
  /** Messages wait for this; null while there is nothing to wait for. */
  #busy: Promise<void> | null = null;
  #leaving = false;

  constructor(
    ws: WebSocket,
    events: WebSocketEvents,
    resource: Resource | null,
    { log, system }: { log: Logger; system: System },
  ) {
    this.#ws = ws;
    this.#events = events;
    this.#resource = resource;
    this.#log = log;
    this.#system = system;
    ws.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    ws.on('error', () => {}); // a close follows, with what there is to say
    ws.once('close', (code, reason) => void this.#call(() => events.onClose?.(code, reason.toString())));
  }

  get protocol(): string {
    return this.#ws.protocol;
  }

  get bufferedBytes(): number {
    return this.#ws.bufferedAmount;
  }

  send(data: string | Uint8Array): Promise<boolean> {
    if (this.#ws.readyState !== this.#ws.OPEN) return Promise.resolve(false);
    if (!this.#owned() || this.#ws.bufferedAmount > bufferedBytesMax) {
      this.#ws.terminate();
      return Promise.resolve(false);
    }
    return new Promise(resolve => this.#ws.send(data, error => resolve(!error)));
  }

  close(code = 1000, reason = ''): void {
    this.#ws.close(code, reason);
    this.#system.timers.after(closingMs, () => this.#ws.terminate());
  }

  /** Gives the component its chance, and then ends. */
  async leave(): Promise<void> {
    if (this.#leaving) return;
    this.#leaving = true;
    try {
      await this.#events.onLeaving?.();
    } catch (error) {
      this.#log.error({ err: error }, 'the component threw while its socket was leaving');
    }
    await this.#busy; // what it is at work on is answered
    this.close(serviceRestart, 'moved; connect again');
  }

  #owned(): boolean {
    try {
      this.#resource?.assertOwned();
      return true;
    } catch {
      return false; // it says no by throwing
    }
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    const { onMessage } = this.#events;
    if (!onMessage) return;
    const run = () => {
      if (this.#owned()) return onMessage(isBinary ? (data as Buffer) : (data as Buffer).toString('utf8'));
      this.#ws.terminate();
    };
    if (this.#busy) this.#wait(this.#busy.then(async () => void (await this.#call(run))));
    else {
      const going = this.#call(run);
      if (going) this.#wait(going);
    }
  }

  /** The next message comes when this one is done. What the last packet held waits here. */
  #wait(going: Promise<void>): void {
    this.#ws.pause();
    const busy = going.then(() => {
      if (this.#busy !== busy) return;
      this.#busy = null;
      this.#ws.resume();
    });
    this.#busy = busy;
  }

  /** Never rejects. */
  #call(run: () => Promise<void> | void): Promise<void> | null {
    const failed = (error: unknown) => {
      this.#log.error({ err: error }, 'the component threw while it served a WebSocket');
      this.close(internalError, 'the component failed');
    };
    try {
      const going = run();
      return going ? going.catch(failed) : null;
    } catch (error) {
      failed(error);
      return null;
    }
  }
}
