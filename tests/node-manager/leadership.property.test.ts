/** Several managers over a store that answers late, or not at all: at no moment do two of them lead, and somebody does before long. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createFakeSystem, type LeaseGrant, type LeaseService } from '#core';
import { createLeadership, type Leadership } from '#node-manager';
import { createInMemoryLeases } from '../support/in-memory-leases.ts';
import { silentLogger } from './silence.ts';

const ttlMs = 3_000;
const stepMs = 50;
const names = ['a', 'b', 'c'];

/** What happens to one manager at one moment. */
type Trouble = { atStep: number; manager: number } & (
  { type: 'slow'; ms: number } | { type: 'cut'; ms: number } | { type: 'resign' } | { type: 'deposed' }
);

const at = { atStep: fc.nat({ max: 600 }), manager: fc.nat({ max: names.length - 1 }) };
const troubles: fc.Arbitrary<Trouble[]> = fc.array(
  fc.oneof(
    fc.record({ ...at, type: fc.constant('slow' as const), ms: fc.nat({ max: 2 * ttlMs }) }),
    fc.record({ ...at, type: fc.constant('cut' as const), ms: fc.nat({ max: 3 * ttlMs }) }),
    fc.record({ ...at, type: fc.constant('resign' as const) }),
    fc.record({ ...at, type: fc.constant('deposed' as const) }),
  ),
  { maxLength: 15 },
);

describe('leadership of several managers', () => {
  it('is one at a time, by fences that grow, and is taken again when the trouble is over', async () => {
    await fc.assert(
      fc.asyncProperty(troubles, async happening => {
        const system = createFakeSystem();
        const store = createInMemoryLeases({ system, enter: async () => {} });
        const managers = names.map(holder => createManager(holder, system, store));
        for (const { leadership } of managers) void leadership.start();
        let highest = 0n;
        let lastLedStep = 0;
        for (let step = 0; step < 900; step++) {
          for (const trouble of happening) {
            if (trouble.atStep !== step) continue;
            const manager = managers[trouble.manager]!;
            if (trouble.type === 'slow') manager.delayMs = trouble.ms;
            else if (trouble.type === 'cut') manager.cutUntilMs = system.clock.monotonicMs() + trouble.ms;
            else if (trouble.type === 'resign') void manager.leadership.resign();
            else manager.leadership.deposed();
          }
          if (step === 620) for (const manager of managers) manager.delayMs = 0;
          await system.advance(stepMs);
          const fences = managers.flatMap(({ leadership }) => leadership.fence() ?? []);
          assert.ok(fences.length <= 1, `${fences.length} lead at step ${step}`);
          const [fence] = fences;
          if (fence === undefined) continue;
          assert.ok(fence >= highest, 'a fence came again after a higher one');
          highest = fence;
          lastLedStep = step;
        }
        assert.ok(lastLedStep > 890, 'nobody leads in the end');
        for (const { leadership } of managers) void leadership.stop();
      }),
      { numRuns: 150 },
    );
  });

  function createManager(
    holder: string,
    system: ReturnType<typeof createFakeSystem>,
    store: LeaseService,
  ): { leadership: Leadership; delayMs: number; cutUntilMs: number } {
    const manager = { delayMs: 0, cutUntilMs: 0, leadership: null as unknown as Leadership };
    /** A call that takes its time on the way there and back; cut off, it fails after having been carried out or not. */
    async function call<Result>(ask: () => Promise<Result>): Promise<Result> {
      const isCut = () => system.clock.monotonicMs() < manager.cutUntilMs;
      await system.timers.sleep(manager.delayMs / 2);
      if (isCut()) throw new Error('cut off');
      const result = await ask();
      await system.timers.sleep(manager.delayMs / 2);
      if (isCut()) throw new Error('cut off');
      return result;
    }
    const leases: LeaseService = {
      ...store,
      tryAcquire: (...args) => call<LeaseGrant>(() => store.tryAcquire(...args)),
      renew: (...args) => call<LeaseGrant>(() => store.renew(...args)),
      release: (...args) => call(() => store.release(...args)),
    };
    manager.leadership = createLeadership({
      leases,
      system,
      log: silentLogger,
      holder,
      ttlMs,
      onChange: () => {},
    });
    return manager;
  }
});
