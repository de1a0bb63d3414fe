/**
 * One client's connection, as long as it sends nothing but plain requests: one exchange after the other, in order. The first
 * thing that `head.ts` does not accept, also half a head, goes to `node:http` with the connection and every byte that was not
 * read. That happens only between two exchanges, so answers never overtake each other.
 *
 * Memory: while an exchange is under way, of what follows it at most one read of the socket waits here.
 */
import type { Socket } from 'node:net';
import { withoutIPv6Prefix, type Exchange } from '../exchange.ts';
import { FastExchange } from './exchange.ts';
import { readHead, type Head } from './head.ts';

export interface FastConnectionPorts {
  onExchange: (exchange: Exchange) => void;
  /** The connection is Node's from here on; what was read of it and not used is back in the socket. */
  toNode: (socket: Socket) => void;
  /** It is no longer here: ended, or handed over. */
  onOver: (connection: FastConnection) => void;
  nowMs: () => number;
  /** For the header of that name. */
  date: () => string;
  /** The header lines that tell of it, with the end of the head. */
  keepAlive: string;
}

export class FastConnection {
  readonly socket: Socket;
  readonly remoteAddress: string;
  readonly #ports: FastConnectionPorts;
  /** Since when there has been nothing to do. */
  idleSinceMs: number;
  /** A first request has come. */
  spoke = false;
  #exchange: FastExchange | null = null;
  #last: Head | null = null;
  /** Of what comes after the exchange under way. */
  #rest: Buffer | null = null;
  #over = false;
  #stopping = false;
  /** Nothing more is read. */
  #ending = false;

  constructor(socket: Socket, ports: FastConnectionPorts) {
    this.socket = socket;
    this.#ports = ports;
    this.remoteAddress = withoutIPv6Prefix(socket.remoteAddress);
    this.idleSinceMs = ports.nowMs();
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onClose);
    socket.on('error', this.#onError);
    socket.on('drain', this.#onDrain);
    socket.on('timeout', this.#onTimeout);
  }

  get date(): string {
    return this.#ports.date();
  }

  get keepAlive(): string {
    return this.#ports.keepAlive;
  }

  get idle(): boolean {
    return this.#exchange === null && this.#rest === null;
  }

  /** Ends after the exchange under way, or the one that has come already; at once if there is none. */
  stop(): void {
    this.#stopping = true;
    if (this.#exchange) this.#exchange.closeAfter();
    else if (this.#rest === null) this.#hangUp();
  }

  /** The exchange has written all of its response, or read all of its request. */
  settle(): void {
    const exchange = this.#exchange;
    if (!exchange?.ended || this.#over) return;
    if (!exchange.received || this.socket.writableNeedDrain) {
      if (exchange.closing) this.#finish(exchange);
      return; // the rest of the body, or `drain`, comes here again
    }
    this.#finish(exchange);
  }

  /** Reads on, unless the next request waits already. */
  resume(): void {
    if (this.#rest === null && this.socket.isPaused()) this.socket.resume();
  }

  /** To `node:http`, which has time limits for those who do not speak. */
  handOver(): void {
    this.#leave();
    const { socket } = this;
    if (this.#rest) socket.unshift(this.#rest);
    this.#rest = null;
    this.#ports.toNode(socket);
    if (socket.isPaused()) socket.resume();
  }

  /** What comes after the last answer is nobody's request. */
  #hangUp(): void {
    this.#ending = true;
    this.#rest = null;
    this.socket.destroySoon();
  }

  #finish(exchange: FastExchange): void {
    this.#exchange = null;
    exchange.onClose?.();
    if (exchange.closing) return this.#hangUp();
    this.idleSinceMs = this.#ports.nowMs();
    if (this.#rest) setImmediate(this.#next);
    else if (this.socket.isPaused()) this.socket.resume();
  }

  /** The next request of a client that did not wait for the answer to the last one. */
  readonly #next = (): void => {
    const rest = this.#rest;
    if (!rest || this.#exchange || this.#over) return;
    this.#rest = null;
    if (this.socket.isPaused()) this.socket.resume();
    this.#begin(rest);
  };

  readonly #onData = (chunk: Buffer): void => {
    if (this.#ending) return;
    const exchange = this.#exchange;
    if (exchange === null && this.#rest === null) return this.#begin(chunk);
    const rest = exchange !== null && exchange.bodyLeft > 0 ? exchange.receive(chunk) : chunk;
    if (rest !== null) this.#wait(rest);
    // With the end of its body the exchange may have ended, when nobody knew of the rest.
    if (this.#exchange === null && this.#rest !== null) setImmediate(this.#next);
    else this.settle();
  };

  #wait(rest: Buffer): void {
    this.#rest = this.#rest ? Buffer.concat([this.#rest, rest]) : rest;
    this.socket.pause();
  }

  #begin(chunk: Buffer): void {
    const head = readHead(chunk, 0, this.#last);
    if (head === null) {
      this.#rest = chunk;
      return this.handOver();
    }
    this.#last = head;
    this.spoke = true;
    const bodyEnd = head.end + head.bodyBytes;
    const arrived = head.bodyBytes > 0 && chunk.length > head.end ? chunk.subarray(head.end, bodyEnd) : null;
    if (chunk.length > bodyEnd) this.#wait(chunk.subarray(bodyEnd));
    const exchange = new FastExchange(this, head, arrived);
    this.#exchange = exchange;
    if (this.#stopping) exchange.closeAfter();
    this.#ports.onExchange(exchange);
  }

  /** A client that closes its half is taken for one that has gone, as `node:http` does. */
  readonly #onEnd = (): void => {
    if (this.#exchange) this.#exchange.lost();
    this.#hangUp();
  };

  readonly #onClose = (): void => {
    const exchange = this.#exchange;
    this.#leave();
    this.#exchange = null;
    if (!exchange) return;
    exchange.lost();
    exchange.onClose?.();
  };

  readonly #onError = (): void => {}; // shows as the end of the connection; the error adds nothing

  readonly #onDrain = (): void => {
    const exchange = this.#exchange;
    if (!exchange) return;
    if (exchange.ended) this.settle();
    else exchange.onDrain?.();
  };

  readonly #onTimeout = (): void => {
    this.#exchange?.idle();
  };

  #leave(): void {
    if (this.#over) return;
    this.#over = true;
    this.socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    this.socket.off('error', this.#onError).off('drain', this.#onDrain).off('timeout', this.#onTimeout);
    this.socket.setTimeout(0);
    this.#ports.onOver(this);
  }
}
