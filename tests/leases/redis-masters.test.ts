import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { Redis } from 'ioredis';
import { createSystem, HoldfastError } from '#core';
import { openRedisLeases, type LeaseStore } from '#leases';
import { hasRedis, startRedis, type RedisServer } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { acquire, longMs, until } from './harness.ts';

const system = createSystem();

describe('Redis leases, when some of the masters fail', function () {
  this.timeout(60_000);
  let servers: RedisServer[] = [];
  let store: LeaseStore;
  let other: LeaseStore;

  beforeEach(async function () {
    if (!hasRedis()) skipLoudly(this, 'redis-server is not installed');
    servers = await Promise.all(Array.from({ length: 3 }, () => startRedis({ persistence: 'always' })));
    const urls = servers.map(server => server.url);
    store = await openRedisLeases({ urls, system });
    other = await openRedisLeases({ urls, system });
  });
  afterEach(async () => {
    await Promise.all([store, other].map(leases => leases?.close()));
    await Promise.all(servers.map(server => server.stop()));
  });

  it('goes on with one killed', async () => {
    const fence = await acquire(store, 'a', 'one');
    await servers[0]!.kill();
    assert((await store.renew('a', 'one', fence, 2 * longMs)).acquired);
    const refused = await other.tryAcquire('a', 'two', longMs);
    assert(!refused.acquired && refused.holder === 'one' && refused.fence === fence);
    assert.equal((await other.inspect('a'))?.fence, fence);
    assert.equal((await other.list()).leases.length, 1);
    assert(await store.release('a', 'one', fence));
    assert((await acquire(other, 'a', 'two')) > fence);
  });

  it('goes on with one frozen, without waiting for it', async () => {
    servers[1]!.pause();
    try {
      const fence = await acquire(store, 'a', 'one');
      assert((await store.renew('a', 'one', fence, longMs)).acquired);
      assert.equal((await store.inspect('a'))?.fence, fence);
      assert(await store.release('a', 'one', fence));
    } finally {
      servers[1]!.resume();
    }
  });

  it('grants nothing and says so with two killed, and recovers', async () => {
    const fence = await acquire(store, 'a', 'one');
    await servers[0]!.kill();
    await servers[1]!.kill();
    const unavailable = { code: 'HF_COORDINATION_UNAVAILABLE' };
    await assert.rejects(other.tryAcquire('a', 'two', longMs), unavailable);
    await assert.rejects(other.tryAcquire('b', 'two', longMs), unavailable);
    await assert.rejects(store.renew('a', 'one', fence, longMs), unavailable);
    await assert.rejects(store.inspect('a'), unavailable);
    await assert.rejects(store.list(), unavailable);
    await servers[0]!.start();
    await until(
      async () => (await store.renew('a', 'one', fence, longMs).catch(() => null))?.acquired === true,
    );
    assert(!(await other.tryAcquire('a', 'two', longMs)).acquired);
    // What was asked for without a majority has left nothing behind that would be in the way.
    await until(
      async () => (await store.tryAcquire('b', 'three', longMs).catch(() => null))?.acquired === true,
    );
  });

  it('lets a master that was wiped help nobody to what another has', async () => {
    // Two masters have it, one of them forgets: with the third that would be a majority for somebody else.
    await servers[2]!.kill();
    const ttlMs = 3_000;
    const fence = await acquire(store, 'a', 'one', ttlMs);
    await servers[2]!.start();
    await servers[1]!.wipe();
    // The first master alone knows of the lease. Whoever gets it must not get it before it has run out there.
    const direct = new Redis(servers[0]!.url);
    try {
      let taken = 0n;
      await until(async () => {
        const grant = await other.tryAcquire('a', 'two', ttlMs).catch(() => null);
        if (!grant?.acquired) return false;
        const there = await direct.hget('holdfast:lease:a', 'holder');
        assert.notEqual(there, 'one', 'granted while somebody else could believe in it');
        taken = grant.fence;
        return true;
      });
      assert(taken > fence);
    } finally {
      direct.disconnect();
    }
  });

  it('raises the fence over a wiped minority, again and again', async () => {
    let last = 0n;
    for (const server of servers) {
      let fence = 0n;
      // The master that forgot before takes no part for one time to live.
      await until(async () => {
        const grant = await store.tryAcquire('a', 'one', 100);
        if (grant.acquired) ({ fence } = grant);
        return grant.acquired;
      });
      assert(fence > last);
      await store.release('a', 'one', fence);
      last = fence;
      await server.wipe();
      await until(() => other.list().then(Boolean, () => false));
    }
  });

  it('undoes what was taken from a minority', async () => {
    // A rival has two masters already; the third is free.
    const fence = await acquire(store, 'a', 'one');
    const third = new Redis(servers[2]!.url);
    try {
      await third.del('holdfast:lease:a');
      assert(!(await other.tryAcquire('a', 'two', longMs)).acquired);
      await until(async () => (await third.exists('holdfast:lease:a')) === 0);
      assert.equal((await store.inspect('a'))?.fence, fence);
    } finally {
      third.disconnect();
    }
  });

  it('never revives a lease that a majority has lost', async () => {
    const fence = await acquire(store, 'a', 'one');
    const clients = servers.slice(1).map(server => new Redis(server.url));
    try {
      await Promise.all(clients.map(client => client.del('holdfast:lease:a')));
      const renewed = await store.renew('a', 'one', fence, longMs);
      assert(!renewed.acquired && renewed.holder === null);
      assert(!(await store.release('a', 'one', fence)));
    } finally {
      for (const client of clients) client.disconnect();
    }
  });

  /** A connection to one of the masters, past the lease store. */
  async function directly<T>(index: number, work: (client: Redis) => Promise<T>): Promise<T> {
    const client = new Redis(servers[index]!.url);
    try {
      return await work(client);
    } finally {
      client.disconnect();
    }
  }

  it('takes the highest fence of a majority, and lifts the others to it', async () => {
    const ahead = 4_000_000_000_000_000n;
    await directly(1, client => client.hset('holdfast:lease-meta', 'fence', ahead.toString()));
    // With one of the others frozen, the master that is ahead must be in the majority.
    servers[2]!.pause();
    const fence = await acquire(store, 'a', 'one');
    assert(fence > ahead);
    assert(await store.release('a', 'one', fence));
    servers[2]!.resume();
    await servers[1]!.kill();
    assert((await acquire(other, 'a', 'two')) > fence);
  });

  it('counts a master that does not answer for the holder', async () => {
    const fence = await acquire(store, 'a', 'one');
    await directly(2, client => client.del('holdfast:lease:a'));
    await servers[1]!.kill();
    assert.equal((await other.inspect('a'))?.fence, fence);
    assert.deepEqual(
      (await other.list()).leases.map(lease => lease.fence),
      [fence],
    );
  });

  it('lists what a majority has, once, whatever a single master remembers besides', async () => {
    for (const name of ['n0', 'n1', 'n2']) await acquire(store, name, 'one');
    await directly(0, async client => {
      for (let index = 0; index < 9; index++) {
        await client.hset(`holdfast:lease:j${index}`, { token: 't', holder: 'nobody', fence: '5' });
        await client.zadd('holdfast:lease-names', 0, `j${index}`);
      }
    });
    for (const limit of [2, 3, 4, 100]) {
      const names: string[] = [];
      let cursor: string | null = null;
      do {
        const page: Awaited<ReturnType<LeaseStore['list']>> = await other.list({
          limit,
          ...(cursor === null ? {} : { cursor }),
        });
        names.push(...page.leases.map(lease => lease.name));
        ({ cursor } = page);
      } while (cursor !== null);
      assert.deepEqual(names, ['n0', 'n1', 'n2']);
    }
  });
});

describe('Redis leases whose Redis answers with an error', () => {
  it('tell what it said, but not what it was sent', async function () {
    if (!hasRedis()) skipLoudly(this, 'redis-server is not installed');
    await using stack = new AsyncDisposableStack();
    const server = await startRedis();
    stack.defer(() => server.stop());
    const store = await openRedisLeases({ urls: [server.url], system });
    stack.defer(() => store.close());
    const raw = new Redis(server.url);
    stack.defer(() => raw.disconnect());
    await raw.set('holdfast:lease:a', 'no record');
    await assert.rejects(store.tryAcquire('a', 'a-holder', longMs), error => {
      assert(error instanceof HoldfastError && error.code === 'HF_COORDINATION_UNAVAILABLE');
      assert.match((error.cause as Error).message, /^WRONGTYPE/);
      assert.doesNotMatch(inspect(error, { depth: Infinity, showHidden: true }), /command|a-holder/);
      return true;
    });
  });
});
