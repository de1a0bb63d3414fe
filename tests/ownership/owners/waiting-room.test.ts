import assert from 'node:assert/strict';
import { createFakeSystem, type InstanceId, type ResourceKey } from '#core';
import { createWaitingRoom } from '../../../ownership/owners/waiting-room.ts';

const pool = 'p' as InstanceId;
const other = 'q' as InstanceId;
const [a, b] = ['/a', '/b'] as ResourceKey[];

describe('waiting room', () => {
  /** Names of the waits that have ended, in order. */
  function observe() {
    const ended: string[] = [];
    return { ended, as: (name: string, wait: Promise<unknown>) => void wait.then(() => ended.push(name)) };
  }

  it('wakes those of a pool, or of one key of it, and nobody else', async () => {
    const system = createFakeSystem();
    const room = createWaitingRoom(system, 10);
    const { ended, as } = observe();
    as('a', room.enter()!.listen(pool, a!).wait(1_000));
    as('b', room.enter()!.listen(pool, b!).wait(1_000));
    as('any key', room.enter()!.listen(pool, null).wait(1_000));
    as('other', room.enter()!.listen(other, a!).wait(1_000));
    room.wake(pool, a!);
    await system.advance(0);
    assert.deepEqual(ended, ['a', 'any key']);
    room.wake(pool);
    await system.advance(0);
    assert.deepEqual(ended, ['a', 'any key', 'b']);
    room.wakeAll();
    await system.advance(0);
    assert.deepEqual(ended, ['a', 'any key', 'b', 'other']);
  });

  it('ends a wait by itself when nobody wakes it', async () => {
    const system = createFakeSystem();
    const wait = createWaitingRoom(system, 1).enter()!.listen(pool, a!).wait(100);
    const { ended, as } = observe();
    as('late', wait);
    await system.advance(99);
    assert.deepEqual(ended, []);
    await system.advance(1);
    assert.equal(await wait, false);
  });

  it('misses no news between listening and waiting, and disturbs nothing else meanwhile', async () => {
    const system = createFakeSystem();
    const room = createWaitingRoom(system, 1);
    const place = room.enter()!;
    const news = place.listen(pool, a!);
    const question = place.until(
      new Promise<number>(resolve => system.timers.after(50, () => resolve(7))),
      100,
    );
    room.wake(pool, a!);
    await system.advance(50);
    assert.equal(await question, 7);
    assert.equal(await news.wait(1_000), true);
  });

  it('knows which keys are awaited, until nobody listens any more', () => {
    const room = createWaitingRoom(createFakeSystem(), 2);
    const [one, two] = [room.enter()!.listen(pool, a!), room.enter()!.listen(pool, a!)];
    assert.equal(room.isAwaited(pool, a!), true);
    assert.equal(room.isAwaited(pool, b!), false);
    assert.equal(room.isAwaited(other, a!), false);
    one.stop();
    assert.equal(room.isAwaited(pool, a!), true);
    two.stop();
    assert.equal(room.isAwaited(pool, a!), false);
  });

  it('has so many places and no more, and takes each back once', () => {
    const room = createWaitingRoom(createFakeSystem(), 2);
    const first = room.enter()!;
    assert.ok(room.enter());
    assert.equal(room.enter(), null);
    first.leave();
    first.leave();
    assert.ok(room.enter());
    assert.equal(room.enter(), null);
    assert.equal(room.waiting, 2);
  });

  it('gives what a promise settles to, or nothing when the time is over first', async () => {
    const system = createFakeSystem();
    const place = createWaitingRoom(system, 1).enter()!;
    assert.equal(await place.until(Promise.resolve(7), 100), 7);
    await assert.rejects(place.until(Promise.reject(new Error('no')), 100), /no/);
    const late = place.until(new Promise(() => {}), 100);
    await system.advance(100);
    assert.equal(await late, undefined);
  });

  it('ends every wait of a place that was cancelled', async () => {
    const system = createFakeSystem();
    const place = createWaitingRoom(system, 1).enter()!;
    const wait = place.listen(pool, a!).wait(1_000);
    place.cancel();
    await wait;
    await place.listen(pool, a!).wait(1_000);
    assert.equal(await place.until(new Promise(() => {}), 1_000), undefined);
  });
});
