/**
 * A client's connection to the Redis of the directory, kept up: it reconnects by itself with a short back-off, for as long as it is open.
 *
 * A call made meanwhile waits up to `waitMs` for the connection. A call that the connection's end cut off is sent again if it does no harm
 * twice; otherwise it rejects, and its outcome is unknown to the caller. A script that was refused because Redis has forgotten changed
 * nothing: the connection attaches anew, and every call is asked again.
 */
import { createSteadyClock, HoldfastError, type Logger, type RedisAddress, type System } from '#core';
import { CallFailure, openLink, unavailable, type Link } from './link.ts';
import type { Script } from './scripts/script.ts';

export interface ConnectionOptions {
  address: RedisAddress;
  system: System;
  log: Logger;
  onMessage: (channel: string, text: string) => void;
  /** A new connection, attached; before any call goes over it. */
  prepare: (link: Link) => void;
  /** Events may have been missed: after a new connection, and after Redis has forgotten. Calls go through when it is called. */
  onGap: () => void;
}

export interface Connection {
  /**
   * `args` may be made anew for each time that it is sent.
   * @throws HoldfastError HF_COORDINATION_UNAVAILABLE, or what the script says
   */
  call(
    script: Script,
    args: readonly (string | Buffer)[] | (() => readonly string[]),
    options: { again: boolean },
  ): Promise<unknown>;
  /** The connection as it is, null while there is none. */
  readonly link: Link | null;
  close(): void;
}

const waitMs = 1_000;
const sendsMax = 3;
/** How often a call is asked again after it was refused without effect. */
const refusalsMax = 50;
const backoffMs = { first: 20, max: 500 };

export function keepConnection(options: ConnectionOptions): Connection {
  const { address, system, log } = options;
  const steadyMs = createSteadyClock(system.clock);
  const closing = new AbortController();
  let link: Link | null = null;
  let lastReason = 'there is no connection';
  let connected = expectLink();
  /** One for all calls that were refused for the same reason. */
  let attaching: { to: Link; done: Promise<void> } | null = null;

  async function run(): Promise<void> {
    let delayMs = backoffMs.first;
    let failures = 0;
    let nonce: string | null = null;
    while (!closing.signal.aborted) {
      try {
        const { prefix, sessionTtlMs } = address;
        const fresh = await openLink(
          { url: address.urls[0]!, prefix, sessionTtlMs, system, steadyMs },
          options.onMessage,
        );
        if (closing.signal.aborted) return fresh.close();
        options.prepare(fresh);
        link = fresh;
        connected.resolve(fresh);
        if (failures > 0) log.info({ failures }, 'connected to Redis again');
        if (nonce !== null && nonce !== fresh.nonce) log.warn({}, 'Redis was started anew, or has forgotten');
        options.onGap();
        delayMs = backoffMs.first;
        failures = 0;
        await fresh.ended;
        nonce = fresh.nonce;
        forgetEnded();
        continue; // at once: it may be back already
      } catch (error) {
        lastReason = describe(error);
        if (failures++ === 0) log.warn({ reason: lastReason }, 'Redis does not answer');
      }
      // Up to a fifth more at random, so that clients of a lost Redis do not come back all at once.
      const pauseMs = delayMs * (1 + system.random.fraction() / 5);
      await system.timers.sleep(pauseMs, closing.signal).catch(() => {}); // closing: the loop sees it
      delayMs = Math.min(delayMs * 2, backoffMs.max);
    }
  }
  void run();

  /** Seen first by a call that it cut off, or by `run`. */
  function forgetEnded(): void {
    if (!link?.isOver) return;
    link = null;
    lastReason = 'the connection ended';
    connected = expectLink();
  }

  async function whenConnected(): Promise<Link> {
    forgetEnded();
    if (link) return link;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = system.timers.after(waitMs, () => reject(unavailable(lastReason)), { keepAlive: true });
    try {
      return await Promise.race([connected.promise, late]);
    } finally {
      cancel();
    }
  }

  /** Attaches anew, unless somebody did since the call that was refused. */
  function attachAnew(to: Link, refusedUnder: string): Promise<void> {
    if (to.nonce !== refusedUnder) return Promise.resolve();
    if (attaching?.to === to) return attaching.done;
    const done = to
      .attach()
      .then(() => {
        log.warn({}, 'Redis has forgotten; attached to what it is now');
        if (link === to) options.onGap();
      })
      .finally(() => (attaching = null));
    attaching = { to, done };
    return done;
  }

  /** What to do about a call that failed: ask again, because it did nothing or was cut off; or throws what the caller is to get. */
  async function judge(failure: unknown, used: Link, again: boolean): Promise<'refused' | 'cut off'> {
    if (!(failure instanceof CallFailure)) throw failure;
    const { kind } = failure;
    if (kind instanceof HoldfastError) throw kind;
    switch (kind) {
      case 'again':
        return 'refused';
      case 'attach':
        await attachAnew(used, failure.nonce).catch((cause: unknown) => {
          throw unavailable(describe(cause));
        });
        return 'refused';
      case 'cut off':
        if (again && !closing.signal.aborted) return 'cut off';
        throw unavailable(failure.message);
      case 'late':
      case 'error':
        throw unavailable(failure.message);
    }
  }

  return {
    get link() {
      return link?.isOver ? null : link;
    },
    async call(script, args, { again }) {
      let sends = 0;
      let refusals = 0;
      for (;;) {
        if (closing.signal.aborted) throw unavailable('the connection has been closed');
        const used = await whenConnected();
        try {
          return await used.call(script, typeof args === 'function' ? args() : args);
        } catch (error) {
          const outcome = await judge(error, used, again);
          if (outcome === 'cut off' && ++sends === sendsMax) throw unavailable((error as Error).message);
          if (outcome === 'refused' && ++refusals === refusalsMax)
            throw unavailable('it forgets again and again');
        }
      }
    },
    close() {
      closing.abort();
      connected.reject(unavailable('the connection has been closed'));
      link?.close();
    },
  };
}

function expectLink(): PromiseWithResolvers<Link> {
  const expected = Promise.withResolvers<Link>();
  expected.promise.catch(() => {}); // only those who wait for it want to hear that it never came
  return expected;
}

function describe(error: unknown): string {
  if (!(error instanceof CallFailure)) return 'a defect'; // never its text: it might hold what Redis was told
  return error.kind instanceof HoldfastError ? error.kind.message : error.message;
}
