/** What every adapter must do when keys are handed over, given back in batches, and paused; part of `directoryConformance`. */
import assert from 'node:assert/strict';
import type {
  DirectoryEvent,
  Fence,
  InstanceId,
  OpenSession,
  ProcessId,
  ResourceDirectory,
  SessionId,
} from '#core';
import { until } from '../leases/conformance.ts';
import { claim, host, key, pool, type DirectoryHarness } from './vocabulary.ts';

export function handoffConformance(harness: () => DirectoryHarness): void {
  let one: ResourceDirectory;
  let two: ResourceDirectory;
  beforeEach(() => {
    one = harness().one.directory;
    two = harness().two.directory;
  });
  const open = async (name: string, more: Partial<OpenSession> = {}): Promise<SessionId> =>
    (await one.openSession(host(name, more))).sessionId;
  const keysOf = async (sessionId: SessionId): Promise<number | undefined> =>
    (await two.sessions()).find(session => session.sessionId === sessionId)?.keys;
  /** Collects events from now on, nothing missed. */
  const follow = async (): Promise<DirectoryEvent[]> => {
    const events: DirectoryEvent[] = [];
    two.watch(event => events.push(event));
    await two.sessions();
    return events;
  };

  describe('a transfer', () => {
    it('hands the key to the named session under a higher fence, and tells everybody', async () => {
      const first = await open('h1');
      const held = await claim(one, 'a');
      const named = await open('h2');
      await open('h3', { capacity: 100 }); // whom a claim would choose
      await one.confirmOpened(held);
      const events = await follow();
      const moved = await one.transfer(held, named);
      assert(moved.held && moved.claim);
      assert(moved.claim.fence > held.fence);
      assert.deepEqual(moved.claim, {
        ...held,
        fence: moved.claim.fence,
        sessionId: named,
        processId: 'node-1-h2',
        address: 'http://127.0.0.1:1/h2',
        hadOwner: true,
      });
      assert.deepEqual(await two.lookup(pool, key('a')), moved.claim);
      assert.deepEqual(await claim(two, 'a'), moved.claim);
      assert.deepEqual([await keysOf(first), await keysOf(named)], [0, 1]);
      await until(() => events.length > 0);
      assert.deepEqual(events, [{ type: 'moved', claim: moved.claim, from: first }]);
    });

    it('goes where a claim would go, when nobody is named or the named one may not take it', async () => {
      const first = await open('h1');
      const names = [
        'nobody',
        'itself',
        'draining',
        'not ready',
        'stateless',
        'elsewhere',
        'over',
        'unknown',
      ];
      const claims = await Promise.all(names.map(name => claim(one, name)));
      const draining = await open('h2');
      await one.updateSession(draining, { draining: true });
      const notReady = await open('h3');
      await one.updateSession(notReady, { ready: false });
      const over = await open('h4');
      await one.closeSession(over);
      const targets = [
        null,
        first,
        draining,
        notReady,
        await open('h5', { ownsResources: false }),
        await open('h6', { pool: 'other' as InstanceId }),
        over,
        'no-such-session' as SessionId,
      ];
      const roomy = await open('h7', { capacity: 10 });
      for (const [index, held] of claims.entries()) {
        const moved = await one.transfer(held, targets[index]!);
        assert(moved.held, names[index]!);
        assert.equal(moved.claim?.sessionId, roomy, names[index]!);
      }
      assert.equal(await keysOf(roomy), names.length);
    });

    it('gives the key back when nobody may take it', async () => {
      const first = await open('h1');
      const held = await claim(one, 'a');
      const events = await follow();
      assert.deepEqual(await one.transfer(held, null), { held: true, claim: null });
      assert.equal(await two.lookup(pool, key('a')), null);
      assert.equal(await keysOf(first), 0);
      await until(() => events.length > 0);
      assert.deepEqual(events, [{ type: 'released', pool, key: key('a'), fence: held.fence }]);
      assert((await claim(one, 'a')).fence > held.fence);
    });

    it('changes nothing for anybody but the holder', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      const second = await open('h2');
      const wrong = [
        { ...held, sessionId: second },
        { ...held, fence: (held.fence + 1n) as Fence },
        { ...held, fence: (held.fence - 1n || 1n) as Fence, sessionId: 'someone' as SessionId },
        { ...held, key: key('never claimed') },
        { ...held, pool: 'other' as InstanceId },
      ];
      for (const holding of wrong) assert.deepEqual(await one.transfer(holding, second), { held: false });
      assert.deepEqual(await two.lookup(pool, key('a')), held);
    });

    it('asked again because its answer was lost, says that the key is not held any more', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      const second = await open('h2');
      const third = await open('h3');
      const moved = await one.transfer(held, second);
      assert(moved.held && moved.claim);
      assert.deepEqual(await two.transfer(held, second), { held: false });
      assert.deepEqual(await two.transfer(held, third), { held: false });
      assert.deepEqual(await two.lookup(pool, key('a')), moved.claim);
      assert.equal(await one.release(held), false);
    });

    it('survives a restart of the store', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      const second = await open('h2');
      const moved = await one.transfer(held, second);
      assert(moved.held && moved.claim);
      await harness().restart();
      assert.deepEqual(await two.lookup(pool, key('a')), moved.claim);
      assert.equal(await keysOf(second), 1);
    });
  });

  describe('a batch of releases', () => {
    it('answers for each key in its order, and gives up those that were held', async () => {
      const first = await open('h1');
      const [a, b, c] = [await claim(one, 'a'), await claim(one, 'b'), await claim(one, 'c')];
      const stale = { ...b, fence: (b.fence + 1n) as Fence };
      assert.deepEqual(await two.releaseMany([c, stale, a, a]), [true, false, true, false]);
      assert.deepEqual(
        (await one.list({})).claims.map(found => found.key),
        [key('b')],
      );
      assert.equal(await keysOf(first), 1);
      assert.deepEqual(await one.releaseMany([]), []);
    });

    it('refuses more keys than one step may take', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      await assert.rejects(one.releaseMany(Array.from({ length: 1_001 }, () => held)), {
        code: 'HF_REQUEST_INVALID',
      });
      assert.deepEqual(await one.lookup(pool, key('a')), held);
    });
  });

  describe('a paused key', () => {
    it('cannot be claimed until it is resumed', async () => {
      await open('h1');
      assert.equal(await two.isPaused(pool, key('a')), false);
      assert.equal(await one.pauseKey(pool, key('a')), null);
      assert.equal(await two.isPaused(pool, key('a')), true);
      assert.deepEqual(await two.claim(pool, key('a')), { owned: false, reason: 'paused' });
      const [a, b] = await two.claimMany(pool, [key('a'), key('b')]);
      assert.deepEqual(a, { owned: false, reason: 'paused' });
      assert(b!.owned);
      assert.equal(await two.resumeKey(pool, key('a')), true);
      assert.equal(await one.isPaused(pool, key('a')), false);
      assert.equal((await claim(two, 'a')).hadOwner, false);
    });

    it('says who owns it and must let go, and stays theirs until then', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      assert.deepEqual(await two.pauseKey(pool, key('a')), held);
      assert.deepEqual(await two.pauseKey(pool, key('a')), held, 'asked again');
      assert.deepEqual(await two.claim(pool, key('a')), { owned: false, reason: 'paused' });
      assert.deepEqual(await two.lookup(pool, key('a')), held);
      assert(await one.confirmOpened(held));
      assert(await one.release(held));
      assert.equal(await two.pauseKey(pool, key('a')), null);
      await two.resumeKey(pool, key('a'));
      const after = await claim(one, 'a');
      assert(after.fence > held.fence && after.hadOwner);
    });

    it('stays with its owner if it is resumed before they let go', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      await one.pauseKey(pool, key('a'));
      await one.resumeKey(pool, key('a'));
      assert.deepEqual(await claim(two, 'a'), held);
    });

    it('is not handed to another host', async () => {
      await open('h1');
      const held = await claim(one, 'a');
      const second = await open('h2');
      await one.pauseKey(pool, key('a'));
      assert.deepEqual(await one.transfer(held, second), { held: true, claim: null });
      assert.deepEqual(await one.claim(pool, key('a')), { owned: false, reason: 'paused' });
    });

    it('stays paused when its owner dies, and over a restart', async () => {
      await open('h1');
      await claim(one, 'a');
      await one.pauseKey(pool, key('a'));
      await one.endSessionsOf('node-1-h1' as ProcessId);
      await open('h2');
      await harness().restart();
      assert.deepEqual(await two.claim(pool, key('a')), { owned: false, reason: 'paused' });
      assert.equal(await two.resumeKey(pool, key('a')), true);
      await claim(two, 'a');
    });

    it('is paused in its own pool only', async () => {
      const other = 'other' as InstanceId;
      await open('h1');
      await open('h2', { pool: other });
      await one.pauseKey(other, key('a'));
      await claim(one, 'a');
      assert.deepEqual(await one.claim(other, key('a')), { owned: false, reason: 'paused' });
    });

    it('wakes who waits for it, and tells of changes only', async () => {
      await open('h1');
      const events = await follow();
      assert.equal(await one.resumeKey(pool, key('a')), false);
      await one.pauseKey(pool, key('a'));
      await one.pauseKey(pool, key('a'));
      await one.resumeKey(pool, key('a'));
      assert.equal(await one.resumeKey(pool, key('a')), false);
      await until(() => events.length >= 2);
      await two.sessions();
      assert.deepEqual(events, [
        { type: 'paused', pool, key: key('a') },
        { type: 'resumed', pool, key: key('a') },
      ]);
    });
  });
}
