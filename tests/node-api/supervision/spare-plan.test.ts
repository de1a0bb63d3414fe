import assert from 'node:assert/strict';
import fc from 'fast-check';
import { planSpares, type SpareFacts } from '../../../node-api/supervision/spare-plan.ts';

const facts: SpareFacts = { perProfile: 1, memoryBytes: 128, spareBytes: 25, inUse: [], short: false };

describe('node API: how many spares of what', () => {
  it('keeps plain ones, and those of the profiles that are used most', () => {
    assert.deepEqual([...planSpares(facts)], [[null, 1]]);
    const inUse = [64, 512, 64, null, 256, 512, 64];
    assert.deepEqual(
      [...planSpares({ ...facts, inUse, memoryBytes: 75 })],
      [
        [null, 1],
        [64, 1],
        [512, 1],
        [256, 0],
      ],
    );
  });

  it('keeps within its memory, keeps none when there is too little, and gives plain ones first', () => {
    const profile = fc.option(fc.integer({ min: 64, max: 70 }));
    fc.assert(
      fc.property(
        fc.record({
          perProfile: fc.nat(16),
          memoryBytes: fc.nat(1_000),
          spareBytes: fc.integer({ min: 1, max: 100 }),
          inUse: fc.array(profile),
          short: fc.boolean(),
        }),
        given => {
          const plan = planSpares(given);
          const counts = [...plan.values()];
          const total = counts.reduce((sum, count) => sum + count, 0);
          assert.ok(total * given.spareBytes <= given.memoryBytes);
          assert.ok(counts.every(count => count >= 0 && count <= given.perProfile));
          assert.deepEqual(new Set(plan.keys()), new Set([null, ...given.inUse]));
          if (given.short) assert.equal(total, 0);
          // What is left out is left out at the end.
          for (let at = 1; at < counts.length; at++) assert.ok(counts[at]! <= counts[at - 1]!);
        },
      ),
    );
  });
});
