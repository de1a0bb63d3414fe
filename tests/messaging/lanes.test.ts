import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createLanes } from '../../messaging/lanes.ts';

interface Work {
  lane: string | null;
  number: number;
  failures: number;
}

describe('lanes', () => {
  it('run each lane in order, one at a time, within the bound, whatever fails and however long it takes', async () => {
    const work = fc.record({
      lane: fc.constantFrom(null, 'a', 'b', 'c'),
      failures: fc.nat(2),
      turns: fc.nat(3),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(work, { maxLength: 30 }),
        fc.integer({ min: 1, max: 4 }),
        async (list, concurrency) => {
          const running = new Set<Work>();
          const done: Work[] = [];
          const all = list.map((one, number) => ({ ...one, number }));
          const left = new Map(all.map(one => [one as Work, one.failures]));
          const finished = Promise.withResolvers<void>();
          const lanes = createLanes<Work & { turns: number }>({
            concurrency,
            async run(one) {
              assert(running.size < concurrency);
              if (one.lane !== null) assert(![...running].some(({ lane }) => lane === one.lane));
              running.add(one);
              for (let turn = 0; turn < one.turns; turn++) await Promise.resolve();
              running.delete(one);
              const failures = left.get(one)!;
              left.set(one, failures - 1);
              if (failures > 0) {
                setImmediate(() => lanes.again(one));
                return;
              }
              done.push(one);
              lanes.done(one);
              if (done.length === all.length) finished.resolve();
            },
          });
          for (const one of all) lanes.add(one);
          if (all.length > 0) await finished.promise;
          await lanes.idle();
          for (const lane of ['a', 'b', 'c']) {
            const numbers = done.filter(one => one.lane === lane).map(({ number }) => number);
            assert.deepEqual(
              numbers,
              [...numbers].sort((a, b) => a - b),
            );
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('take out what waits, and leave what runs', async () => {
    const gate = Promise.withResolvers<void>();
    const ran: number[] = [];
    const lanes = createLanes<Work>({
      concurrency: 1,
      async run(one) {
        ran.push(one.number);
        await gate.promise;
        lanes.done(one);
      },
    });
    const [first, second, third] = [0, 1, 2].map(number => ({ lane: 'a', number, failures: 0 }));
    for (const one of [first!, second!, third!]) lanes.add(one);
    assert.equal(lanes.drop(first!), false);
    assert.equal(lanes.drop(second!), true);
    gate.resolve();
    await new Promise(resolve => setImmediate(resolve));
    await lanes.idle();
    assert.deepEqual(ran, [0, 2]);
  });
});
