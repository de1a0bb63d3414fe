/** The part of redlock 5.0.0-beta.2 that is used here: the types it ships do not resolve, and name a type of another ioredis. */
declare module 'redlock' {
  /** All that redlock asks of a client; replies must be numbers, and a vote is for when it equals the number of keys. */
  interface RedlockClient {
    evalsha(hash: string, keyCount: number, args: (string | number)[]): Promise<number>;
    eval(script: string, keyCount: number, args: (string | number)[]): Promise<number>;
  }

  interface RedlockSettings {
    driftFactor: number;
    retryCount: number;
    retryDelay: number;
    retryJitter: number;
    automaticExtensionThreshold: number;
  }

  interface RedlockScripts {
    acquireScript?: (original: string) => string;
    extendScript?: (original: string) => string;
    releaseScript?: (original: string) => string;
  }

  /** No majority voted for it. */
  export class ExecutionError extends Error {}

  export class Lock {
    constructor(
      redlock: Redlock,
      resources: string[],
      value: string,
      attempts: readonly Promise<unknown>[],
      /** By `Date.now()`; redlock refuses to extend afterwards. */
      expiration: number,
    );
    readonly value: string;
  }

  export default class Redlock {
    constructor(
      clients: Iterable<RedlockClient>,
      settings?: Partial<RedlockSettings>,
      scripts?: RedlockScripts,
    );
    acquire(resources: string[], durationMs: number): Promise<Lock>;
    extend(lock: Lock, durationMs: number): Promise<Lock>;
    release(lock: Lock): Promise<unknown>;
  }
}
