import assert from 'node:assert/strict';
import { Redis } from 'ioredis';
import { createSystem } from '#core';
import { openRedisLeases, type LeaseStore, type RedisLeasesOptions } from '#leases';
import { hasRedis, startRedis, type RedisServer } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { leaseConformance, until } from './conformance.ts';
import { acquire, longMs } from './harness.ts';

const system = createSystem();

for (const size of [1, 3]) {
  describe(`Redis leases on ${size === 1 ? 'one master' : `${size} masters`}`, function () {
    this.timeout(60_000);
    let servers: RedisServer[] = [];
    let prefixes = 0;
    const opened: LeaseStore[] = [];
    async function open(options: Partial<RedisLeasesOptions> = {}): Promise<LeaseStore> {
      const urls = options.clients ? {} : { urls: servers.map(server => server.url) };
      const store = await openRedisLeases({ system, prefix: `t${prefixes}:`, ...urls, ...options });
      opened.push(store);
      return store;
    }
    const all = (step: (server: RedisServer) => unknown) => Promise.all(servers.map(step));

    before(async function () {
      if (!hasRedis()) skipLoudly(this, 'redis-server is not installed');
      servers = await Promise.all(Array.from({ length: size }, () => startRedis({ persistence: 'always' })));
    });
    after(() => all(server => server.stop()));
    beforeEach(() => {
      prefixes++;
    });
    afterEach(async () => {
      await Promise.all(opened.splice(0).map(store => store.close()));
    });

    leaseConformance(
      async () => {
        const [leases, other] = [await open(), await open()];
        const start = async () => {
          await all(server => server.start());
          // The clients come back by themselves, at their own pace.
          for (const store of [leases, other]) await until(() => store.list().then(Boolean, () => false));
        };
        const kill = async () => void (await all(server => server.kill()));
        return {
          leases,
          other,
          open: withSystem => open({ system: withSystem }),
          openElsewhere: () => open({ prefix: `elsewhere${prefixes}:` }),
          server: {
            kill,
            start,
            pause: () => servers.forEach(server => server.pause()),
            resume: () => servers.forEach(server => server.resume()),
          },
          async restart() {
            await kill();
            await start();
          },
          stop: async () => {},
        };
      },
      { server: true, prefixes: true },
    );

    it('uses ready clients that are passed in, watches included, and leaves them open', async () => {
      const clients = servers.map(server => new Redis(server.url));
      try {
        const store = await open({ clients });
        const told = new Promise<string>(resolve => {
          store.watch('a', holder => holder && resolve(holder.holder));
        });
        await acquire(await open(), 'a', 'one');
        assert.equal(await told, 'one');
        const listenersBefore = clients.map(client => client.listenerCount('ready'));
        await store.close();
        await assert.rejects(store.inspect('a'), { code: 'HF_COORDINATION_UNAVAILABLE' });
        for (const [index, client] of clients.entries()) {
          assert.equal(await client.ping(), 'PONG');
          assert(client.listenerCount('ready') < listenersBefore[index]!);
        }
      } finally {
        for (const client of clients) client.disconnect();
      }
    });

    it('raises the fence when every master has lost its memory, and grants nothing for one time to live', async () => {
      const [store, other] = [await open(), await open()];
      const before = await acquire(store, 'a', 'one', 400);
      const unasked = servers.map(server => new Redis(server.url));
      await Promise.all(unasked.map(client => client.flushall()));
      for (const client of unasked) client.disconnect();
      const refused = await other.tryAcquire('a', 'two', 400);
      assert(!refused.acquired && refused.holder === null && refused.expiresInMs > 0);
      assert(!(await store.renew('a', 'one', before, 400)).acquired);
      let after = 0n;
      await until(async () => {
        const grant = await other.tryAcquire('a', 'two', 400);
        if (grant.acquired) after = grant.fence;
        return grant.acquired;
      });
      assert(after > before);
    });

    it('raises the fence when the masters were restarted without their memory', async () => {
      const store = await open();
      const before = await acquire(store, 'a', 'one', 300);
      await all(server => server.wipe());
      let after = 0n;
      await until(async () => {
        const grant = await store.tryAcquire('a', 'two', 300).catch(() => null);
        if (grant?.acquired) after = grant.fence;
        return grant?.acquired === true;
      });
      assert(after > before);
    });

    it('is not led back by a master whose memory is an old one', async () => {
      const store = await open();
      const before = await acquire(store, 'a', 'one');
      await store.release('a', 'one', before);
      for (const server of servers) {
        const client = new Redis(server.url);
        await client.hset(`t${prefixes}:lease-meta`, 'fence', '1000');
        client.disconnect();
      }
      assert((await acquire(store, 'a', 'two')) > before);
    });

    it('forgets names that have run out, without being asked for a list', async () => {
      const store = await open();
      for (let index = 0; index < 50; index++) await acquire(store, `short/${index}`, 'one', 20);
      const client = new Redis(servers[0]!.url);
      try {
        const index = `t${prefixes}:lease-names`;
        // Each later lease looks at two names by chance, so that few are left after a while.
        for (let round = 0; (await client.zcount(index, '-inf', '+inf')) > 5; round++) {
          assert(round < 2_000);
          const fence = await acquire(store, 'kept', 'one');
          await store.release('kept', 'one', fence);
        }
      } finally {
        client.disconnect();
      }
    });

    it('rejects calls after it was closed', async () => {
      const store = await open();
      await store.close();
      await store.close();
      await assert.rejects(store.inspect('a'), { code: 'HF_COORDINATION_UNAVAILABLE' });
      await assert.rejects(store.tryAcquire('a', 'one', longMs), { code: 'HF_COORDINATION_UNAVAILABLE' });
    });
  });
}

describe('Redis leases, opening', () => {
  const bad: [string, Partial<RedisLeasesOptions>, string][] = [
    ['no master', {}, 'urls'],
    ['an even number of masters', { urls: ['redis://a', 'redis://b'] }, 'urls'],
    ['too many masters', { urls: Array.from({ length: 11 }, () => 'redis://a') }, 'urls'],
    ['what is no address of Redis', { urls: ['http://a'] }, 'urls'],
    ['an unusable prefix', { urls: ['redis://a'], prefix: 'a\n' }, 'prefix'],
  ];
  for (const [what, options, argument] of bad) {
    it(`refuses ${what}`, () =>
      assert.rejects(openRedisLeases({ system, ...options }), {
        code: 'HF_LEASE_INVALID',
        details: { argument },
      }));
  }

  it('rejects when nobody answers', () =>
    assert.rejects(openRedisLeases({ system, urls: ['redis://127.0.0.1:1'] }), {
      code: 'HF_COORDINATION_UNAVAILABLE',
    }));
});
