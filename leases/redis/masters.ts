/** The connections to the independent masters: made here, or passed in and then left open. Every call has a deadline. */
import { createHash } from 'node:crypto';
import type { Redis, RedisOptions } from 'ioredis';
import { HoldfastError, type System } from '#core';

export interface Script {
  readonly text: string;
  /** Its SHA-1, by which Redis remembers it. */
  readonly hash: string;
}

export const script = (text: string): Script => ({
  text,
  hash: createHash('sha1').update(text).digest('hex'),
});

export interface Master {
  /** Runs it by hash; by its text when this master does not know it. Rejects when no answer comes in time. */
  run(script: Script, keys: readonly string[], parameters: readonly (string | number)[]): Promise<unknown>;
  /** As `run`, one way only; rejects with the server's NOSCRIPT. For redlock, which tries one and then the other. */
  runByHash(
    hash: string,
    keys: readonly string[],
    parameters: readonly (string | number)[],
  ): Promise<unknown>;
  runByText(
    text: string,
    keys: readonly string[],
    parameters: readonly (string | number)[],
  ): Promise<unknown>;
  /** Calls after each time that the connection has come back. */
  onReconnect(callback: () => void): void;
  /** Calls with every message of the channel, and with null when some may have been missed. Opens a second connection. */
  subscribe(channel: string, callback: (message: string | null) => void): () => void;
  close(): Promise<void>;
}

export interface ConnectMasterOptions {
  system: System;
  /** Deadline of a call, milliseconds. */
  timeoutMs: number;
  /**
   * Made known to the server whenever a connection begins. A call by hash that has to be repeated by text would overtake, or be overtaken by,
   * the next call; and what follows an acquisition must not come before it.
   */
  scripts: readonly Script[];
}

const reconnectMs = { first: 25, max: 1_000 };

/** A dead server is noticed by the first call, and not by a queue that fills. */
function connectionOptions(timeoutMs: number) {
  return {
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    connectTimeout: timeoutMs,
    retryStrategy: (attempt: number) =>
      Math.min(reconnectMs.first * 2 ** Math.min(attempt, 10), reconnectMs.max),
  } satisfies RedisOptions;
}

/** Connects, or tries to: calls reject until the server is there. */
export async function connectMaster(url: string, options: ConnectMasterOptions): Promise<Master> {
  const { Redis: Client } = await import('ioredis');
  const client = new Client(url, connectionOptions(options.timeoutMs));
  const master = useMaster(client, options);
  await client.connect().catch(ignoreError);
  return {
    ...master,
    async close() {
      await master.close();
      client.disconnect();
    },
  };
}

/** Uses somebody else's client; closing only takes back what was attached to it. */
export function useMaster(client: Redis, options: ConnectMasterOptions): Master {
  const { system, timeoutMs } = options;
  client.on('error', ignoreError);
  const loadScripts = () => {
    for (const { text } of options.scripts) client.script('LOAD', text).catch(ignoreError);
  };
  client.on('ready', loadScripts);
  if (client.status === 'ready') loadScripts();
  const cleanups: (() => void)[] = [
    () => client.off('error', ignoreError),
    () => client.off('ready', loadScripts),
  ];

  async function inTime<T>(call: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const cancel = system.timers.after(
      timeoutMs,
      () => late.reject(new HoldfastError('HF_COORDINATION_UNAVAILABLE', `no answer within ${timeoutMs} ms`)),
      { keepAlive: true },
    );
    // Whichever loses the race is of no interest any more.
    call.catch(ignoreError);
    try {
      return await Promise.race([call, late.promise]);
    } finally {
      cancel();
    }
  }

  const master: Omit<Master, 'run'> = {
    runByHash: (hash, keys, parameters) => inTime(client.evalsha(hash, keys.length, ...keys, ...parameters)),
    runByText: (text, keys, parameters) => inTime(client.eval(text, keys.length, ...keys, ...parameters)),
    onReconnect(callback) {
      client.on('ready', callback);
      cleanups.push(() => client.off('ready', callback));
    },
    subscribe(channel, callback) {
      const subscriber = client.duplicate({ ...connectionOptions(timeoutMs), autoResubscribe: false });
      subscriber.on('error', ignoreError);
      subscriber.on('message', (_channel: string, message: string) => callback(message));
      subscriber.on('ready', () => {
        subscriber.subscribe(channel).then(() => callback(null), ignoreError);
      });
      subscriber.connect().catch(ignoreError);
      return () => subscriber.disconnect();
    },
    async close() {
      for (const cleanup of cleanups.splice(0)) cleanup();
    },
  };
  return {
    ...master,
    async run({ hash, text }, keys, parameters) {
      try {
        return await master.runByHash(hash, keys, parameters);
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return master.runByText(text, keys, parameters);
      }
    },
  };
}

/** Every failure also reaches the call that it concerns; without a listener it would end the process. */
function ignoreError(): void {}
