import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createSystem, HoldfastError } from '#core';
import { openEtcdLeases, type EtcdLeasesOptions, type LeaseStore } from '#leases';
import { freePort } from '../support/cluster.ts';
import { hasEtcd, startEtcd, type EtcdServer } from '../support/etcd-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { leaseConformance, until } from './conformance.ts';
import { acquire, longMs } from './harness.ts';
import { createHintOnlySystem } from './hint-only-system.ts';
import { follow } from './watch-conformance.ts';

const system = createSystem();

describe('etcd leases', function () {
  this.timeout(60_000);
  let server: EtcdServer;
  let prefixes = 0;
  const opened: LeaseStore[] = [];
  async function open(options: Partial<EtcdLeasesOptions> = {}): Promise<LeaseStore> {
    const own = { endpoints: [server.url], prefix: `test-${prefixes}/`, system, callTimeoutMs: 1_000 };
    const store = await openEtcdLeases({ ...own, ...options });
    opened.push(store);
    return store;
  }

  before(async function () {
    if (!hasEtcd()) skipLoudly(this, 'etcd is not installed');
    server = await startEtcd();
  });
  after(() => server?.stop());
  beforeEach(() => {
    prefixes++;
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(store => store.close()));
  });

  describe('like all leases', () => {
    leaseConformance(
      async () => {
        const [leases, other] = [await open(), await open()];
        return {
          leases,
          other,
          open: withSystem => open({ system: withSystem }),
          openElsewhere: () => open({ prefix: `elsewhere-${prefixes}/` }),
          server,
          restart: () => server.restart(),
          stop: async () => {},
        };
      },
      { server: true, prefixes: true },
    );
  });

  it('tells its holder no more time than was asked for, although etcd gives whole seconds', async () => {
    const store = await open();
    const grant = await store.tryAcquire('a', 'one', 150);
    assert(grant.acquired && grant.expiresInMs > 0 && grant.expiresInMs <= 150);
    const found = await store.inspect('a');
    assert(found && found.expiresInMs > 0);
  });

  it('makes a lease longer under the same fence, and ends it as a whole', async () => {
    const [store, other] = [await open(), await open()];
    const fence = await acquire(store, 'a', 'one', 1_000);
    for (const ttlMs of [10_000, 20_000, 5_000]) {
      const renewed = await store.renew('a', 'one', fence, ttlMs);
      assert(renewed.acquired && renewed.fence === fence && renewed.expiresInMs > ttlMs - 2_000);
    }
    assert(await other.release('a', 'one', fence));
    assert((await acquire(other, 'a', 'two')) > fence);
    assert(!(await store.renew('a', 'one', fence, longMs)).acquired);
    assert.equal((await store.inspect('a'))?.holder, 'two');
  });

  it('extends for one holder that asks from many places at once', async () => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => open()));
    const fence = await acquire(stores[0]!, 'a', 'one', 2_000);
    const asked = stores.map((store, index) => store.tryAcquire('a', 'one', 10_000 + index * 5_000));
    for (const grant of await Promise.all(asked)) assert(grant.acquired && grant.fence === fence);
  });

  it('raises the fence when etcd was wiped and counts its revisions anew', async () => {
    const store = await open();
    const before = await acquire(store, 'a', 'one');
    await server.wipe();
    const renewed = await store.renew('a', 'one', before, longMs);
    assert(!renewed.acquired && renewed.holder === null);
    assert((await acquire(store, 'a', 'one')) > before);
    assert(!(await store.release('a', 'one', before)));
  });

  it('is told of changes by etcd, without polling', async () => {
    const watch = follow(await open({ system: createHintOnlySystem() }), 'a');
    const other = await open();
    await watch.reaches(null);
    const fence = await acquire(other, 'a', 'one');
    await watch.reaches('one');
    await other.release('a', 'one', fence);
    await watch.reaches(null);
    watch.stop();
  });

  it('goes on with another endpoint when one is dead, and when one never answers', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    try {
      for (const bad of [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${port}`]) {
        const store = await open({ endpoints: [bad, `${server.url}/`] });
        const fence = await acquire(store, 'a', 'one');
        assert((await store.renew('a', 'one', fence, longMs)).acquired);
        assert(await store.release('a', 'one', fence));
      }
    } finally {
      silent.closeAllConnections();
      silent.close();
    }
  });

  /** Passes all on to etcd, and swallows the answer to the next request of the given path, once. */
  function losing(path: string) {
    let lost = false;
    const send: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      const body = typeof init?.body === 'string' ? init.body : '';
      const changesLease = /"lease":/.test(body) || /request_delete_range/.test(body);
      if (lost || typeof input !== 'string' || !input.endsWith(path) || !changesLease) return response;
      lost = true;
      await response.arrayBuffer();
      throw new Error('the answer was lost');
    };
    return { send, wasLost: () => lost };
  }

  it('recognises its own grant and its own release when the answer was lost and it had to ask again', async () => {
    const endpoints = [server.url, `${server.url}/`];
    const acquiring = losing('/v3/kv/txn');
    const store = await open({ endpoints, fetch: acquiring.send });
    const fence = await acquire(store, 'a', 'one');
    assert(acquiring.wasLost());
    assert.equal((await store.inspect('a'))?.fence, fence);
    const releasing = losing('/v3/kv/txn');
    const other = await open({ endpoints, fetch: releasing.send });
    assert(await other.release('a', 'one', fence));
    assert(releasing.wasLost());
    assert.equal(await store.inspect('a'), null);
  });

  it('does not take away late what the holder got when it asked again, after an answer was lost for good', async () => {
    const { send } = losing('/v3/kv/txn');
    const revocations: (() => Promise<void>)[] = [];
    const store = await open({
      fetch: async (input, init) => {
        if (input !== `${server.url}/v3/lease/revoke`) return send(input, init);
        revocations.push(async () => void (await fetch(input, { ...init, signal: null })));
        return new Response('{}');
      },
    });
    await assert.rejects(store.tryAcquire('a', 'one', longMs), { code: 'HF_COORDINATION_UNAVAILABLE' });
    const fence = await acquire(store, 'a', 'one');
    await Promise.all(revocations.map(revoke => revoke()));
    assert.equal((await store.inspect('a'))?.fence, fence);
  });

  it('leaves no etcd lease behind of those who came too late', async () => {
    const countLeases = async () => {
      const response = await fetch(`${server.url}/v3/lease/leases`, { method: 'POST', body: '{}' });
      return ((await response.json()) as { leases?: unknown[] }).leases?.length ?? 0;
    };
    const before = await countLeases();
    const store = await open();
    await Promise.all(Array.from({ length: 10 }, (_, index) => store.tryAcquire('a', `h${index}`, longMs)));
    await until(async () => (await countLeases()) <= before + 1);
  });

  it('signs in, and again when its token is worth nothing any more', async () => {
    const post = async (path: string, body: object, token?: string) => {
      const headers = token === undefined ? {} : { authorization: token };
      const response = await fetch(server.url + path, {
        method: 'POST',
        body: JSON.stringify(body),
        headers,
      });
      const text = await response.text();
      assert(response.ok, text);
      return JSON.parse(text) as { token?: string };
    };
    await post('/v3/auth/user/add', { name: 'root', password: 'hush-hush' });
    await post('/v3/auth/role/add', { name: 'root' });
    await post('/v3/auth/user/grant', { user: 'root', role: 'root' });
    await post('/v3/auth/enable', {});
    try {
      const store = await open({ username: 'root', password: 'hush-hush' });
      const fence = await acquire(store, 'a', 'one');
      const { token } = await post('/v3/auth/authenticate', { name: 'root', password: 'hush-hush' });
      await post('/v3/auth/disable', {}, token);
      await post('/v3/auth/enable', {}); // and every token is forgotten
      assert((await store.renew('a', 'one', fence, longMs)).acquired);
      for (const credentials of [{}, { username: 'root', password: 'no-no-no' }]) {
        await assert.rejects(open(credentials), (error: unknown) => {
          assert(error instanceof HoldfastError);
          assert.equal(error.code, 'HF_COORDINATION_UNAVAILABLE');
          assert.match(error.message, /etcd refused: /);
          assert(!`${error.stack}${JSON.stringify(error)}`.includes('no-no-no'));
          return true;
        });
      }
    } finally {
      const { token } = await post('/v3/auth/authenticate', { name: 'root', password: 'hush-hush' });
      await post('/v3/auth/disable', {}, token);
    }
  });

  it('refuses unusable options, without telling what may be secret', async () => {
    const bad: [Partial<EtcdLeasesOptions>, string][] = [
      [{ prefix: 'line\nbreak', endpoints: [] }, 'prefix'],
      [{ endpoints: [] }, 'endpoints'],
      [{ endpoints: ['localhost:2379'] }, 'endpoints'],
      [{ endpoints: ['http://root:hush-hush@localhost:2379'] }, 'endpoints'],
    ];
    for (const [options, argument] of bad) {
      await assert.rejects(open(options), (error: unknown) => {
        assert(error instanceof HoldfastError);
        assert.equal(error.code, 'HF_LEASE_INVALID');
        assert.equal(error.details['argument'], argument);
        assert(!`${error.stack}${JSON.stringify(error)}`.includes('hush-hush'));
        return true;
      });
    }
  });

  it('says so when something else than etcd answers', async () => {
    const other = createServer((_, response) => response.end('<html>')).listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    try {
      await assert.rejects(open({ endpoints: [`http://127.0.0.1:${port}`] }), {
        code: 'HF_COORDINATION_UNAVAILABLE',
        message: /is this the client port of etcd/,
      });
    } finally {
      other.closeAllConnections();
      other.close();
    }
  });

  it('rejects calls after it was closed', async () => {
    const store = await open();
    await store.close();
    await store.close();
    await assert.rejects(store.inspect('a'), { code: 'HF_COORDINATION_UNAVAILABLE' });
  });
});
