/** A real Redis for tests of the directory on it: one server for a file, a prefix of its own for each test. */
import { Redis } from 'ioredis';
import { createSystem, type Coordination, type Logger, type RedisAddress } from '#core';
import { connectCoordination } from '#ownership';
import { attachScript } from '../../ownership/redis/scripts/attach.lua.ts';
import type { RedisServer } from '../support/redis-server.ts';

export const system = createSystem();

/** A client that knows nothing of Holdfast, for whatever a test does to a server. Survives the server's death. */
export function rawClient(url: string): Redis {
  const client = new Redis(url, { retryStrategy: attempt => Math.min(attempt * 10, 100) });
  client.on('error', () => {}); // servers are killed here
  return client;
}

export class RedisHarness {
  readonly server: RedisServer;
  readonly address: RedisAddress;
  readonly raw: Redis;
  readonly #clients: Coordination[] = [];

  constructor(server: RedisServer, sessionTtlMs: number) {
    this.server = server;
    const prefix = `test:{${system.random.id(12)}}:`;
    this.address = { kind: 'redis', urls: [server.url], prefix, sessionTtlMs };
    this.raw = rawClient(server.url);
  }

  async connect(more: { log?: Logger; sessionTtlMs?: number; url?: string } = {}): Promise<Coordination> {
    const { log, sessionTtlMs = this.address.sessionTtlMs, url } = more;
    const address = { ...this.address, sessionTtlMs, ...(url === undefined ? {} : { urls: [url] }) };
    const client = await connectCoordination(address, { system, ...(log ? { log } : {}) });
    this.#clients.push(client);
    return client;
  }

  name(rest: string): string {
    return this.address.prefix + rest;
  }

  /** Arguments of EVAL that begin an incarnation (where there is none) which collects for so long. */
  attachment(collectMs: number): [string, number, ...string[]] {
    const { prefix } = this.address;
    const keys = [`${prefix}meta`, `${prefix}events@0`, `${prefix}documents@0`];
    return [attachScript.lua, keys.length, ...keys, system.random.id(20), String(collectMs)];
  }

  /** An empty store that collects nothing: what a cluster finds that has run for a while. */
  async begin(): Promise<void> {
    await this.raw.eval(...this.attachment(0));
  }

  /** Forgets all databases, and collects for so long; no client can come between. */
  async forget(collectMs: number): Promise<void> {
    await this.raw
      .multi()
      .flushall()
      .eval(...this.attachment(collectMs))
      .exec();
  }

  /** Ends every connection to the server, as hard as TCP can; what was asked is cut off. */
  async cut(): Promise<void> {
    for (const type of ['normal', 'pubsub'])
      await this.raw.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map(client => client.close()));
    this.raw.disconnect();
  }
}
