/** The accepting end: makes a connection of an HTTP upgrade, and proves to the peer that the cluster secret is known here. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { System } from '#core';
import { AnswerLink, type IncomingRequest } from './answer-link.ts';
import { helloHeaders, isNonce, isProof, proofOf } from './hello.ts';
import { protocolName } from './layout.ts';
import { overSocket } from './socket.ts';

export interface AcceptOptions {
  system: System;
  secret: string;
  /** Whether that session is served here. */
  serves: (sessionId: string) => boolean;
  onRequest: (request: IncomingRequest, sessionId: string) => void;
}

export interface FrameServer {
  /** Whether an upgrade is one for this server. */
  offers(request: IncomingMessage): boolean;
  /** Takes over the socket of such an upgrade. */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Tells every peer to send nothing new. Resolves when all of them have agreed and every answer is out. */
  leave(): Promise<void>;
  /** Ends all connections now. */
  destroy(): void;
}

/** How long somebody who has connected may take to prove who he is. */
const helloMs = 10_000;

export function createFrameServer(options: AcceptOptions): FrameServer {
  const { system, secret } = options;
  const links = new Set<AnswerLink>();
  let leaving = false;
  let onEmpty: (() => void)[] = [];

  function refuse(socket: Duplex, statusLine: string, more = ''): void {
    socket.end(`HTTP/1.1 ${statusLine}\r\n${more}content-length: 0\r\nconnection: close\r\n\r\n`);
    socket.once('finish', () => socket.destroy());
  }

  function gone(link: AnswerLink): void {
    links.delete(link);
    if (links.size > 0) return;
    for (const resolve of onEmpty) resolve();
    onEmpty = [];
  }

  return {
    offers: ({ headers }) => headers.upgrade?.toLowerCase().startsWith('holdfast-frames') === true,
    accept(request, duplex, head) {
      const socket = duplex as Socket;
      socket.on('error', () => {}); // shows as the end of the connection
      const {
        upgrade,
        [helloHeaders.session]: sessionId,
        [helloHeaders.nonce]: clientNonce,
      } = request.headers;
      if (upgrade?.toLowerCase() !== protocolName) {
        return refuse(socket, '426 Upgrade Required', `upgrade: ${protocolName}\r\n`);
      }
      if (typeof sessionId !== 'string' || !isNonce(clientNonce)) return refuse(socket, '400 Bad Request');
      if (leaving || !options.serves(sessionId)) return refuse(socket, '421 Misdirected Request');
      const challenge = { secret, sessionId, clientNonce, hostNonce: system.random.id(32) };
      const shell = overSocket(socket);
      const link: AnswerLink = new AnswerLink({
        schedule: shell.schedule,
        close: shell.close,
        verify(proof) {
          cancelHello();
          return isProof(proof, 'client', challenge);
        },
        onRequest: incoming => options.onRequest(incoming, sessionId),
        onEnded() {
          cancelHello();
          gone(link);
        },
      });
      const cancelHello = system.timers.after(helloMs, () => link.destroy('no hello came in time'));
      links.add(link);
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n' +
          `upgrade: ${protocolName}\r\n${helloHeaders.nonce}: ${challenge.hostNonce}\r\n` +
          `${helloHeaders.proof}: ${proofOf('host', challenge).toString('hex')}\r\n\r\n`,
      );
      shell.attach(link, head);
    },
    leave() {
      leaving = true;
      if (links.size === 0) return Promise.resolve();
      const { promise, resolve } = Promise.withResolvers<void>();
      onEmpty.push(resolve);
      for (const link of links) link.leave();
      return promise;
    },
    destroy() {
      leaving = true;
      for (const link of links) link.destroy('the host has ended');
    },
  };
}
