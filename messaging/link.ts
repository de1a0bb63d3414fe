/**
 * Keeps a session with the broker: connects, and connects again after a pause that grows while it fails. One line in the log for each
 * change. Whoever finds that the session is of no use (an answer that does not come) ends it with `fail`.
 */
import { HoldfastError, type Logger, type System } from '#core';
import type { Broker, BrokerSession } from './broker.ts';

export interface Link {
  readonly session: BrokerSession | null;
  /** Called with each new session, in the order of registering. */
  onUp(listener: (session: BrokerSession) => void): void;
  onDown(listener: () => void): void;
  start(): void;
  /** Resolves with whether there is a session now: at once if there is one, else when there is, or after `waitMs`. */
  settled(waitMs: number): Promise<boolean>;
  /** Ends this very session, if it is the present one. */
  fail(session: BrokerSession, cause: Error): void;
  /** Ends the session; there is no other afterwards. */
  stop(): Promise<void>;
}

const pauseMs = { first: 50, max: 3_000 };
const connectMs = 5_000;

export function createLink(options: { broker: Broker; system: System; log: Logger }): Link {
  const { broker, system, log } = options;
  const ups: ((session: BrokerSession) => void)[] = [];
  const downs: (() => void)[] = [];
  let session: BrokerSession | null = null;
  let failures = 0;
  let running: Promise<void> | null = null;
  const stopping = new AbortController();
  let waiters: (() => void)[] = [];
  let giveUp: ((cause: Error) => void) | null = null;

  async function connect(): Promise<BrokerSession> {
    const controller = new AbortController();
    const late = new HoldfastError(
      'HF_BROKER_UNAVAILABLE',
      `the broker did not answer within ${connectMs} ms`,
    );
    const aborted = Promise.withResolvers<never>();
    const end = (cause: Error) => {
      controller.abort(cause);
      aborted.reject(cause);
    };
    const cancel = system.timers.after(connectMs, () => end(late), { keepAlive: true });
    const onStop = () => end(new Error('the publisher is stopping'));
    stopping.signal.addEventListener('abort', onStop, { once: true });
    const made = broker.connect(controller.signal);
    try {
      return await Promise.race([made, aborted.promise]);
    } catch (error) {
      made.then(
        session => session.close(),
        () => {}, // it has failed already, or nobody waits for it any more
      );
      throw error;
    } finally {
      cancel();
      stopping.signal.removeEventListener('abort', onStop);
    }
  }

  async function live(made: BrokerSession): Promise<void> {
    session = made;
    failures = 0;
    const given = new Promise<Error>(resolve => (giveUp = resolve));
    log.info({}, 'connected to the broker');
    for (const up of ups) up(made);
    for (const resolve of waiters.splice(0)) resolve();
    const cause = await Promise.race([made.ended, given]);
    session = null;
    giveUp = null;
    if (!stopping.signal.aborted) log.warn({ err: cause }, 'the connection to the broker has ended');
    for (const down of downs) down();
    await made.close();
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await live(await connect());
      } catch (error) {
        if (stopping.signal.aborted) return;
        failures += 1;
        if (failures === 1) log.error({ err: error }, 'the broker cannot be reached; it is tried again');
      }
      const pause = Math.min(pauseMs.max, pauseMs.first * 2 ** Math.min(failures, 10));
      await system.timers
        .sleep(pause * (0.5 + system.random.fraction() / 2), stopping.signal)
        .catch(() => {}); // the loop ends by itself
    }
  }

  return {
    get session() {
      return session;
    },
    onUp: listener => void ups.push(listener),
    onDown: listener => void downs.push(listener),
    start() {
      running ??= run();
    },
    async settled(waitMs) {
      if (session || stopping.signal.aborted) return session !== null;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiters.push(resolve);
      const cancel = system.timers.after(waitMs, resolve, { keepAlive: true });
      await promise;
      cancel();
      waiters = waiters.filter(waiter => waiter !== resolve);
      return session !== null;
    },
    fail(failed, cause) {
      if (failed === session) giveUp?.(cause);
    },
    async stop() {
      stopping.abort();
      giveUp?.(new Error('the publisher is stopping'));
      for (const resolve of waiters.splice(0)) resolve();
      await running;
    },
  };
}
