import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createLaunchQueue } from '../../../node-api/supervision/launch-queue.ts';

const never = new AbortController().signal;

describe('node API: the queue of launches', () => {
  it('lets so many in at once, and the next one when a turn ends, once', async () => {
    const queue = createLaunchQueue(2);
    const [first] = await Promise.all([queue.enter('a', never), queue.enter('a', never)]);
    const third = queue.enter('a', never);
    const fourth = queue.enter('a', never);
    assert.equal(queue.waiting, 2);
    first();
    first();
    await third;
    assert.equal(queue.waiting, 1);
    (await third)();
    await fourth;
  });

  it('goes round by lane', async () => {
    const queue = createLaunchQueue(1);
    const order: string[] = [];
    const end = await queue.enter('busy', never);
    const turns = ['busy', 'busy', 'busy', 'other', 'third', 'other'].map(async (lane, index) => {
      const endTurn = await queue.enter(lane, never);
      order.push(`${lane} ${index}`);
      endTurn();
    });
    end();
    await Promise.all(turns);
    assert.deepEqual(order, ['busy 0', 'other 3', 'third 4', 'busy 1', 'other 5', 'busy 2']);
  });

  it('forgets who does not want to wait any more', async () => {
    const queue = createLaunchQueue(1);
    const end = await queue.enter('a', never);
    const stop = new AbortController();
    const given = queue.enter('a', stop.signal);
    const after = queue.enter('a', never);
    stop.abort(new Error('stopped'));
    await assert.rejects(given, /stopped/);
    await assert.rejects(queue.enter('a', stop.signal), /stopped/);
    assert.equal(queue.waiting, 1);
    end();
    (await after)();
    await queue.enter('a', never);
  });

  it('never lets more in, and everybody in the end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 30 }),
        fc.scheduler(),
        async (parallelMax, lanes, scheduler) => {
          const queue = createLaunchQueue(parallelMax);
          let inside = 0;
          const turns = lanes.map(async lane => {
            const end = await queue.enter(lane, never);
            assert.ok(++inside <= parallelMax);
            await scheduler.schedule(Promise.resolve());
            inside--;
            end();
          });
          await scheduler.waitFor(Promise.all(turns));
          assert.equal(queue.waiting, 0);
        },
      ),
    );
  });
});
