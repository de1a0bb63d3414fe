/** What every adapter must do for hosts that come back, to a store that remembers or has forgotten; part of `directoryConformance`. */
import assert from 'node:assert/strict';
import type {
  Claim,
  DirectoryEvent,
  Fence,
  HeldKey,
  OpenSession,
  ProcessId,
  ResourceDirectory,
  SessionId,
} from '#core';
import { until } from '../leases/conformance.ts';
import { claim, host, key, pool, RECOVERY_TTL_MS, type DirectoryHarness } from './vocabulary.ts';

const past = 1_700_000_000_000;

export function recoveryConformance(harness: () => DirectoryHarness): void {
  let one: ResourceDirectory;
  let two: ResourceDirectory;
  beforeEach(() => {
    one = harness().one.directory;
    two = harness().two.directory;
  });
  const open = async (name: string, more: Partial<OpenSession> = {}): Promise<SessionId> =>
    (await one.openSession(host(name, more))).sessionId;
  const held = (claimed: Claim, more: Partial<HeldKey> = {}): HeldKey => ({
    key: claimed.key,
    fence: claimed.fence,
    opened: true,
    alarmAtMs: null,
    ...more,
  });
  const keysOf = async (sessionId: SessionId): Promise<number | undefined> =>
    (await two.sessions()).find(session => session.sessionId === sessionId)?.keys;

  describe('a host that lost its session', () => {
    it('keeps what nobody got since, under its fences', async () => {
      const short = host('h1', { ttlMs: 500 });
      const { sessionId: first } = await one.openSession(short);
      const claims = [await claim(one, 'a'), await claim(one, 'b'), await claim(one, 'c')];
      await one.confirmOpened(claims[0]!);
      await until(async () => (await two.sessions()).length === 0);
      await open('h2');
      const taken = await claim(two, 'b');
      const resumed = await one.resumeSession(
        host('h1'),
        claims.map(each => held(each)),
      );
      assert.notEqual(resumed.sessionId, first);
      assert.equal(resumed.expiresInMs, 60_000);
      assert.deepEqual(resumed.refused, [key('b')]);
      assert.deepEqual(await two.lookup(pool, key('a')), {
        ...claims[0],
        sessionId: resumed.sessionId,
        hadOwner: true,
      });
      assert.deepEqual(await two.lookup(pool, key('b')), taken);
      assert.equal(await keysOf(resumed.sessionId), 2);
      assert((await one.renewSession(resumed.sessionId)).alive);
      assert(await one.release({ ...claims[2]!, sessionId: resumed.sessionId }));
    });

    it('ends its earlier sessions in the same step, and keeps their keys', async () => {
      const first = await open('h1');
      const before = await claim(one, 'a');
      const { sessionId, refused } = await one.resumeSession(host('h1'), [held(before)]);
      assert.deepEqual(refused, []);
      assert.deepEqual(
        (await two.sessions()).map(session => [session.sessionId, session.keys]),
        [[sessionId, 1]],
      );
      assert.equal((await one.renewSession(first)).alive, false);
      assert.deepEqual(await claim(two, 'a'), { ...before, sessionId, hadOwner: true });
    });

    it('may ask twice, for the session and for more keys', async () => {
      await open('h1');
      const [a, b] = [await claim(one, 'a'), await claim(one, 'b')];
      await one.resumeSession(host('h1'), [held(a)]);
      const { sessionId, refused } = await one.resumeSession(host('h1'), [held(a)]);
      assert.deepEqual(refused, []);
      assert.deepEqual(await one.adopt(sessionId, [held(b), held(a)]), []);
      assert.deepEqual(await one.adopt(sessionId, [held(b), held(a)]), []);
      assert.equal(await keysOf(sessionId), 2);
      assert.equal((await two.sessions()).length, 1);
    });

    it('does not get what it had given back, handed over, or never had', async () => {
      await open('h1');
      const released = await claim(one, 'released');
      const moved = await claim(one, 'moved');
      const raised = await claim(one, 'raised');
      await one.release(released);
      const second = await open('h2');
      await one.transfer(moved, second);
      await one.raiseFence(raised, raised.fence);
      const never = { ...held(raised), key: key('never claimed') };
      const { sessionId, refused } = await one.resumeSession(host('h1'), [
        held(released),
        held(moved),
        held(raised),
        never,
      ]);
      assert.deepEqual(refused, [released.key, moved.key, raised.key, never.key]);
      assert.equal(await keysOf(sessionId), 0);
      assert.equal((await two.lookup(pool, moved.key))?.sessionId, second);
      assert.equal(await two.lookup(pool, released.key), null);
    });

    it('gets nothing with a session that is over', async () => {
      const first = await open('h1');
      const before = await claim(one, 'a');
      await one.closeSession(first);
      assert.deepEqual(await one.adopt(first, [held(before)]), [before.key]);
      assert.deepEqual(await one.adopt('no-such-session' as SessionId, [held(before)]), [before.key]);
      assert.equal(await two.lookup(pool, key('a')), null);
    });

    it('does not come back after the proof of its death', async () => {
      await open('h1');
      const before = await claim(one, 'a');
      await one.endSessionsOf(before.processId);
      await assert.rejects(one.resumeSession(host('h1'), [held(before)]), { code: 'HF_WRONG_STATE' });
      assert.equal(await two.lookup(pool, key('a')), null);
    });

    it('goes on over a restart of the store as if nothing had been', async () => {
      const first = await open('h1');
      const before = await claim(one, 'a');
      await harness().restart();
      assert.deepEqual(await one.renewSession(first), { alive: true, expiresInMs: 60_000 });
      await harness().restart();
      const { sessionId, refused } = await one.resumeSession(host('h1'), [held(before)]);
      assert.deepEqual(refused, []);
      assert.deepEqual(await claim(two, 'a'), { ...before, sessionId, hadOwner: true });
    });

    it('cannot bring keys or fences that are none, and changes nothing with them', async () => {
      const first = await open('h1');
      const before = await claim(one, 'a');
      const tooMany = Array.from({ length: 1_001 }, () => held(before));
      const tooHigh = [held(before, { fence: (2n ** 63n - 1n) as Fence })];
      for (const keys of [tooMany, tooHigh]) {
        await assert.rejects(one.resumeSession(host('h1'), keys), { code: 'HF_REQUEST_INVALID' });
        await assert.rejects(one.adopt(first, keys), { code: 'HF_REQUEST_INVALID' });
      }
      assert.deepEqual(await claim(two, 'a'), before);
    });
  });

  describe('a store that has forgotten', () => {
    const short = (name: string) => host(name, { ttlMs: RECOVERY_TTL_MS });
    const forget = () => harness().forget();
    const recovered = () =>
      until(async () => {
        const outcome = await two.claim(pool, key('asked until it recovers'));
        return outcome.owned || outcome.reason !== 'recovering';
      });

    it('says so, gives nothing out for as long as somebody may own something, and then goes on', async function () {
      this.timeout(30_000);
      const { sessionId: first } = await one.openSession(short('h1'));
      const before = await claim(one, 'a');
      const lastGrantMs = performance.now();
      await forget();
      assert.deepEqual(await one.renewSession(first), { alive: false, expiresInMs: 0, forgotten: true });
      const { sessionId: second } = await one.openSession(short('h2'));
      assert.deepEqual(await two.claim(pool, key('a')), { owned: false, reason: 'recovering' });
      assert.deepEqual(await two.claim(pool, key('b')), { owned: false, reason: 'recovering' });
      // Started again meanwhile, it still knows that it had forgotten.
      await harness().restart();
      await until(async () => {
        await one.renewSession(second);
        return (await two.claim(pool, key('a'))).owned;
      });
      assert(
        performance.now() - lastGrantMs >= RECOVERY_TTL_MS,
        'given out while the old owner may have held it',
      );
      const after = await claim(two, 'a');
      assert(after.fence > before.fence && after.sessionId === second);
      assert.deepEqual(await one.renewSession(first), { alive: false, expiresInMs: 0 });
    });

    it('takes back what hosts hold: no key moves, no fence changes', async function () {
      this.timeout(30_000);
      await one.openSession(short('h1'));
      const mine = await Promise.all(['a', 'b', 'c'].map(name => claim(one, name)));
      await one.openSession(short('h2'));
      const theirs = await claim(one, 'd');
      assert.equal(theirs.processId, 'node-1-h2');
      await forget();
      const [first, second] = [
        await one.resumeSession(
          short('h1'),
          mine.slice(0, 2).map(each => held(each)),
        ),
        await two.resumeSession(short('h2'), [held(theirs, { opened: false })]),
      ];
      assert.deepEqual(await one.adopt(first.sessionId, [held(mine[2]!)]), []);
      assert.deepEqual([first.refused, second.refused], [[], []]);
      for (const [before, sessionId, hadOwner] of [
        ...mine.map(each => [each, first.sessionId, true] as const),
        [theirs, second.sessionId, false] as const,
      ]) {
        assert.deepEqual(await two.claim(pool, before.key), {
          owned: true,
          claim: { ...before, sessionId, hadOwner },
        });
      }
      assert.deepEqual([await keysOf(first.sessionId), await keysOf(second.sessionId)], [3, 1]);
      await until(async () => {
        await one.renewSession(first.sessionId);
        await one.renewSession(second.sessionId);
        return (await two.claim(pool, key('new'))).owned;
      });
      for (const { key: name, fence } of [...mine, theirs]) {
        assert.equal((await two.lookup(pool, name))?.fence, fence);
      }
    });

    it('never gives out a fence again, of whatever it had given out', async function () {
      this.timeout(30_000);
      await one.openSession(short('h1'));
      const kept = await claim(one, 'kept');
      const raised = await one.raiseFence(kept, (kept.fence + 100_000n) as Fence);
      const lost = await claim(one, 'lost'); // its host never comes back
      assert(raised && lost.fence > raised.fence);
      await forget();
      const { sessionId } = await one.resumeSession(short('h3'), [held(raised)]);
      const again = await one.raiseFence({ pool, key: kept.key, sessionId }, raised.fence);
      assert(again && again.fence > lost.fence);
      await until(async () => {
        await one.renewSession(sessionId);
        return (await two.claim(pool, key('lost'))).owned;
      });
      assert((await claim(two, 'lost')).fence > lost.fence);
    });

    it('believes the host with the higher fence, whoever comes first, and tells the other', async function () {
      this.timeout(30_000);
      await one.openSession(short('h1'));
      const older = await claim(one, 'a');
      const { sessionId: second } = await one.openSession(short('h2'));
      const newer = await one.transfer(older, second);
      assert(newer.held && newer.claim);
      await forget();
      const stale = await one.resumeSession(short('h1'), [held(older)]);
      assert.deepEqual(stale.refused, []);
      const events: DirectoryEvent[] = [];
      two.watch(event => events.push(event));
      await two.sessions();
      const owner = await one.resumeSession(short('h2'), [held(newer.claim)]);
      assert.deepEqual(owner.refused, []);
      const now = await two.lookup(pool, key('a'));
      assert.deepEqual([now?.sessionId, now?.fence], [owner.sessionId, newer.claim.fence]);
      assert.deepEqual([await keysOf(stale.sessionId), await keysOf(owner.sessionId)], [0, 1]);
      await until(() => events.some(event => event.type === 'moved'));
      assert.deepEqual(
        events.find(event => event.type === 'moved'),
        { type: 'moved', claim: now, from: stale.sessionId },
      );
      assert.deepEqual(await one.adopt(stale.sessionId, [held(older)]), [older.key]);
    });

    it('can still hand keys over, give them back, and end the dead', async function () {
      this.timeout(30_000);
      await one.openSession(short('h1'));
      const [a, b] = [await claim(one, 'a'), await claim(one, 'b')];
      await forget();
      const { sessionId: first } = await one.resumeSession(short('h1'), [held(a), held(b)]);
      const { sessionId: second } = await one.openSession(short('h2'));
      const moved = await one.transfer({ ...a, sessionId: first }, second);
      assert(moved.held && moved.claim?.sessionId === second && moved.claim.fence > a.fence);
      assert(await one.release({ ...b, sessionId: first }));
      assert.deepEqual(await one.adopt(first, [held(b)]), [b.key], 'given back is given back');
      assert.equal(await one.endSessionsOf('node-1-h2' as ProcessId), 1);
      assert.deepEqual(await two.claim(pool, key('a')), { owned: false, reason: 'recovering' });
      await recovered();
    });

    it('learns alarms from those who hold the keys', async function () {
      this.timeout(30_000);
      await one.openSession(short('h1'));
      const before = await claim(one, 'a');
      await one.setAlarm(before, past);
      await forget();
      assert.deepEqual((await two.dueAlarms(pool, 10)).alarms, []);
      await one.resumeSession(short('h1'), [held(before, { alarmAtMs: past })]);
      assert.deepEqual((await two.dueAlarms(pool, 10)).alarms, [{ key: key('a'), atMs: past }]);
    });

    it('tells watchers that they may have missed something', async function () {
      this.timeout(30_000);
      const events: DirectoryEvent[] = [];
      two.watch(event => events.push(event));
      await two.sessions();
      await forget();
      await until(() => events.some(event => event.type === 'reset'));
    });
  });
}
