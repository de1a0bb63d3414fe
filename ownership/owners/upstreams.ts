/**
 * Connections to hosts: one pool of keep-alive connections for each session. When a session ends, its pool ends: after
 * the requests in flight if the host closed it itself; else soon, because from a dead or fenced host no answer comes,
 * and without this a vanished node would cost its TCP timeout.
 */
import type { Dispatcher, Pool } from 'undici';
import type { ProcessId, SessionId, System } from '#core';

export interface Upstream {
  readonly sessionId: SessionId;
  readonly processId: ProcessId;
  readonly channelKey: string;
  readonly dispatcher: Dispatcher;
  /** Requests that this process has at the host now. */
  inFlight: number;
}

export interface Upstreams {
  /** The connections to a session, made at first use. */
  get(session: { sessionId: SessionId; processId: ProcessId; address: string }): Upstream;
  inFlight(sessionId: SessionId): number;
  /** The session ended. */
  retire(sessionId: SessionId, graceful: boolean): void;
  /** Ends all connections now. */
  destroy(): Promise<void>;
}

export interface UpstreamsDeps {
  system: System;
  /** Makes undici's pool: handed in, so that who only names this folder does not load it. */
  connect: (address: string, options: Pool.Options) => Dispatcher;
  /** From the request sent to the first byte of the response. */
  ownerTimeoutMs: number;
  /** Connections to one host; null: as many as there are requests at once. */
  connectionsMax: number | null;
  channelKeyOf: (sessionId: SessionId) => string;
}

/** What a host wrote before it died may still be on its way. */
const lastWordsMs = 250;
const connectTimeoutMs = 3_000;
const responseHeaderBytesMax = 64 * 1024;

export function createUpstreams(deps: UpstreamsDeps): Upstreams {
  const live = new Map<SessionId, Upstream>();
  const retired = new Set<Dispatcher>();

  /** A pool that is closed already only confirms it. */
  async function end(dispatcher: Dispatcher): Promise<void> {
    await dispatcher.destroy();
    retired.delete(dispatcher);
  }

  return {
    get({ sessionId, processId, address }) {
      let upstream = live.get(sessionId);
      if (!upstream) {
        const dispatcher = deps.connect(address, {
          connections: deps.connectionsMax,
          // One request at a time on each connection: a long stream must not block others.
          pipelining: 1,
          connectTimeout: connectTimeoutMs,
          headersTimeout: deps.ownerTimeoutMs,
          // A response may pause as long as it likes (server-sent events); a dead owner is noticed by its session.
          bodyTimeout: 0,
          maxHeaderSize: responseHeaderBytesMax,
        });
        const channelKey = deps.channelKeyOf(sessionId);
        upstream = { sessionId, processId, channelKey, dispatcher, inFlight: 0 };
        live.set(sessionId, upstream);
      }
      return upstream;
    },
    inFlight: sessionId => live.get(sessionId)?.inFlight ?? 0,
    retire(sessionId, graceful) {
      const upstream = live.get(sessionId);
      if (!upstream) return;
      live.delete(sessionId);
      const { dispatcher } = upstream;
      retired.add(dispatcher);
      void dispatcher.close().then(() => retired.delete(dispatcher));
      if (!graceful) deps.system.timers.after(lastWordsMs, () => void end(dispatcher));
    },
    async destroy() {
      const all = [...[...live.values()].map(upstream => upstream.dispatcher), ...retired];
      live.clear();
      await Promise.all(all.map(end));
    },
  };
}
