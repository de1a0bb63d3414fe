/** One connection to Redis that ends for good when anything is wrong with it. Scripts are loaded before the first call. */
import { Redis } from 'ioredis';
import { scripts, type ScriptName } from './scripts.lua.ts';

export interface RedisAddress {
  url: string;
  username: string | undefined;
  password: string | undefined;
}

export interface RedisConnection {
  readonly ended: Promise<Error>;
  /** What Redis answers, texts as Buffers. Calls are sent, and answered, in their order. */
  call(command: string, ...words: (string | number | Buffer)[]): Promise<unknown>;
  run(name: ScriptName, keys: readonly string[], ...words: (string | number | Buffer)[]): Promise<unknown>;
  /** Ends it at once. */
  close(): void;
}

const connectMs = 4_000;

/** @throws Error when it cannot be reached, or refuses */
export async function connectRedis(address: RedisAddress): Promise<RedisConnection> {
  const client = new Redis(address.url, {
    lazyConnect: true,
    connectTimeout: connectMs,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: () => null,
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password }),
  });
  const over = Promise.withResolvers<Error>();
  let last = new Error('Redis closed the connection');
  client.on('error', (error: Error) => (last = error));
  client.on('close', () => over.resolve(last));
  const hashes = {} as Record<ScriptName, string>;
  try {
    await client.connect();
    for (const [name, text] of Object.entries(scripts)) {
      hashes[name as ScriptName] = (await client.script('LOAD', text)) as string;
    }
  } catch (error) {
    client.disconnect();
    throw last.message.startsWith('Redis closed') ? error : last;
  }
  return {
    ended: over.promise,
    call: (command, ...words) => client.callBuffer(command, ...words),
    // By its hash and never by its text: a call that had to be repeated would overtake others, or be overtaken.
    run: (name, keys, ...words) => client.callBuffer('EVALSHA', hashes[name], keys.length, ...keys, ...words),
    close: () => client.disconnect(),
  };
}
