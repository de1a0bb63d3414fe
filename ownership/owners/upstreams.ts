/**
 * Connections to hosts: one for each session, made at first use and again when it broke, with any number of requests on it. When a
 * session ends, so does its connection: after the requests in flight if the host closed it itself; else soon, because from a
 * dead or fenced host no answer comes, and without this a vanished node would cost its TCP timeout.
 */
import {
  dial,
  type OutgoingRequest,
  type RequestFailure,
  type Request,
  type RequestLink,
  type ResponseReceiver,
} from '#frames';
import type { ProcessId, SessionId, System } from '#core';

/**
 * A host, as somebody sees it who sends requests there.
 *
 * `send` puts a request on its way: a head (`headers` and `channel` are header blocks, see `headerBlock`), and a body that is null, whole, or
 * followed by `write` and `end` (`more`). The receiver gets the answer's head as it came (status, and a header block without the headers
 * of a connection), then its body; or one `onFailure`. `unsent`, `refused` and `not-owner` mean that nothing was executed.
 */
export interface Upstream {
  readonly sessionId: SessionId;
  readonly processId: ProcessId;
  /** Requests that this process has at the host now. */
  readonly inFlight: number;
  send(request: Request, receiver: ResponseReceiver): OutgoingRequest;
}

export interface Upstreams {
  /** The connection to a session, made at first use. */
  get(session: { sessionId: SessionId; processId: ProcessId; address: string }): Upstream;
  inFlight(sessionId: SessionId): number;
  /** The session ended. */
  retire(sessionId: SessionId, graceful: boolean): void;
  /** Ends all connections now. */
  destroy(): void;
}

export interface UpstreamsDeps {
  system: System;
  secret: string;
  /** From the request sent to the first byte of the response. */
  ownerTimeoutMs: number;
}

/** What a host wrote before it died may still be on its way. */
const lastWordsMs = 250;
const connectTimeoutMs = 3_000;

export function createUpstreams(deps: UpstreamsDeps): Upstreams {
  const live = new Map<SessionId, LiveUpstream>();
  const retired = new Set<LiveUpstream>();

  return {
    get(session) {
      let upstream = live.get(session.sessionId);
      if (!upstream) {
        upstream = new LiveUpstream(deps, session);
        live.set(session.sessionId, upstream);
      }
      return upstream;
    },
    inFlight: sessionId => live.get(sessionId)?.inFlight ?? 0,
    retire(sessionId, graceful) {
      const upstream = live.get(sessionId);
      if (!upstream) return;
      live.delete(sessionId);
      if (graceful) {
        retired.add(upstream);
        upstream.retire(() => retired.delete(upstream));
        return;
      }
      retired.add(upstream);
      deps.system.timers.after(lastWordsMs, () => {
        retired.delete(upstream);
        upstream.destroy('the session of the host has ended');
      });
    },
    destroy() {
      for (const upstream of [...live.values(), ...retired]) upstream.destroy('this process stops');
      live.clear();
      retired.clear();
    },
  };
}

class LiveUpstream implements Upstream {
  readonly sessionId: SessionId;
  readonly processId: ProcessId;
  readonly #deps: UpstreamsDeps;
  readonly #address: string;
  /** Takes new requests. */
  #link: RequestLink | null = null;
  /** All that have requests under way, the present one too. */
  readonly #links = new Set<RequestLink>();
  #dialing = false;
  /** Wait for the connection. */
  readonly #waiting = new Set<WaitingRequest>();
  #stopWatch: (() => void) | null = null;
  #ended: string | null = null;
  #onIdle: (() => void) | null = null;

  constructor(deps: UpstreamsDeps, session: { sessionId: SessionId; processId: ProcessId; address: string }) {
    this.#deps = deps;
    this.sessionId = session.sessionId;
    this.processId = session.processId;
    this.#address = session.address;
  }

  get inFlight(): number {
    let count = this.#waiting.size;
    for (const link of this.#links) count += link.streams.size;
    return count;
  }

  send(request: Request, receiver: ResponseReceiver): OutgoingRequest {
    const link = this.#link;
    if (link !== null && link.open)
      return link.send(request, receiver, this.#deps.system.clock.monotonicMs());
    const waiting = new WaitingRequest(request, receiver, this.#waiting);
    if (this.#ended !== null) queueMicrotask(() => waiting.fail({ type: 'unsent', text: this.#ended! }));
    else void this.#connect();
    return waiting;
  }

  /** Ends each connection after its last answer; nothing new is sent. */
  retire(idle: () => void): void {
    this.#onIdle = idle;
    this.#link = null;
    for (const link of this.#links) link.retire();
    this.#afterwards();
  }

  destroy(cause: string): void {
    this.#ended = cause;
    this.#link = null;
    for (const link of this.#links) link.destroy(cause);
    this.#failWaiting({ type: 'unsent', text: cause });
    this.#afterwards();
  }

  async #connect(): Promise<void> {
    if (this.#dialing) return;
    this.#dialing = true;
    const { system, secret, ownerTimeoutMs } = this.#deps;
    let link: RequestLink | null = null;
    const dialed = await dial({
      system,
      address: this.#address,
      sessionId: this.sessionId,
      secret,
      timeoutMs: connectTimeoutMs,
      onLeaving: () => {
        if (this.#link === link) this.#link = null;
      },
      onEnded: () => {
        if (this.#link === link) this.#link = null;
        this.#links.delete(link!);
        this.#afterwards();
      },
    });
    this.#dialing = false;
    if (dialed.type === 'not-owner') return this.#failWaiting(dialed);
    if (dialed.type === 'unreachable') return this.#failWaiting({ type: 'unsent', text: dialed.text });
    link = dialed.link;
    if (link.closed) return this.#failWaiting({ type: 'unsent', text: 'the connection broke at once' });
    if (this.#ended !== null) return link.destroy(this.#ended);
    this.#links.add(link);
    this.#link = this.#onIdle ? null : link;
    const nowMs = system.clock.monotonicMs();
    for (const waiting of this.#waiting) waiting.sendOver(link, nowMs);
    this.#waiting.clear();
    if (this.#onIdle) link.retire();
    this.#stopWatch ??= system.timers.every(Math.max(1, Math.min(1_000, ownerTimeoutMs / 4)), () => {
      const now = system.clock.monotonicMs();
      for (const each of this.#links) each.expire(now, ownerTimeoutMs);
    });
  }

  #failWaiting(failure: RequestFailure): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const each of waiting) each.fail(failure);
  }

  #afterwards(): void {
    if (this.#links.size > 0) return;
    this.#stopWatch?.();
    this.#stopWatch = null;
    if (this.#waiting.size > 0 || this.#dialing) return;
    this.#onIdle?.();
  }
}

/** A request that waits for the connection; afterwards it stands for the one that was sent. */
class WaitingRequest implements OutgoingRequest {
  readonly #request: Request;
  readonly #receiver: ResponseReceiver;
  readonly #waiting: Set<WaitingRequest>;
  #sent: OutgoingRequest | null = null;
  #over = false;
  #written: Buffer[] = [];
  #ended: { trailers: string | null } | null = null;
  #paused = false;

  constructor(request: Request, receiver: ResponseReceiver, waiting: Set<WaitingRequest>) {
    this.#request = request;
    this.#receiver = receiver;
    this.#waiting = waiting;
    waiting.add(this);
  }

  sendOver(link: RequestLink, nowMs: number): void {
    this.#sent = link.send(this.#request, this.#receiver, nowMs);
    if (this.#paused) this.#sent.pause();
    let go = true;
    for (const chunk of this.#written) go = this.#sent.write(chunk);
    if (this.#ended) this.#sent.end(this.#ended.trailers);
    else if (this.#written.length > 0 && go) this.#receiver.onDrain();
    this.#written = [];
  }

  fail(failure: RequestFailure): void {
    if (this.#over) return;
    this.#over = true;
    this.#waiting.delete(this);
    this.#receiver.onFailure(failure);
  }

  write(chunk: Buffer): boolean {
    if (this.#sent) return this.#sent.write(chunk);
    this.#written.push(chunk);
    return false;
  }

  end(trailers: string | null = null): void {
    if (this.#sent) this.#sent.end(trailers);
    else this.#ended = { trailers };
  }

  cancel(): void {
    if (this.#sent) return this.#sent.cancel();
    this.#over = true;
    this.#waiting.delete(this);
  }

  pause(): void {
    this.#paused = true;
    this.#sent?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#sent?.resume();
  }
}
