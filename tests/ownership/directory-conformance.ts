/** What every adapter of the resource directory must do, against its real store. */
import assert from 'node:assert/strict';
import type {
  Claim,
  DirectoryEvent,
  Fence,
  InstanceId,
  OpenSession,
  ProcessId,
  ResourceDirectory,
  ResourceKey,
  SessionId,
} from '#core';
import { until } from '../leases/conformance.ts';
import { alarmConformance } from './alarm-conformance.ts';
import { documentConformance } from './document-conformance.ts';
import { exportConformance } from './export-conformance.ts';
import { handoffConformance } from './handoff-conformance.ts';
import { listConformance } from './list-conformance.ts';
import { recoveryConformance } from './recovery-conformance.ts';
import { claim, host, key, pool, type DirectoryHarness } from './vocabulary.ts';

export function directoryConformance(start: () => Promise<DirectoryHarness>): void {
  let harness: DirectoryHarness;
  let one: ResourceDirectory;
  let two: ResourceDirectory;

  beforeEach(async () => {
    harness = await start();
    one = harness.one.directory;
    two = harness.two.directory;
  });
  afterEach(() => harness.stop());

  const open = async (name: string, more: Partial<OpenSession> = {}): Promise<SessionId> =>
    (await one.openSession(host(name, more))).sessionId;

  describe('claims', () => {
    it('says so when no host could own the key', async () => {
      assert.deepEqual(await one.claim(pool, key('a')), { owned: false, reason: 'no-live-host' });
      await open('stateless', { ownsResources: false });
      await open('elsewhere', { pool: 'other' as InstanceId });
      assert.deepEqual(await one.claim(pool, key('a')), { owned: false, reason: 'no-live-host' });
    });

    it('name the same owner and fence to everybody who asks', async () => {
      await open('h1');
      await open('h2');
      const claims = await Promise.all(
        Array.from({ length: 40 }, (_, index) => claim(index % 2 ? one : two, 'a')),
      );
      for (const found of claims) assert.deepEqual(found, claims[0]);
      assert.deepEqual(await two.lookup(pool, key('a')), claims[0]);
    });

    it('tell all that a router needs', async () => {
      const sessionId = await open('h1');
      const found = await claim(two, 'a');
      assert(found.fence > 0n);
      assert.deepEqual(found, {
        pool,
        key: key('a'),
        fence: found.fence,
        sessionId,
        processId: 'node-1-h1',
        nodeName: 'node-1',
        address: 'http://127.0.0.1:1/h1',
        hadOwner: false,
      });
    });

    it('spread over hosts by capacity', async () => {
      const sessions = [await open('h1'), await open('h2'), await open('h3', { capacity: 2 })];
      const keys = Array.from({ length: 100 }, (_, index) => key(`k${index}`));
      const outcomes = await two.claimMany(pool, keys);
      const counts = sessions.map(
        id => outcomes.filter(outcome => outcome.owned && outcome.claim.sessionId === id).length,
      );
      assert.deepEqual(counts, [25, 25, 50]);
      const shown = await one.sessions(pool);
      assert.deepEqual(
        sessions.map(id => shown.find(session => session.sessionId === id)?.keys),
        [25, 25, 50],
      );
    });

    it('answer many keys in their order, each key once', async () => {
      await open('h1');
      const outcomes = await one.claimMany(pool, [key('b'), key('a'), key('b')]);
      const claims = outcomes.map(outcome => (outcome.owned ? outcome.claim : null));
      assert.deepEqual(
        claims.map(found => found?.key),
        [key('b'), key('a'), key('b')],
      );
      assert.deepEqual(claims[0], claims[2]);
    });

    it('keep pools apart', async () => {
      await open('h1');
      await open('h2', { pool: 'other' as InstanceId });
      const here = await claim(one, 'a');
      const there = await claim(one, 'a', 'other' as InstanceId);
      assert.notEqual(here.sessionId, there.sessionId);
      assert.notEqual(here.fence, there.fence);
    });

    it('go neither to draining hosts nor to those that are not ready, but stay where they are', async () => {
      const first = await open('h1');
      const before = await claim(one, 'a');
      assert(await two.updateSession(first, { draining: true }));
      assert.deepEqual(await claim(one, 'a'), before);
      assert.deepEqual(await one.claim(pool, key('b')), { owned: false, reason: 'no-live-host' });
      const second = await open('h2');
      await one.updateSession(second, { ready: false });
      assert.deepEqual(await one.claim(pool, key('b')), { owned: false, reason: 'no-live-host' });
      await one.updateSession(second, { ready: true });
      assert.equal((await claim(one, 'b')).sessionId, second);
    });

    it('refuse keys and names that are unusable', async () => {
      const long = 'x'.repeat(1_025) as ResourceKey;
      const bad: Promise<unknown>[] = [
        one.claim(pool, '' as ResourceKey),
        one.claim(pool, long),
        one.claim('' as InstanceId, key('a')),
        one.claim(pool, 'lone \ud800' as ResourceKey),
        one.claimMany(
          pool,
          Array.from({ length: 1_001 }, () => key('a')),
        ),
        one.openSession(host('h1', { ttlMs: 10 })),
        one.openSession(host('h1', { capacity: 0 })),
        one.list({ limit: 0 }),
        one.list({ cursor: 'nonsense' }),
      ];
      await Promise.all(bad.map(call => assert.rejects(call, { code: 'HF_REQUEST_INVALID' })));
    });

    it('that come in one turn are one call, and one that is unusable spoils none of the others', async () => {
      await open('h1');
      const names = Array.from({ length: 50 }, (_, index) => `k${index % 40}`);
      const unusable = [
        one.claim(pool, 'lone \ud800' as ResourceKey),
        one.claim('' as InstanceId, key('k0')),
      ];
      const claims = await Promise.all([
        ...names.map(name => claim(one, name)),
        ...unusable.map(call => assert.rejects(call, { code: 'HF_REQUEST_INVALID' })),
      ]);
      const given = claims.slice(0, names.length) as Claim[];
      assert.deepEqual(
        given.map(one => one.key),
        names.map(key),
      );
      // As often as it is asked for, a key has one owner and one fence; no fence is given twice.
      assert.equal(new Set(given.map(({ fence }) => fence)).size, 40);
      for (const [index, { fence }] of given.entries()) assert.equal(fence, given[index % 40]!.fence);
    });
  });

  describe('a new owner', () => {
    it('comes with a higher fence after the proven death of the old', async () => {
      await open('h1');
      const before = await claim(one, 'a');
      const second = await open('h2');
      assert.equal(await two.endSessionsOf(before.processId), 1);
      assert.equal(await two.endSessionsOf(before.processId), 0);
      assert.equal(await one.lookup(pool, key('a')), null);
      const after = await claim(one, 'a');
      assert.equal(after.sessionId, second);
      assert(after.fence > before.fence);
    });

    it('comes with a higher fence after expiry, and the old session is over for good', async () => {
      const first = await open('h1', { ttlMs: 500 });
      const before = await claim(one, 'a');
      await open('h2');
      await until(async () => (await claim(two, 'a')).sessionId !== first);
      assert((await claim(two, 'a')).fence > before.fence);
      assert.deepEqual(await one.renewSession(first), { alive: false, expiresInMs: 0 });
      assert.equal(await one.updateSession(first, { ready: true }), false);
    });

    it('comes after the old one closed its session', async () => {
      const first = await open('h1');
      const before = await claim(one, 'a');
      await one.closeSession(first);
      await one.closeSession(first);
      assert.deepEqual(await one.claim(pool, key('a')), { owned: false, reason: 'no-live-host' });
      await open('h2');
      assert((await claim(one, 'a')).fence > before.fence);
    });

    it('is told that the key was opened before, only if it was', async () => {
      const first = await open('h1');
      const opened = await claim(one, 'opened');
      const merelyClaimed = await claim(one, 'claimed');
      assert(!opened.hadOwner && !merelyClaimed.hadOwner);
      assert.equal(await one.confirmOpened({ ...opened, fence: (opened.fence + 1n) as Fence }), false);
      assert.equal(await one.confirmOpened(opened), true);
      await open('h2');
      await one.closeSession(first);
      assert.equal((await claim(one, 'opened')).hadOwner, true);
      // A host that died before it opened the key has left no state that could be missing.
      assert.equal((await claim(one, 'claimed')).hadOwner, false);
    });

    it('cannot be the ghost of a dead process', async () => {
      await open('h1');
      await one.endSessionsOf('node-1-h1' as ProcessId);
      await assert.rejects(one.openSession(host('h1')), { code: 'HF_WRONG_STATE' });
    });

    it('does not leave an earlier session of the same process behind, if asked', async () => {
      const first = await open('h1');
      const second = await open('h1');
      assert.equal((await one.sessions()).length, 2);
      const third = await open('h1', { endEarlier: true });
      assert.deepEqual(
        (await one.sessions()).map(session => session.sessionId),
        [third],
      );
      assert(!(await one.renewSession(first)).alive && !(await one.renewSession(second)).alive);
    });
  });

  describe('an opening of a session', () => {
    const live = async () => (await two.sessions()).map(session => session.sessionId);
    const late = { code: 'HF_WRONG_STATE' };

    it('is refused when it arrives after a later one of its process, and ends nothing', async () => {
      const [early, later] = [host('h1', { endEarlier: true }), host('h1', { endEarlier: true })];
      const { sessionId } = await one.openSession(later);
      const held = await claim(one, 'a');
      await open('h2');
      await assert.rejects(two.openSession(early), late);
      await assert.rejects(two.openSession({ ...early, endEarlier: false }), late);
      const mine = [{ key: held.key, fence: held.fence, opened: true, alarmAtMs: null }];
      await assert.rejects(two.resumeSession(early, mine), late);
      assert((await live()).includes(sessionId));
      assert.deepEqual(await claim(two, 'a'), held);
      assert((await one.renewSession(sessionId)).alive);
    });

    it('is refused when it arrives twice, and ends nothing', async () => {
      const opening = host('h1', { endEarlier: true });
      const { sessionId } = await one.openSession(opening);
      await assert.rejects(two.openSession(opening), late);
      await assert.rejects(two.resumeSession(opening, []), late);
      assert.deepEqual(await live(), [sessionId]);
      const again = host('h1');
      const resumed = await one.resumeSession(again, []);
      await assert.rejects(two.resumeSession(again, []), late);
      assert.deepEqual(await live(), [resumed.sessionId]);
    });

    it('is measured by its own process, and by all its sessions', async () => {
      const [early, later, latest] = [host('h1'), host('h1'), host('h1')];
      await one.openSession(host('h2'));
      const { sessionId: first } = await one.openSession(early);
      const { sessionId: last } = await one.openSession(latest);
      await one.closeSession(first);
      await assert.rejects(one.openSession(later), late);
      await one.closeSession(last);
      await assert.rejects(one.openSession(latest), late, 'its sessions are over, and it has begun anew');
      const { sessionId } = await one.openSession(host('h1'));
      assert((await live()).includes(sessionId));
    });

    it('is refused also after a restart of the store', async () => {
      const [early, later] = [host('h1', { endEarlier: true }), host('h1', { endEarlier: true })];
      const { sessionId } = await one.openSession(later);
      await harness.restart();
      await until(async () => (await one.renewSession(sessionId)).alive);
      await assert.rejects(one.openSession(early), late);
      await assert.rejects(one.openSession(later), late);
      assert.deepEqual(await live(), [sessionId]);
      const { sessionId: next } = await one.openSession(host('h1', { endEarlier: true }));
      assert.deepEqual(await live(), [next]);
    });

    it('needs an attempt that is a whole number', async () => {
      for (const attempt of [0, -1, 1.5, Number.NaN, 2 ** 53]) {
        await assert.rejects(one.openSession(host('h1', { attempt })), { code: 'HF_REQUEST_INVALID' });
      }
    });
  });

  describe('release and fences', () => {
    it('gives a key up only with the very session and fence', async () => {
      const sessionId = await open('h1');
      const held = await claim(one, 'a');
      assert(!(await two.release({ ...held, sessionId: 'someone' as SessionId })));
      assert(!(await two.release({ ...held, fence: (held.fence + 1n) as Fence })));
      assert.deepEqual(await one.lookup(pool, key('a')), held);
      assert(await two.release(held));
      assert(!(await two.release(held)));
      assert.equal(await one.lookup(pool, key('a')), null);
      assert.equal((await one.sessions()).find(session => session.sessionId === sessionId)?.keys, 0);
      assert((await claim(one, 'a')).fence > held.fence);
    });

    it('raises a fence above what the resource has seen, for the owner alone', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      const seen = (held.fence + 1_000n) as Fence;
      assert.equal(await one.raiseFence({ ...held, sessionId: 'someone' as SessionId }, seen), null);
      const raised = await one.raiseFence(held, seen);
      assert(raised && raised.fence > seen);
      assert.deepEqual(await two.lookup(pool, key('a')), raised);
      assert((await claim(one, 'b')).fence > raised.fence);
      await assert.rejects(one.raiseFence(held, (2n ** 63n - 1n) as Fence), { code: 'HF_REQUEST_INVALID' });
    });
  });

  describe('sessions', () => {
    it('live on while they are renewed', async () => {
      const sessionId = await open('h1', { ttlMs: 500 });
      const endMs = performance.now() + 1_200;
      while (performance.now() < endMs) {
        const { alive, expiresInMs } = await one.renewSession(sessionId);
        assert(alive && expiresInMs === 500);
        await new Promise(resolve => setTimeout(resolve, 50));
      }
    });

    it('are shown with all their facts', async () => {
      const sessionId = await open('h1', { capacity: 3 });
      await open('h2', { pool: 'other' as InstanceId });
      await one.updateSession(sessionId, { ready: false, draining: true });
      assert.deepEqual(await two.sessions(pool), [
        {
          sessionId,
          pool,
          processId: 'node-1-h1',
          nodeName: 'node-1',
          address: 'http://127.0.0.1:1/h1',
          ownsResources: true,
          capacity: 3,
          draining: true,
          ready: false,
          keys: 0,
        },
      ]);
      assert.equal((await two.sessions()).length, 2);
    });
  });

  handoffConformance(() => harness);
  alarmConformance(() => harness);
  exportConformance(() => harness);
  recoveryConformance(() => harness);
  listConformance(() => harness);

  describe('events', () => {
    it('tell watchers of every change, in order', async () => {
      const events: DirectoryEvent[] = [];
      const stop = two.watch(event => events.push(event));
      await two.sessions(); // goes after the subscription: from here on nothing is missed
      const first = await open('h1');
      await one.updateSession(first, { draining: true });
      const second = await open('h2');
      const held = await claim(one, 'a');
      await one.release(held);
      await one.endSessionsOf('node-1-h2' as ProcessId);
      await one.closeSession(first);
      await open('h3', { ttlMs: 500 });
      await until(() => events.some(event => event.type === 'session-ended' && event.reason === 'expired'));
      const told = events.map(event => [
        event.type,
        'session' in event ? event.session.sessionId : 'sessionId' in event ? event.sessionId : null,
      ]);
      assert.deepEqual(told.slice(0, 6), [
        ['session-opened', first],
        ['session-changed', first],
        ['session-opened', second],
        ['released', null],
        ['session-ended', second],
        ['session-ended', first],
      ]);
      assert.deepEqual(events[3], { type: 'released', pool, key: key('a'), fence: held.fence });
      stop();
      const count = events.length;
      await open('h4');
      await two.sessions();
      assert.equal(events.length, count);
    });

    it('say reset after a gap, and go on', async () => {
      await open('h1');
      const events: DirectoryEvent[] = [];
      two.watch(event => events.push(event));
      await harness.restart();
      await until(() => events.some(event => event.type === 'reset'));
      await two.sessions();
      const held = await claim(one, 'a');
      await one.release(held);
      await until(() => events.some(event => event.type === 'released'));
    });
  });

  describe('a restart of the store', () => {
    it('keeps sessions, claims, counts and what is known of a key', async () => {
      const first = await open('h1');
      await open('h2', { capacity: 4 });
      await one.updateSession(first, { draining: true });
      const names = Array.from({ length: 20 }, (_, index) => `k${index}`);
      const claims = await Promise.all(names.map(name => claim(one, name)));
      await one.release(claims[3]!);
      await one.confirmOpened(claims[4]!);
      const sessions = await two.sessions();
      await harness.restart();
      assert.deepEqual(sorted(await two.sessions()), sorted(sessions));
      for (const [index, before] of claims.entries()) {
        const found = await two.lookup(pool, key(names[index]!));
        if (index === 3) assert.equal(found, null);
        else assert.deepEqual(found, index === 4 ? { ...before, hadOwner: true } : before);
      }
      assert((await one.renewSession(first)).alive);
    });

    it('never gives out a fence again', async () => {
      await open('h1');
      // Keys and leases may have counters of their own: nothing compares the fence of one with the other's.
      let highest = 0n;
      let highestLeased = 0n;
      for (let round = 0; round < 3; round++) {
        const { fence } = await claim(one, `k${round}`);
        const grant = await harness.one.leases.tryAcquire(`l${round}`, 'h', 60_000);
        assert(grant.acquired && grant.fence > highestLeased, `${highestLeased} ${grant.fence}`);
        assert(fence > highest, `${highest} ${fence}`);
        highest = fence;
        highestLeased = grant.fence;
        await harness.restart();
      }
    });
  });

  documentConformance(() => harness);
}

function sorted<T extends { sessionId: SessionId }>(sessions: T[]): T[] {
  return sessions.toSorted((a, b) => (a.sessionId < b.sessionId ? -1 : 1));
}
