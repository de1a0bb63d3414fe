import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Fence } from '#core';
import { decideLease, type LeaseRecord, type LeaseRequest } from '#leases';

const holders = fc.constantFrom('a', 'b', 'c');
const request = fc.oneof(
  fc.record({
    type: fc.constant('acquire' as const),
    holder: holders,
    ttlMs: fc.integer({ min: 1, max: 50 }),
  }),
  fc.record({
    type: fc.constant('renew' as const),
    holder: holders,
    age: fc.nat(2),
    ttlMs: fc.integer({ min: 1, max: 50 }),
  }),
  fc.record({ type: fc.constant('release' as const), holder: holders, age: fc.nat(2) }),
);
const history = fc.array(fc.record({ afterMs: fc.nat(30), request }), { maxLength: 60, size: 'max' });

describe('lease decisions', () => {
  it('keep one holder at a time, raise the fence with every new holding, and never shorten or revive', () => {
    fc.assert(
      fc.property(history, steps => {
        let nowMs = 0;
        let record = null as LeaseRecord | null;
        let lastFence = 0n;
        for (const { afterMs, request } of steps) {
          nowMs += afterMs;
          const before = record;
          const live = before && nowMs < before.expiresAtMs ? before : null;
          const asked: LeaseRequest =
            request.type === 'acquire' ? request : { ...request, fence: lastFence - BigInt(request.age) };
          const decision = decideLease(before, asked, nowMs);
          switch (decision.type) {
            case 'grant':
              assert.equal(live, null, 'granted what somebody holds');
              assert.equal(asked.type, 'acquire');
              record = {
                holder: asked.holder,
                fence: ++lastFence as Fence,
                expiresAtMs: decision.expiresAtMs,
              };
              break;
            case 'extend':
              assert(live, 'revived');
              assert.equal(live.holder, asked.holder);
              assert.equal(decision.record.fence, live.fence);
              assert(decision.record.expiresAtMs >= live.expiresAtMs, 'shortened');
              record = decision.record;
              break;
            case 'end':
              assert(live && asked.type === 'release' && asked.fence === live.fence);
              record = null;
              break;
            case 'refuse':
              assert.deepEqual(decision.current, live);
              break;
          }
        }
      }),
    );
  });
});
