/** A Redis that was started anew, flushed, or replaced by a replica: real servers, and what hosts and keys see of it. */
import assert from 'node:assert/strict';
import type { Redis } from 'ioredis';
import type { Claim, Coordination, DirectoryEvent, Fence, HeldKey, Logger, ResourceDirectory } from '#core';
import { until } from '../leases/conformance.ts';
import { hasRedis, startRedis, type RedisServer } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { openDoor } from './redis-door.ts';
import { rawClient, RedisHarness } from './redis-harness.ts';
import { claim, host, key, pool } from './vocabulary.ts';

const ttlMs = 1_500;
const short = (name: string) => host(name, { ttlMs });
const held = (claimed: Claim, opened = true): HeldKey => ({
  key: claimed.key,
  fence: claimed.fence,
  opened,
  alarmAtMs: null,
});

/** Does what a host does at every renewal: renews, and resumes when the store says that it has forgotten. */
async function keepAlive(
  directory: ResourceDirectory,
  name: string,
  session: { sessionId: string },
  claims: Claim[],
): Promise<{ sessionId: Claim['sessionId']; refused: string[] }> {
  let answer: Awaited<ReturnType<ResourceDirectory['renewSession']>> | null = null;
  await until(async () => {
    answer = await directory.renewSession(session.sessionId as Claim['sessionId']).catch(() => null);
    return answer !== null;
  });
  assert.deepEqual(answer, { alive: false, expiresInMs: 0, forgotten: true });
  return directory.resumeSession(
    short(name),
    claims.map(each => held(each)),
  );
}

describe('directory on a Redis that forgets', function () {
  this.timeout(30_000);
  const servers: RedisServer[] = [];
  const harnesses: RedisHarness[] = [];
  const raws: Redis[] = [];
  const start = async (...options: Parameters<typeof startRedis>): Promise<RedisServer> => {
    const server = await startRedis(...options);
    servers.push(server);
    return server;
  };
  /** A replica that has all that its master has, and goes on following. */
  async function follow(master: RedisServer): Promise<{ server: RedisServer; raw: Redis }> {
    const server = await start();
    const raw = rawClient(server.url);
    raws.push(raw);
    await raw.replicaof('127.0.0.1', master.port);
    await until(async () => (await raw.info('replication')).includes('master_link_status:up'));
    return { server, raw };
  }
  /** A store that has worked for a while, two hosts with three keys, and a router that watches. */
  async function scene(server: RedisServer, url = server.url) {
    const harness = new RedisHarness(server, ttlMs);
    harnesses.push(harness);
    await harness.begin();
    const [one, two, router] = await Promise.all([1, 2, 3].map(() => harness.connect({ url })));
    const hosts = [
      { name: 'h1', client: one!, session: await one!.directory.openSession(short('h1')) },
      { name: 'h2', client: two!, session: await two!.directory.openSession(short('h2')) },
    ];
    const names = ['a', 'b', 'c'];
    const claims = await Promise.all(names.map(name => claim(router!.directory, name)));
    const events: DirectoryEvent[] = [];
    router!.directory.watch(event => events.push(event));
    await router!.directory.sessions();
    const of = (session: { sessionId: string }) =>
      claims.filter(each => each.sessionId === session.sessionId);
    return { harness, hosts, router: router!, claims, of, events };
  }
  type Scene = Awaited<ReturnType<typeof scene>>;

  /** Hosts come back; nothing may have moved, new keys wait, and what comes later is above all fences. */
  async function recover({ hosts, router, claims, of, events }: Scene, forgottenAtMs: number): Promise<void> {
    const later = await Promise.all(
      hosts.map(({ name, client, session }) => keepAlive(client.directory, name, session, of(session))),
    );
    assert.deepEqual(
      later.map(({ refused }) => refused),
      [[], []],
    );
    for (const before of claims) {
      const outcome = await router.directory.claim(pool, before.key);
      assert(outcome.owned, 'a key moved');
      const { fence, processId } = outcome.claim;
      assert.deepEqual({ fence, processId }, { fence: before.fence, processId: before.processId });
    }
    let waited = 0;
    await until(async () => {
      for (const [index, { client }] of hosts.entries())
        await client.directory.renewSession(later[index]!.sessionId);
      const outcome = await router.directory.claim(pool, key('new'));
      if (outcome.owned) {
        for (const { fence } of claims) assert(outcome.claim.fence > fence);
        return true;
      }
      assert.equal(outcome.reason, 'recovering');
      waited++;
      return false;
    });
    assert(waited > 0 && performance.now() - forgottenAtMs >= ttlMs, 'given out too early');
    assert(events.some(({ type }) => type === 'reset'));
  }

  before(function () {
    if (!hasRedis()) skipLoudly(this, 'no redis-server is installed');
  });
  afterEach(async () => {
    await Promise.all(harnesses.splice(0).map(harness => harness.stop()));
    for (const raw of raws.splice(0)) raw.disconnect();
    await Promise.all(servers.splice(0).map(server => server.stop()));
  });

  it('keeps every key where it is when Redis was started anew without its data', async () => {
    const server = await start();
    const played = await scene(server);
    const forgottenAtMs = performance.now();
    await server.wipe();
    await recover(played, forgottenAtMs);
  });

  it('keeps every key where it is when everything was flushed while clients were connected', async () => {
    const server = await start();
    const played = await scene(server);
    const forgottenAtMs = performance.now();
    await played.harness.raw.flushall();
    await recover(played, forgottenAtMs);
  });

  it('counts a restart with all its data as forgetting, and keeps what only the store knows', async () => {
    const server = await start({ persistence: 'always' });
    const played = await scene(server);
    const { router, claims } = played;
    await router.directory.confirmOpened(claims[0]!);
    await router.directory.pauseKey(pool, key('paused'));
    const lost = await claim(router.directory, 'lost');
    await router.directory.confirmOpened(lost);
    const alarmAtMs = 1_700_000_000_000;
    await router.directory.setAlarm(claims[1]!, alarmAtMs);
    const forgottenAtMs = performance.now();
    await server.restart();
    await recover(played, forgottenAtMs);
    assert.deepEqual(await router.directory.claim(pool, key('paused')), { owned: false, reason: 'paused' });
    assert.deepEqual((await router.directory.dueAlarms(pool, 10)).alarms, [
      { key: claims[1]!.key, atMs: alarmAtMs },
    ]);
    // Nobody brought this one back: its next owner knows that there must be state.
    const after = await claim(router.directory, 'lost');
    assert(after.hadOwner && after.fence > lost.fence);
  });

  it('is seen by every client, also when another had attached before it asked', async () => {
    const server = await start();
    const { harness } = await scene(server);
    const seen: string[] = [];
    const note = (_facts: object, message?: string) => void seen.push(message ?? '');
    const log: Logger = { debug: note, info: note, warn: note, error: note };
    const { directory } = await harness.connect({ log });
    await harness.forget(ttlMs);
    await directory.sessions();
    assert.deepEqual(seen, ['Redis has forgotten; attached to what it is now']);
  });

  it('goes on above a fence that was far ahead of the counter, when its host comes back', async () => {
    const server = await start();
    const { harness, hosts, router, claims } = await scene(server);
    const far = (claims[0]!.fence + 10n ** 17n) as Fence;
    const raised = await router.directory.raiseFence(claims[0]!, far);
    assert(raised && raised.fence > far);
    await harness.forget(0);
    const owner = hosts.find(({ session }) => session.sessionId === raised.sessionId)!;
    const { refused } = await owner.client.directory.resumeSession(short(owner.name), [held(raised)]);
    assert.deepEqual(refused, [raised.key], 'it does not collect any more');
    assert((await claim(router.directory, 'another')).fence > raised.fence);
  });

  it('takes the newer owner when a stale replica was promoted', async () => {
    const master = await start({ parameters: ['--repl-diskless-sync-delay', '0'] });
    const replica = await follow(master);
    const door = await openDoor(master.port);
    try {
      const played = await scene(master, `redis://127.0.0.1:${door.port}`);
      const { hosts, router, claims, harness } = played;
      await until(async () => (await replica.raw.hlen(harness.name(`claims:${pool}`))) === claims.length);
      await replica.raw.replicaof('NO', 'ONE'); // from here on it misses what happens
      const moving = claims[0]!;
      const target = hosts.find(({ session }) => session.sessionId !== moving.sessionId)!;
      const moved = await router.directory.transfer(moving, target.session.sessionId);
      assert(moved.held && moved.claim?.sessionId === target.session.sessionId);
      const forgottenAtMs = performance.now();
      await master.kill();
      door.leadTo(replica.server.port);
      const now = claims.map(each => (each === moving ? moved.claim! : each));
      const of = (session: { sessionId: string }) => now.filter(each => each.sessionId === session.sessionId);
      await recover({ ...played, claims: now, of }, forgottenAtMs);
    } finally {
      await door.close();
    }
  });

  it('does not use a replica', async () => {
    const master = await start({ parameters: ['--repl-diskless-sync-delay', '0'] });
    const replica = await follow(master);
    const harness = new RedisHarness(replica.server, ttlMs);
    harnesses.push(harness);
    await assert.rejects(harness.connect(), {
      code: 'HF_COORDINATION_UNAVAILABLE',
      message: /it is a replica/,
    });
  });

  it('answers nothing more once its master was demoted, not even who owns a key', async () => {
    const [master, other] = [await start(), await start()];
    const { harness, router, claims, hosts } = await scene(master);
    const [{ client, session }] = hosts as [(typeof hosts)[0]];
    await harness.raw.replicaof('127.0.0.1', other.port);
    const calls = [
      router.directory.lookup(pool, claims[0]!.key),
      router.directory.claim(pool, claims[0]!.key),
      client.directory.renewSession(session.sessionId),
    ];
    for (const call of await Promise.allSettled(calls)) {
      assert.equal(
        call.status === 'rejected' && (call.reason as { code: string }).code,
        'HF_COORDINATION_UNAVAILABLE',
      );
    }
    // Promoted again, it is the same process, but nobody knows what it missed.
    await harness.raw.replicaof('NO', 'ONE');
    await until(async () => {
      const renewed = await client.directory.renewSession(session.sessionId).catch(() => null);
      return renewed?.forgotten === true;
    });
  });

  it('begins one incarnation when many clients attach at once', async () => {
    const server = await start();
    const harness = new RedisHarness(server, ttlMs);
    harnesses.push(harness);
    const clients: Coordination[] = await Promise.all(Array.from({ length: 8 }, () => harness.connect()));
    const nonces = new Set<string | null>();
    for (const { directory } of clients) {
      await directory.openSession(host(`h${nonces.size}`, { ttlMs }));
      nonces.add(await harness.raw.hget(harness.name('meta'), 'nonce'));
    }
    assert.equal(nonces.size, 1);
    assert.equal((await clients[0]!.directory.sessions()).length, 8);
    // Empty, it looks like one that lost everything.
    assert.deepEqual(await clients[1]!.directory.claim(pool, key('a')), {
      owned: false,
      reason: 'recovering',
    });
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        harness.raw.flushall().then(() => clients[index % 8]!.directory.sessions()),
      ),
    );
    const after = await harness.raw.hget(harness.name('meta'), 'nonce');
    assert(after !== null && !nonces.has(after));
  });

  it('refuses sessions that live longer than it would wait', async () => {
    const server = await start();
    const { hosts } = await scene(server);
    await assert.rejects(hosts[0]!.client.directory.openSession(host('h3', { ttlMs: ttlMs + 1 })), {
      code: 'HF_REQUEST_INVALID',
    });
  });
});
