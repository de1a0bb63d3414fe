/** The directory on a Redis that hangs, dies, is full, or has a clock that jumps; and that it keeps secrets and leaves nothing behind. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import type { Claim, DirectoryEvent, Logger, Session, SessionId } from '#core';
import { chooseOwner } from '#ownership';
import { until } from '../leases/conformance.ts';
import { hasRedis, startRedis, type RedisServer } from '../support/redis-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { openDoor } from './redis-door.ts';
import { rawClient, RedisHarness, system } from './redis-harness.ts';
import { claim, host, key, pool } from './vocabulary.ts';

const hourMs = 3_600_000;

describe('directory on a Redis with faults', function () {
  this.timeout(30_000);
  let server: RedisServer;
  let harness: RedisHarness;
  const begin = async () => {
    server = await startRedis();
    harness = new RedisHarness(server, 60_000);
    await harness.begin();
  };

  before(function () {
    if (!hasRedis()) skipLoudly(this, 'no redis-server is installed');
  });
  afterEach(async () => {
    await harness.stop();
    await server.stop();
  });

  it('rejects every call while Redis hangs, goes on after it, and tells watchers of the gap', async () => {
    await begin();
    const { directory } = await harness.connect();
    const { sessionId } = await directory.openSession(host('h1'));
    const held = await claim(directory, 'a');
    const events: DirectoryEvent[] = [];
    directory.watch(event => events.push(event));
    await directory.sessions();
    server.pause();
    try {
      const calls = [
        directory.renewSession(sessionId),
        directory.claim(pool, key('b')),
        directory.release(held),
        directory.sessions(),
      ];
      for (const call of await Promise.allSettled(calls)) {
        assert.equal(
          call.status === 'rejected' && (call.reason as { code: string }).code,
          'HF_COORDINATION_UNAVAILABLE',
        );
      }
    } finally {
      server.resume();
    }
    await until(() =>
      directory.renewSession(sessionId).then(
        ({ alive }) => alive,
        () => false,
      ),
    );
    await until(() => events.some(({ type }) => type === 'reset'));
    assert((await directory.claim(pool, key('b'))).owned);
  });

  it('asks again what does no harm twice when the answer got lost, and says so of the rest', async () => {
    await begin();
    const door = await openDoor(server.port);
    try {
      const { directory } = await harness.connect({ url: `redis://127.0.0.1:${door.port}` });
      const { directory: other } = await harness.connect();
      /** Whatever is answered next: the expiry's question may come between, and then nothing got lost of ours. */
      const unanswered = async <T>(ask: () => Promise<T>): Promise<T> => {
        await directory.sessions();
        const lost = door.loseNextAnswer();
        const asked = ask();
        await Promise.all([lost, asked.catch(() => {})]);
        return asked;
      };
      await directory.openSession(host('h1'));
      const held = await claim(directory, 'a');
      const given = await claim(directory, 'b');

      // Not asked again: the host asks with its next attempt. The first session ends with the second, and the key is where it belongs.
      const keys = [{ key: held.key, fence: held.fence, opened: true, alarmAtMs: null }];
      await assert.rejects(
        unanswered(() => directory.resumeSession(host('h1'), keys)),
        { code: 'HF_COORDINATION_UNAVAILABLE' },
      );
      const { sessionId, refused } = await directory.resumeSession(host('h1'), keys);
      assert.deepEqual(refused, []);
      assert.deepEqual(
        (await other.sessions()).map(session => [session.sessionId, session.keys]),
        [[sessionId, 1]],
      );
      assert.deepEqual(await other.lookup(pool, held.key), { ...held, sessionId, hadOwner: true });
      assert.deepEqual(
        (await other.list({})).claims.map(each => each.key),
        [held.key],
      );
      assert.equal(await other.lookup(pool, given.key), null, 'not brought back');

      const again = await unanswered(() => claim(directory, 'c'));
      assert.deepEqual(await other.lookup(pool, again.key), again);
      await other.release(given); // not theirs any more; from now on Redis knows the script
      await assert.rejects(
        unanswered(() => directory.release(again)),
        { code: 'HF_COORDINATION_UNAVAILABLE' },
      );
      assert.equal(await other.lookup(pool, again.key), null);
    } finally {
      await door.close();
    }
  });

  it('counts time while Redis hung on the safe side: no session ends for it', async () => {
    await begin();
    const { directory } = await harness.connect();
    const { sessionId } = await directory.openSession(host('h1', { ttlMs: 1_500 }));
    server.pause();
    await system.timers.sleep(100).then(() => directory.sessions().catch(() => {})); // at most its own deadline
    await directory.sessions().catch(() => {});
    server.resume();
    let answer: { alive: boolean } | null = null;
    await until(async () => {
      answer = await directory.renewSession(sessionId).catch(() => null);
      return answer !== null;
    });
    assert.deepEqual(answer, { alive: true, expiresInMs: 1_500 });
  });

  it('ends no session early when the clock of Redis jumps forward, and none much later when it jumps back', async () => {
    await begin();
    const { directory } = await harness.connect();
    const { sessionId } = await directory.openSession(host('h1', { ttlMs: 5_000 }));
    // The record of what Redis's clock said last, moved the other way: the same as if the clock had jumped.
    await harness.raw.hincrby(harness.name('meta'), 'wallMs', -hourMs);
    assert.deepEqual(await directory.renewSession(sessionId), { alive: true, expiresInMs: 5_000 });
    await harness.raw.hincrby(harness.name('meta'), 'wallMs', -hourMs);
    assert.equal((await directory.sessions()).length, 1);
    await directory.renewSession(sessionId);

    const { sessionId: brief } = await directory.openSession(host('h2', { ttlMs: 500 }));
    await harness.raw.hincrby(harness.name('meta'), 'wallMs', hourMs);
    await until(async () => (await directory.sessions()).every(session => session.sessionId !== brief));
    assert((await directory.renewSession(sessionId)).alive);
  });

  it('believes no client that claims a later time than Redis has', async () => {
    await begin();
    const { directory } = await harness.connect();
    const { sessionId } = await directory.openSession(host('h1', { ttlMs: 5_000 }));
    // A client that has just attached knows the time from nobody but Redis: it may believe 1.5 s at once, and no more.
    await harness.raw.hincrby(harness.name('meta'), 'wallMs', -hourMs);
    const other = await harness.connect();
    assert.equal((await other.directory.sessions()).length, 1);
    assert((await directory.renewSession(sessionId)).alive);
  });

  it('tells of ended sessions in time though nobody asks', async () => {
    await begin();
    const [one, two] = [await harness.connect(), await harness.connect()];
    const ended = new Promise<DirectoryEvent>(resolve => {
      two.directory.watch(event => event.type === 'session-ended' && resolve(event));
    });
    await two.directory.sessions();
    const { sessionId } = await one.directory.openSession(host('h1', { ttlMs: 500 }));
    await one.close(); // whoever opened it is gone with it
    assert.deepEqual(await ended, { type: 'session-ended', sessionId, pool, reason: 'expired' });
  });

  it('names neither URL nor password, in errors and logs', async () => {
    await begin();
    await harness.raw.config('SET', 'requirepass', 'sEcReT-word');
    const lines: string[] = [];
    const note = (...args: unknown[]) => lines.push(inspect(args, { depth: 9 }));
    const log: Logger = { debug: note, info: note, warn: note, error: note };
    const withPassword = (password: string) => server.url.replace('redis://', `redis://default:${password}@`);
    const failed = async (url: string) => {
      const error: unknown = await harness.connect({ url, log }).then(
        () => assert.fail('connected'),
        (reason: unknown) => reason,
      );
      assert.equal((error as { code: string }).code, 'HF_COORDINATION_UNAVAILABLE');
      lines.push(inspect(error, { depth: 9 }));
    };
    await failed(withPassword('wRoNg-word'));
    await failed(server.url);
    const { directory } = await harness.connect({ url: withPassword('sEcReT-word'), log });
    await directory.sessions();
    await server.kill();
    await failed(withPassword('sEcReT-word'));
    await assert.rejects(directory.sessions(), (error: unknown) => {
      lines.push(inspect(error, { depth: 9 }));
      return true;
    });
    assert(lines.length >= 5);
    for (const line of lines)
      assert.doesNotMatch(line, new RegExp(`sEcReT|wRoNg|127\\.0\\.0\\.1|${server.port}|redis:`));
  });

  it('uses no Redis that may drop keys, and goes on with what is owned when memory is full', async () => {
    await begin();
    await harness.raw.config('SET', 'maxmemory-policy', 'allkeys-lru', 'maxmemory', '100mb');
    await assert.rejects(harness.connect(), { code: 'HF_COORDINATION_UNAVAILABLE', message: /noeviction/ });
    await harness.raw.config('SET', 'maxmemory-policy', 'noeviction');
    const { directory } = await harness.connect();
    const { sessionId } = await directory.openSession(host('h1'));
    const held = await claim(directory, 'a');
    await harness.raw.config('SET', 'maxmemory', '1');
    await assert.rejects(directory.claim(pool, key('b')), { code: 'HF_COORDINATION_UNAVAILABLE' });
    assert((await directory.renewSession(sessionId)).alive);
    assert.deepEqual(await directory.lookup(pool, held.key), held);
    assert(await directory.release(held));
    await harness.raw.config('SET', 'maxmemory', '0');
    assert((await directory.claim(pool, key('b'))).owned);
  });

  it('ends very many sessions at once', async () => {
    await begin();
    const { directory } = await harness.connect();
    await Promise.all(Array.from({ length: 2_500 }, (_, index) => directory.openSession(host(`h${index}`))));
    await harness.raw.hincrby(harness.name('meta'), 'nowMs', hourMs);
    assert.deepEqual(await directory.claim(pool, key('a')), { owned: false, reason: 'no-live-host' });
    assert.deepEqual(await directory.sessions(), []);
  });

  it('leaves nothing behind of sessions that ended, and of keys their records', async () => {
    await begin();
    const { directory } = await harness.connect();
    const { sessionId } = await directory.openSession(host('h1'));
    await claim(directory, 'a');
    await directory.closeSession(sessionId);
    const attempt = harness.name('attempt:node-1-h1');
    assert((await harness.raw.pttl(attempt)) > 0, 'kept for a while only');
    assert.deepEqual((await harness.raw.keys(harness.name('*'))).sort(), [
      attempt,
      ...[harness.name(`claims:${pool}`), ...(await harness.raw.keys(harness.name('lease*')))].sort(),
      harness.name('meta'),
    ]);
  });

  it('places keys exactly as placement does, ties included', async () => {
    await begin();
    const { directory } = await harness.connect();
    const capacities = [1, 2, 3, 1.5, 2, 1, 0.1 + 1.2];
    await Promise.all(
      capacities.map((capacity, index) => directory.openSession(host(`h${index}`, { capacity }))),
    );
    const model = new Map<SessionId, Session>(
      (await directory.sessions()).map(one => [one.sessionId, { ...one }]),
    );
    for (let round = 0; round < 4; round++) {
      const keys = Array.from({ length: 50 }, (_, index) => key(`k${round}-${index}`));
      for (const outcome of await directory.claimMany(pool, keys)) {
        const expected = chooseOwner(model.values())!;
        assert.equal(outcome.owned && outcome.claim.sessionId, expected.sessionId);
        expected.keys++;
      }
    }
  });

  it('goes on after scripts were forgotten', async () => {
    await begin();
    const { directory } = await harness.connect();
    await directory.openSession(host('h1'));
    await harness.raw.script('FLUSH');
    assert((await directory.claim(pool, key('a'))).owned);
  });

  it('keeps clusters with one prefix in two databases apart', async () => {
    await begin();
    const here = await harness.connect();
    const raw = rawClient(`${server.url}/3`);
    try {
      const there = await harness.connect({ url: `${server.url}/3` });
      const events: DirectoryEvent[] = [];
      here.directory.watch(event => events.push(event));
      await here.directory.sessions();
      await there.directory.openSession(host('h1'));
      await here.directory.openSession(host('h2'));
      await until(() => events.length > 0);
      assert.deepEqual(
        events.map(event => event.type === 'session-opened' && event.session.processId),
        ['node-1-h2'],
      );
      assert.equal((await here.directory.sessions()).length, 1);
    } finally {
      raw.disconnect();
    }
  });

  it('stops asking when it is closed, and rejects what comes then', async () => {
    await begin();
    const client = await harness.connect();
    await client.close();
    await client.close();
    await assert.rejects(client.directory.sessions(), { code: 'HF_COORDINATION_UNAVAILABLE' });
    const clients = async () => ((await harness.raw.client('LIST')) as string).trim().split('\n').length;
    await until(async () => (await clients()) === 1);
  });

  it('lists a hundred thousand keys in pages, each once', async () => {
    await begin();
    const { directory } = await harness.connect();
    for (const name of ['h1', 'h2', 'h3']) await directory.openSession(host(name));
    const total = 100_000;
    for (let from = 0; from < total; from += 1_000) {
      const outcomes = await directory.claimMany(
        pool,
        Array.from({ length: 1_000 }, (_, index) => key(String(from + index))),
      );
      assert(outcomes.every(({ owned }) => owned));
    }
    const seen = new Set<string>();
    let cursor: string | null = null;
    let last = '';
    do {
      const page: { claims: Claim[]; cursor: string | null } = await directory.list(
        cursor === null ? {} : { cursor },
      );
      for (const { key: name } of page.claims) {
        assert(name > last);
        last = name;
        seen.add(name);
      }
      assert(page.cursor === null || page.claims.length === 1_000);
      cursor = page.cursor;
    } while (cursor !== null);
    assert.equal(seen.size, total);
  });
});
