import assert from 'node:assert/strict';
import {
  createFakeSystem,
  HoldfastError,
  type Claim,
  type Component,
  type FakeSystem,
  type Resource,
  type ResourceDirectory,
  type ResourceHandler,
} from '#core';
import { createOwnershipGuard, type OwnershipGuard } from '#ownership';
import { silentLog } from '../../../ownership/silent-log.ts';
import { claim, host, key, pool } from '../vocabulary.ts';
import { createFakeDirectory } from '../fake-directory.ts';

const ttlMs = 3_000;

describe('ownership guard', () => {
  let system: FakeSystem;
  let down: boolean;
  let directory: ResourceDirectory;
  let guards: OwnershipGuard[];
  let opened: Resource[];
  let closed: string[];

  beforeEach(() => {
    system = createFakeSystem();
    down = false;
    directory = createFakeDirectory(system).port({ delayMs: () => (down ? null : 0) });
    guards = [];
    opened = [];
    closed = [];
  });

  const handlerOf = (resource: Resource): ResourceHandler => ({
    fetch: () => new Response('hello'),
    async close() {
      closed.push(resource.key);
    },
  });
  const component: Pick<Component, 'openResource'> = {
    async openResource(resource) {
      opened.push(resource);
      return handlerOf(resource);
    },
  };

  /** Runs the clock until the promise settles, at most for a minute of fake time. */
  async function settle<T>(promise: Promise<T>): Promise<T> {
    let open = true;
    const done = () => (open = false);
    promise.then(done, done);
    for (let count = 0; open && count < 6_000; count++) await system.advance(count < 20 ? 0 : 10);
    assert(!open, 'did not settle');
    return promise;
  }

  async function start(
    name = 'h1',
    more: { component?: Pick<Component, 'openResource'>; concurrency?: number; onChange?: () => void } = {},
  ): Promise<OwnershipGuard> {
    const guard = createOwnershipGuard({
      system,
      directory,
      session: host(name, { ttlMs }),
      component,
      log: silentLog,
      concurrency: 0,
      ...more,
    });
    guards.push(guard);
    await settle(guard.start());
    return guard;
  }

  const ask = <T>(guard: OwnershipGuard, held: Claim, run: (h: ResourceHandler, r: Resource) => Promise<T>) =>
    guard.serve(held, run);
  const answer = async (handler: ResourceHandler) => (await handler.fetch(new Request('http://h/'))).text();
  const sessionOf = (guard: OwnershipGuard) => guard.session?.sessionId;
  const isNotOwner = { code: 'HF_NOT_OWNER', statusCode: 421 };

  it('opens a key once, at its first request, and serves it under the fence of its claim', async () => {
    let changes = 0;
    const guard = await start('h1', { onChange: () => changes++ });
    const held = await settle(claim(directory, 'a'));
    const answers = await settle(Promise.all([1, 2, 3].map(() => ask(guard, held, answer))));
    assert.deepEqual(answers, ['hello', 'hello', 'hello']);
    assert.deepEqual(
      opened.map(({ key, fence, hadOwner }) => ({ key, fence, hadOwner })),
      [{ key: key('a'), fence: held.fence, hadOwner: false }],
    );
    opened[0]!.assertOwned();
    assert.equal(guard.ownedKeys, 1);
    assert.equal(guard.inFlight, 0);
    assert.equal(guard.session?.sessionId, held.sessionId);
    assert(changes >= 2);
  });

  it('refuses a key whose record names somebody else, another session, or an older fence', async () => {
    const first = await start('h1');
    const second = await start('h2');
    const held = await settle(claim(directory, 'a'));
    const [owner, other] = first.session?.sessionId === held.sessionId ? [first, second] : [second, first];
    const theirs = { ...held, sessionId: other.session!.sessionId };
    await assert.rejects(settle(ask(other, theirs, answer)), isNotOwner);
    await assert.rejects(settle(ask(other, held, answer)), isNotOwner);
    await assert.rejects(
      settle(ask(owner, { ...held, fence: (held.fence + 1n) as Claim['fence'] }, answer)),
      isNotOwner,
    );
    assert.equal(opened.length, 0);
    assert.equal(other.metrics.refusals, 2);
    assert.equal(await settle(ask(owner, held, answer)), 'hello');
  });

  it('tells the component whether the key was opened before', async () => {
    const guard = await start('h1');
    await settle(ask(guard, await settle(claim(directory, 'a')), answer));
    await settle(guard.drain());
    const next = await start('h2');
    await settle(ask(next, await settle(claim(directory, 'a')), answer));
    await settle(ask(next, await settle(claim(directory, 'b')), answer));
    assert.deepEqual(
      opened.map(resource => [resource.key, resource.hadOwner]),
      [
        [key('a'), false],
        [key('a'), true],
        [key('b'), false],
      ],
    );
  });

  it('takes a higher fence when the resource has seen one, and opens again', async () => {
    const guard = await start('h1', {
      component: {
        async openResource(resource) {
          opened.push(resource);
          if (resource.fence < 500n) {
            throw Object.assign(new Error('seen newer'), { code: 'HF_FENCED', details: { fence: '500' } });
          }
          return handlerOf(resource);
        },
      },
    });
    const held = await settle(claim(directory, 'a'));
    assert.equal(await settle(ask(guard, held, answer)), 'hello');
    assert.deepEqual(
      opened.map(resource => resource.fence > 500n),
      [false, true],
    );
    assert(opened[0]!.signal.aborted && !opened[1]!.signal.aborted);
    assert.equal(await settle(ask(guard, held, answer)), 'hello', 'the router need not know yet');
  });

  it('gives up on a resource that refuses every fence', async () => {
    let tries = 0;
    const guard = await start('h1', {
      component: {
        openResource() {
          tries++;
          throw Object.assign(new Error('never'), { code: 'HF_FENCED' });
        },
      },
    });
    const held = await settle(claim(directory, 'a'));
    await assert.rejects(settle(ask(guard, held, answer)), { code: 'HF_FENCED' });
    assert.equal(tries, 5);
  });

  it('gives a key back that the resource refuses while it is open, and takes it again with a higher fence', async () => {
    const seen = { fence: 0n };
    const refused = () =>
      Object.assign(new Error('seen newer'), {
        code: 'HF_FENCED',
        details: { fence: seen.fence.toString() },
      });
    const guard = await start('h1', {
      component: {
        async openResource(resource) {
          if (resource.fence <= seen.fence) throw refused();
          seen.fence = resource.fence;
          opened.push(resource);
          return {
            ...handlerOf(resource),
            fetch() {
              if (resource.fence !== seen.fence) throw refused();
              return new Response(resource.fence.toString());
            },
          };
        },
      },
    });
    const held = await settle(claim(directory, 'a'));
    const gate = Promise.withResolvers<void>();
    const slow = ask(guard, held, async (_handler, resource) => {
      await gate.promise;
      resource.assertOwned();
      return 'finished';
    });
    await system.advance(10);
    seen.fence = held.fence + 500n; // the file was replaced by one that somebody else had owned
    await assert.rejects(settle(ask(guard, held, answer)), { code: 'HF_FENCED' });
    await assert.rejects(settle(ask(guard, held, answer)), isNotOwner);
    await system.advance(10);
    assert.deepEqual(closed, [], 'closed under a request');
    gate.resolve();
    assert.equal(await settle(slow), 'finished');
    await system.advance(10);
    assert.deepEqual(closed, [key('a')]);
    await assert.rejects(settle(ask(guard, held, answer)), isNotOwner);
    const again = await settle(claim(directory, 'a'));
    assert(again.fence > held.fence);
    assert(BigInt(await settle(ask(guard, again, answer))) > held.fence + 500n);
    assert.equal(guard.metrics.overruns, 0);
  });

  it('says why a resource could not be opened, and tries again for the next request', async () => {
    let failure: Error | null = new Error('disk on fire');
    const guard = await start('h1', {
      component: {
        async openResource(resource) {
          if (failure) throw failure;
          return handlerOf(resource);
        },
      },
    });
    const held = await settle(claim(directory, 'a'));
    await assert.rejects(settle(ask(guard, held, answer)), {
      code: 'HF_RESOURCE_OPEN_FAILED',
      message: /disk on fire/,
    });
    failure = new HoldfastError('HF_STATE_MISSING', 'no file');
    await assert.rejects(settle(ask(guard, held, answer)), { code: 'HF_STATE_MISSING' });
    failure = null;
    assert.equal(await settle(ask(guard, held, answer)), 'hello');
    assert.equal(guard.metrics.openFailures, 2);
  });

  it('serves the requests of one key one after the other if told so', async () => {
    const guard = await start('h1', { concurrency: 1 });
    const held = await settle(claim(directory, 'a'));
    const order: string[] = [];
    await settle(
      Promise.all(
        [1, 2, 3].map(number =>
          ask(guard, held, async () => {
            order.push(`begin ${number}`);
            await system.timers.sleep(10);
            order.push(`end ${number}`);
          }),
        ),
      ),
    );
    assert.deepEqual(order, ['begin 1', 'end 1', 'begin 2', 'end 2', 'begin 3', 'end 3']);
  });

  it('hands everything over when it drains: finishes, closes, gives back, ends the session', async () => {
    const guard = await start('h1');
    const held = await settle(claim(directory, 'a'));
    const unopened = await settle(claim(directory, 'b'));
    await settle(ask(guard, held, answer));
    const gate = Promise.withResolvers<void>();
    const slow = ask(guard, held, async (_handler, resource) => {
      await gate.promise;
      resource.assertOwned();
      return 'finished';
    });
    await system.advance(0);
    let drained = false;
    const draining = guard.drain().then(() => (drained = true));
    await system.advance(100);
    await start('h2');
    await assert.rejects(settle(ask(guard, held, answer)), isNotOwner);
    await assert.rejects(settle(ask(guard, unopened, answer)), isNotOwner);
    await system.advance(20);
    assert.notEqual((await settle(claim(directory, 'b'))).sessionId, unopened.sessionId, 'not handed back');
    assert(!drained && closed.length === 0, 'closed under a request');
    const still = await settle(claim(directory, 'a'));
    assert.equal(still.fence, held.fence, 'given away while open');
    gate.resolve();
    assert.equal(await settle(slow), 'finished');
    await settle(draining);
    assert.deepEqual(closed, [key('a')]);
    assert(opened[0]!.signal.aborted);
    assert.equal(guard.session, null);
    assert.equal(guard.ownedKeys, 0);
    assert.equal(guard.metrics.overruns, 0);
    const next = await settle(claim(directory, 'a'));
    assert(next.fence > held.fence && next.sessionId !== held.sessionId);
    await assert.rejects(settle(ask(guard, held, answer)), isNotOwner);
    assert((await settle(directory.sessions(pool))).every(session => session.processId !== held.processId));
  });

  it('goes on serving keys whose turn has not come while others drain', async () => {
    const guard = await start('h1');
    const claims = await settle(
      Promise.all(Array.from({ length: 40 }, (_, index) => claim(directory, `k${index}`))),
    );
    const gate = Promise.withResolvers<void>();
    const slow = claims.map(held => ask(guard, held, () => gate.promise));
    await system.advance(10);
    const draining = guard.drain();
    await system.advance(10);
    const outcomes = await settle(Promise.allSettled(claims.map(held => ask(guard, held, answer))));
    assert.equal(outcomes.filter(outcome => outcome.status === 'fulfilled').length, 8);
    gate.resolve();
    await settle(Promise.all([draining, ...slow]));
    assert.equal(closed.length, 40);
  });

  it('ends hard what does not finish within the time to drain', async () => {
    const guard = await start('h1');
    const held = await settle(claim(directory, 'a'));
    const forever = ask(
      guard,
      held,
      (_handler, resource) =>
        new Promise<string>(resolve => resource.signal.addEventListener('abort', () => resolve('aborted'))),
    );
    await system.advance(10);
    const stop = new AbortController();
    const draining = guard.drain(stop.signal);
    await system.advance(50);
    stop.abort();
    await settle(draining);
    assert.equal(await settle(forever), 'aborted');
    await system.advance(10);
    assert.deepEqual(closed, [key('a')]);
    assert.equal(guard.metrics.overruns, 1);
  });

  it('stops by itself before the session can expire when renewals fail, and starts anew', async () => {
    const guard = await start('h1');
    const held = await settle(claim(directory, 'a'));
    await settle(ask(guard, held, answer));
    const { sessionId } = guard.session!;
    await system.advance(20_000);
    assert.equal(guard.session?.sessionId, sessionId, 'lost a session that could be renewed');
    const running = ask(guard, held, async (_handler, resource) => {
      await new Promise(resolve => resource.signal.addEventListener('abort', resolve));
      assert.throws(() => resource.assertOwned(), isNotOwner);
      return 'too late';
    });
    down = true;
    await system.advance(ttlMs);
    assert.equal(sessionOf(guard), undefined);
    assert.deepEqual(closed, [key('a')]);
    assert.equal(await settle(running), 'too late');
    assert.equal(guard.metrics.overruns, 1);
    assert.equal(guard.metrics.sessionsLost, 1);
    assert(guard.metrics.renewalFailures > 2);
    await assert.rejects(settle(ask(guard, held, answer)), isNotOwner);
    down = false;
    await system.advance(5_000);
    assert.notEqual(sessionOf(guard), sessionId);
    const again = await settle(claim(directory, 'a'));
    assert(again.fence > held.fence);
    assert.equal(await settle(ask(guard, again, answer)), 'hello');
  });

  it('stops when the directory says that the session is over', async () => {
    const guard = await start('h1');
    const held = await settle(claim(directory, 'a'));
    await settle(ask(guard, held, answer));
    await settle(directory.closeSession(held.sessionId));
    await system.advance(ttlMs / 2);
    assert(opened[0]!.signal.aborted);
    assert.deepEqual(closed, [key('a')]);
    assert.notEqual(guard.session?.sessionId, held.sessionId);
  });

  it('never opens a key again before the last opening of it was closed', async () => {
    const closing = Promise.withResolvers<void>();
    const guard = await start('h1', {
      component: {
        async openResource(resource) {
          opened.push(resource);
          return { fetch: () => new Response('x'), close: () => closing.promise };
        },
      },
    });
    const held = await settle(claim(directory, 'a'));
    await settle(ask(guard, held, answer));
    await settle(directory.closeSession(held.sessionId));
    await system.advance(ttlMs);
    const again = await settle(claim(directory, 'a'));
    assert.equal(again.sessionId, guard.session?.sessionId);
    const waiting = ask(guard, again, answer);
    await system.advance(500);
    assert.equal(opened.length, 1);
    closing.resolve();
    assert.equal(await settle(waiting), 'x');
    assert.equal(opened.length, 2);
  });

  it('says that it lets go only when nothing is open any more of a session that was lost', async () => {
    const closing = Promise.withResolvers<void>();
    const guard = await start('h1', {
      component: {
        openResource: async () => ({ fetch: () => new Response('x'), close: () => closing.promise }),
      },
    });
    await settle(ask(guard, await settle(claim(directory, 'a')), answer));
    await settle(guard.letGo());
    await settle(directory.closeSession(guard.session!.sessionId));
    await system.advance(ttlMs);
    let free = false;
    const letting = guard.letGo().then(() => (free = true));
    await system.advance(500);
    assert(!free);
    closing.resolve();
    await settle(letting);
  });

  it('has a session without keys for a component that owns nothing', async () => {
    const guard = await start('h1', { component: {} });
    const [session] = await settle(directory.sessions(pool));
    assert.equal(session?.ownsResources, false);
    const held = { key: key('a'), sessionId: session.sessionId, fence: 1n as Claim['fence'] };
    await assert.rejects(guard.serve(held, answer), isNotOwner);
    await settle(guard.drain());
    assert.deepEqual(await settle(directory.sessions(pool)), []);
  });

  it('says so when no session can be opened, and has ended then', async () => {
    down = true;
    await assert.rejects(start('h1'), { code: 'HF_COORDINATION_UNAVAILABLE' });
    down = false;
    await system.advance(5_000);
    assert.deepEqual(await settle(directory.sessions(pool)), []);
  });

  it('leaves no session behind whose opening was never answered', async () => {
    let calls = 0;
    const fake = createFakeDirectory(system);
    // The first answer is lost on its way back.
    directory = fake.port({ delayMs: () => (++calls === 2 ? null : 0) });
    const guard = await start('h1');
    assert.deepEqual(
      (await settle(directory.sessions(pool))).map(session => session.sessionId),
      [guard.session?.sessionId],
    );
  });

  it('ends at once on abort, closes what is open, and gives the session up after that', async () => {
    const guard = await start('h1');
    const held = await settle(claim(directory, 'a'));
    await settle(ask(guard, held, answer));
    guard.abort();
    assert(opened[0]!.signal.aborted);
    assert.equal(guard.session, null);
    await system.advance(10);
    assert.deepEqual(closed, [key('a')]);
    assert.deepEqual(await settle(directory.sessions(pool)), []);
    await settle(guard.drain());
  });
});
