import assert from 'node:assert/strict';
import type { OwnershipGuard } from '#ownership';
import { claim, key, pool } from '../vocabulary.ts';
import { GuardHarness, ttlMs } from './guard-harness.ts';

const notOwner = { code: 'HF_NOT_OWNER' };

describe('a store that forgot', () => {
  let harness: GuardHarness;
  let guard: OwnershipGuard;
  beforeEach(async () => {
    harness = new GuardHarness();
    guard = await harness.start();
  });

  it('is told what the host holds: nothing is closed, fences stay, requests under the old session come again', async () => {
    const [a, b] = [await harness.ready(guard, 'a'), await harness.ready(guard, 'b')];
    const slow = harness.slow(guard, a);
    await harness.system.advance(0);
    harness.fake.forget(ttlMs);
    await harness.system.advance(ttlMs / 2);
    assert.notEqual(guard.session?.sessionId, a.sessionId);
    assert.deepEqual([harness.closed, guard.metrics.resumes, guard.metrics.sessionsLost], [[], 1, 0]);
    assert(slow.owned());
    await assert.rejects(harness.ask(guard, b), notOwner);
    const again = await harness.claim('b');
    assert.deepEqual([again.fence, again.sessionId], [b.fence, guard.session?.sessionId]);
    assert.equal(await harness.ask(guard, again), 'hello');
    assert.equal(harness.opened.length, 2);
    slow.finish();
    assert.equal(await harness.settle(slow.answer), 'finished');
    assert.equal(guard.metrics.overruns, 0);
    const fresh = await harness.settle(
      (async () => {
        await harness.system.timers.sleep(ttlMs);
        return claim(harness.directory, 'c');
      })(),
    );
    assert(fresh.fence > b.fence);
    assert.equal(await harness.ask(guard, fresh), 'hello');
  });

  it('is told of many keys in batches, and of the alarms that were set', async () => {
    for (let index = 0; index < 2_100; index++) await harness.ready(guard, `k${index}`);
    const at = harness.system.clock.wallMs() + 60_000;
    await harness.settle(harness.opened[7]!.alarm(new Date(at)));
    harness.fake.forget(ttlMs);
    await harness.system.advance(ttlMs / 2);
    assert.deepEqual([harness.count('resumeSession'), harness.count('adopt')], [1, 2]);
    assert.deepEqual([guard.ownedKeys, harness.closed.length], [2_100, 0]);
    const due = await harness.settle(harness.directory.dueAlarms(pool, 10));
    assert.equal(due.nextInMs! <= 60_000 && due.nextInMs! > 50_000, true);
  });

  it('loses just the keys that somebody else has got', async () => {
    const [a] = [await harness.ready(guard, 'a'), await harness.ready(guard, 'b')];
    const slow = harness.slow(guard, a);
    await harness.system.advance(0);
    harness.fake.forget(ttlMs);
    const rival = await harness.settle(
      harness.directory.resumeSession(
        {
          pool,
          processId: 'rival' as never,
          nodeName: 'n' as never,
          address: 'http://x',
          ownsResources: true,
          capacity: 1,
          ttlMs,
          attempt: 1,
        },
        [{ key: key('a'), fence: 1_000n as never, opened: true, alarmAtMs: null }],
      ),
    );
    assert.deepEqual(rival.refused, []);
    await harness.system.advance(ttlMs / 2);
    assert(!slow.owned());
    assert.equal(await harness.settle(slow.answer), 'broken off');
    assert.deepEqual([harness.closed, guard.ownedKeys], [[key('a')], 1]);
  });

  it('serves what is open until the old deadline when the store does not answer any more, then stops', async () => {
    const held = await harness.ready(guard, 'a');
    harness.fake.forget(10 * ttlMs);
    harness.answersToLose.set('resumeSession', 99);
    await harness.system.advance(ttlMs / 2);
    assert.equal(await harness.ask(guard, held), 'hello');
    await assert.rejects(harness.ask(guard, { ...held, key: key('new') }), notOwner);
    await harness.system.advance(ttlMs);
    await assert.rejects(harness.ask(guard, held), notOwner);
    assert.deepEqual(harness.closed, [key('a')]);
    harness.answersToLose.clear();
    await harness.system.advance(2 * ttlMs);
    assert.notEqual(guard.session, null);
  });

  it('is not asked to hand a key over before it knows of it: nothing is closed for that', async () => {
    const held = await harness.ready(guard, 'a');
    harness.fake.forget(ttlMs);
    harness.answersToLose.set('resumeSession', 2);
    await harness.system.advance(ttlMs / 3 + 10);
    const outcome = await harness.settle(guard.handOff({ ...held, to: null }));
    assert.deepEqual(outcome, { moved: false, claim: null });
    await harness.system.advance(ttlMs / 3);
    assert.deepEqual([harness.closed, guard.ownedKeys, guard.metrics.resumes], [[], 1, 1]);
  });

  it('is drained in order when that was asked for in the middle', async () => {
    await harness.ready(guard, 'a');
    harness.fake.forget(ttlMs);
    harness.answersToLose.set('resumeSession', 2);
    await harness.system.advance(ttlMs / 3 + 10);
    await harness.settle(guard.drain());
    assert.deepEqual(harness.closed, [key('a')]);
    assert.equal(guard.metrics.sessionsLost, 0);
    assert.deepEqual(await harness.settle(harness.directory.sessions(pool)), []);
  });
});

describe('a directory that cannot be asked', () => {
  let harness: GuardHarness;
  beforeEach(() => {
    harness = new GuardHarness();
  });

  it('ends everything at the deadline by default', async () => {
    const guard = await harness.start();
    const held = await harness.ready(guard, 'a');
    harness.down = true;
    await harness.system.advance(ttlMs);
    await assert.rejects(harness.ask(guard, held), notOwner);
    assert.deepEqual([harness.closed, guard.metrics.serveFencedMs], [[key('a')], 0]);
  });

  it('tells the watchdog that its rights have ended before it closes anything, which may take long', async () => {
    const order: string[] = [];
    const guard = await harness.start('h1', {
      component: {
        openResource: async resource => ({
          ...harness.open(resource),
          close: async () => void order.push(resource.signal.aborted ? 'close' : 'close before its end'),
        }),
      },
      onDeadline: end => void order.push(end ? 'deadline' : 'ended'),
    });
    await harness.ready(guard, 'a');
    await harness.ready(guard, 'b');
    order.length = 0;
    harness.down = true;
    await harness.system.advance(ttlMs);
    assert.deepEqual(
      order.filter(word => word !== 'deadline'),
      ['ended', 'close', 'close'],
    );
  });

  it('ends nothing with serveFenced: what is open is served past the deadline, nothing new is opened', async () => {
    const guard = await harness.start('h1', { onAuthorityLoss: 'serveFenced' });
    const held = await harness.ready(guard, 'a');
    const slow = harness.slow(guard, held);
    harness.down = true;
    await harness.system.advance(10 * ttlMs);
    assert(slow.owned());
    assert.equal(await harness.ask(guard, held), 'hello');
    await assert.rejects(harness.ask(guard, { ...held, key: key('new') }), notOwner);
    assert(guard.metrics.serveFencedMs > 8 * ttlMs);
    const before = guard.metrics.serveFencedMs;
    harness.down = false;
    await harness.system.advance(ttlMs);
    assert.deepEqual([harness.closed, guard.metrics.resumes], [[], 1]);
    assert(slow.owned());
    const again = await harness.claim('a');
    assert.deepEqual([again.fence, again.sessionId], [held.fence, guard.session?.sessionId]);
    assert.equal(await harness.ask(guard, again), 'hello');
    await harness.system.advance(ttlMs);
    assert(guard.metrics.serveFencedMs - before <= 1_500, 'counts on');
    slow.finish();
    assert.equal(await harness.settle(slow.answer), 'finished');
  });

  it('goes on with serveFenced for whoever asks past the deadline before the timer has come', async () => {
    const guard = await harness.start('h1', { onAuthorityLoss: 'serveFenced' });
    const held = await harness.ready(guard, 'a');
    harness.down = true;
    const { clock } = harness.system;
    const { monotonicMs } = clock;
    clock.monotonicMs = () => monotonicMs() + ttlMs; // the event loop was busy: time has passed, and no timer has run
    assert.equal(guard.session?.sessionId, held.sessionId);
    assert.equal(await harness.ask(guard, held), 'hello');
  });

  it('loses with serveFenced what somebody else got in between, when the directory can say so', async () => {
    const guard = await harness.start('h1', { onAuthorityLoss: 'serveFenced' });
    const held = await harness.ready(guard, 'a');
    await harness.ready(guard, 'b');
    const slow = harness.slow(guard, held);
    harness.down = true;
    await harness.system.advance(2 * ttlMs);
    const { directory } = harness.fake;
    const nowMs = harness.system.clock.monotonicMs() + 77_777;
    directory.openSession(
      {
        pool,
        processId: 'rival' as never,
        nodeName: 'n' as never,
        address: 'http://x',
        ownsResources: true,
        capacity: 1,
        ttlMs: 60_000,
        attempt: 1,
      },
      nowMs,
    );
    assert(directory.claim(pool, key('a'), nowMs).owned);
    assert(slow.owned(), 'cannot know yet');
    harness.down = false;
    await harness.system.advance(ttlMs);
    assert(!slow.owned());
    assert.deepEqual([harness.closed, guard.ownedKeys], [[key('a')], 1]);
  });

  it('with serveFenced, serves nothing while it is asked what is left of a session that it says is over', async () => {
    const guard = await harness.start('h1', { onAuthorityLoss: 'serveFenced' });
    const held = await harness.ready(guard, 'a');
    const slow = harness.slow(guard, held);
    await harness.settle(harness.directory.closeSession(held.sessionId));
    harness.answersToLose.set('resumeSession', 2);
    await harness.system.advance(ttlMs / 3 + 10);
    assert(!slow.owned());
    await assert.rejects(harness.ask(guard, held), notOwner);
    await harness.system.advance(ttlMs / 3);
    assert(slow.owned(), 'nobody has got it since');
    assert.deepEqual(harness.closed, []);
    slow.finish();
    assert.equal(await harness.settle(slow.answer), 'finished');
  });
});

describe('a component that takes too long to open a key', () => {
  it('is given up on: requests fail with the reason, and none opens it a second time meanwhile', async () => {
    const harness = new GuardHarness();
    const opening = Promise.withResolvers<void>();
    const guard = await harness.start('h1', {
      openMs: 1_000,
      component: {
        async openResource(resource) {
          const handler = harness.open(resource);
          await opening.promise;
          return handler;
        },
      },
    });
    const held = await harness.claim('a');
    const late = { code: 'HF_RESOURCE_OPEN_FAILED', message: /too long/ };
    await assert.rejects(harness.ask(guard, held), late);
    await assert.rejects(harness.ask(guard, held), late);
    assert(harness.opened[0]!.signal.aborted);
    assert.equal(harness.opened.length, 1);
    opening.resolve();
    await harness.system.advance(10);
    assert.deepEqual(harness.closed, [key('a')]);
    assert.equal(await harness.ask(guard, held), 'hello');
    assert.equal(harness.opened.length, 2);
  });
});

describe('an alarm', () => {
  let harness: GuardHarness;
  let guard: OwnershipGuard;
  const at = (inMs: number) => new Date(harness.system.clock.wallMs() + inMs);
  beforeEach(async () => {
    harness = new GuardHarness();
    guard = await harness.start();
  });

  it('is stored with the right to the key, wakes the handler under the guard, and is settled then', async () => {
    const held = await harness.ready(guard, 'a');
    const [resource] = harness.opened;
    const time = at(0);
    await harness.settle(resource!.alarm(time));
    const due = await harness.settle(harness.directory.dueAlarms(pool, 10));
    assert.deepEqual(due.alarms, [{ key: key('a'), atMs: time.getTime() }]);
    assert.equal(await harness.settle(guard.alarm({ ...held, atMs: time.getTime() })), true);
    assert.deepEqual(harness.alarms, [key('a')]);
    assert.deepEqual((await harness.settle(harness.directory.dueAlarms(pool, 10))).alarms, []);
  });

  it('comes again when its handler fails, and is not set by whoever lost the key', async () => {
    const failing = await harness.start('h2', {
      component: {
        openResource: async resource => ({
          ...harness.open(resource),
          alarm: () => Promise.reject(new Error('not now')),
        }),
      },
    });
    const [one, two] = [await harness.claim('a'), await harness.claim('b')];
    const held = one.sessionId === failing.session?.sessionId ? one : two;
    await harness.ask(failing, held);
    const resource = harness.opened.at(-1)!;
    const time = at(0);
    await harness.settle(resource.alarm(time));
    await assert.rejects(harness.settle(failing.alarm({ ...held, atMs: time.getTime() })), /not now/);
    assert.equal((await harness.settle(harness.directory.dueAlarms(pool, 10))).alarms.length, 1);
    await assert.rejects(harness.settle(resource.alarm(new Date(Number.NaN))), TypeError);
    await harness.settle(failing.drain());
    await assert.rejects(harness.settle(resource.alarm(time)), notOwner);
  });
});
