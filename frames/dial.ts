/** The connecting end: reaches a host, checks that it knows the cluster secret, and speaks frames from there. */
import type { Socket } from 'node:net';
import type { System } from '#core';
import { framesPath, helloHeaders, isNonce, isProof, proofOf } from './hello.ts';
import { protocolName } from './layout.ts';
import { RequestLink } from './request-link.ts';
import { overSocket } from './socket.ts';

export interface DialOptions {
  system: System;
  /** `http://ip:port`. */
  address: string;
  sessionId: string;
  secret: string;
  timeoutMs: number;
  onLeaving: () => void;
  onEnded: (cause: string) => void;
}

export type Dialed =
  | { type: 'open'; link: RequestLink }
  /** The host serves another session, or none: nothing that waits can be executed there. */
  | { type: 'not-owner'; text: string }
  | { type: 'unreachable'; text: string };

/** Never rejects. */
export function dial(options: DialOptions): Promise<Dialed> {
  const { system, address, sessionId, secret, timeoutMs } = options;
  const { promise, resolve } = Promise.withResolvers<Dialed>();
  const clientNonce = system.random.id(32);
  const fail = (text: string) => resolve({ type: 'unreachable', text });
  try {
    // Not imported: a module's import of it evaluates all that it has, the runtime's fetch too.
    const request = process.getBuiltinModule('node:http').request(new URL(framesPath, address), {
      agent: false,
      timeout: timeoutMs,
      headers: {
        connection: 'upgrade',
        upgrade: protocolName,
        [helloHeaders.session]: sessionId,
        [helloHeaders.nonce]: clientNonce,
      },
    });
    request.on('error', error => fail(error.message));
    request.on('timeout', () => request.destroy(new Error(`no connection within ${timeoutMs} ms`)));
    request.on('response', response => {
      response.resume();
      if (response.statusCode === 421) {
        return resolve({ type: 'not-owner', text: 'the host does not serve that session' });
      }
      fail(
        response.statusCode === 426
          ? `the host speaks ${response.headers.upgrade}, not ${protocolName}; let both run the same version of Holdfast`
          : `the host answered ${response.statusCode} instead of changing to ${protocolName}`,
      );
    });
    request.on('upgrade', (response, duplex, head) => {
      const socket = duplex as Socket;
      socket.on('error', () => {}); // shows as the end of the connection
      const { [helloHeaders.nonce]: hostNonce, [helloHeaders.proof]: proof } = response.headers;
      const challenge = { secret, sessionId, clientNonce, hostNonce: isNonce(hostNonce) ? hostNonce : '' };
      if (typeof proof !== 'string' || !isProof(Buffer.from(proof, 'hex'), 'host', challenge)) {
        socket.destroy();
        return fail('who answers there does not know the cluster secret');
      }
      const shell = overSocket(socket);
      const link = new RequestLink(
        {
          schedule: shell.schedule,
          close: shell.close,
          onLeaving: options.onLeaving,
          onEnded: options.onEnded,
        },
        proofOf('client', challenge),
      );
      shell.attach(link, head);
      resolve({ type: 'open', link });
    });
    request.end();
  } catch (error) {
    fail((error as Error).message); // an address that is none
  }
  return promise;
}
