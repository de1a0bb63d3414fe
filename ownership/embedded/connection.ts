/**
 * A client's connection to the coordinator, kept up: it reconnects by itself with a short back-off, for as long as it is open.
 *
 * A call made meanwhile waits up to `waitMs` for the connection, which is longer than a coordinator that was killed and started
 * again takes, and much shorter than a session. A call that the connection's end cut off is sent again if it does no harm
 * twice; otherwise it rejects, and its outcome is unknown to the caller.
 */
import { connectChannel, type Channel } from '#channel';
import { HoldfastError, type Logger, type System } from '#core';

export interface ConnectionOptions {
  socketPath: string;
  system: System;
  log: Logger;
  /** Starts the coordinator again when nobody answers; hosts have none. */
  revive: (() => Promise<unknown>) | undefined;
  /** Prepares a new connection before any call goes over it: registers handlers, sends subscriptions. */
  prepare: (channel: Channel) => void;
}

export interface Connection {
  /** @throws HoldfastError what the coordinator says, or HF_COORDINATION_UNAVAILABLE */
  call<Result>(method: string, params: object, options: { again: boolean }): Promise<Result>;
  /** The connection as it is, null while there is none. */
  readonly channel: Channel | null;
  close(): void;
}

const waitMs = 1_000;
const sendsMax = 3;
const backoffMs = { first: 20, max: 500 };

export function keepConnection(options: ConnectionOptions): Connection {
  const { socketPath, system, log } = options;
  const closing = new AbortController();
  let channel: Channel | null = null;
  let connected = Promise.withResolvers<Channel>();
  connected.promise.catch(() => {}); // only those who wait for it want to hear that it never came

  async function run(): Promise<void> {
    let delayMs = backoffMs.first;
    let failures = 0;
    while (!closing.signal.aborted) {
      try {
        const fresh = await connectChannel(socketPath);
        if (closing.signal.aborted) return fresh.close();
        options.prepare(fresh);
        channel = fresh;
        connected.resolve(fresh);
        if (failures > 0) log.info({ socketPath, failures }, 'connected to the coordinator again');
        delayMs = backoffMs.first;
        failures = 0;
        await fresh.closed;
        channel = null;
        connected = Promise.withResolvers();
        connected.promise.catch(() => {}); // as above
        continue; // at once: it may have been replaced already
      } catch (error) {
        if (failures++ === 0) log.warn({ socketPath, err: error }, 'the coordinator does not answer');
      }
      await options.revive?.().catch((error: unknown) => {
        log.warn({ err: error }, 'the coordinator could not be started again');
      });
      // Up to a fifth more at random, so that clients of a lost coordinator do not come back all at once.
      const pauseMs = delayMs * (1 + system.random.fraction() / 5);
      await system.timers.sleep(pauseMs, closing.signal).catch(() => {}); // closing: the loop sees it
      delayMs = Math.min(delayMs * 2, backoffMs.max);
    }
  }
  void run();

  async function whenConnected(): Promise<Channel> {
    if (channel) return channel;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = system.timers.after(waitMs, () => reject(unavailable('there is no connection')), {
      keepAlive: true,
    });
    try {
      return await Promise.race([connected.promise, late]);
    } finally {
      cancel();
    }
  }

  return {
    get channel() {
      return channel;
    },
    async call<Result>(method: string, params: object, { again }: { again: boolean }): Promise<Result> {
      for (let sends = 1; ; sends++) {
        if (closing.signal.aborted) throw unavailable('the connection has been closed');
        const used = await whenConnected();
        try {
          return await used.request<Result>(method, params);
        } catch (error) {
          const cutOff = channel !== used;
          const unknown = error instanceof HoldfastError && error.code === 'HF_COORDINATION_UNAVAILABLE';
          if (!cutOff || !unknown || !again || sends === sendsMax) throw error;
        }
      }
    },
    close() {
      closing.abort();
      connected.reject(unavailable('the connection has been closed'));
      channel?.close();
    },
  };
}

function unavailable(reason: string): HoldfastError {
  return new HoldfastError('HF_COORDINATION_UNAVAILABLE', `the coordinator cannot be asked: ${reason}`);
}
