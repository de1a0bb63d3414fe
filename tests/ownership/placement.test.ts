import assert from 'node:assert/strict';
import fc from 'fast-check';
import { chooseOwner, type Candidate } from '#ownership';

const candidates = fc.uniqueArray(
  fc.record({
    sessionId: fc.string({ minLength: 1, maxLength: 3 }),
    ownsResources: fc.boolean(),
    draining: fc.boolean(),
    ready: fc.boolean(),
    capacity: fc.integer({ min: 1, max: 5 }),
    keys: fc.nat(30),
  }),
  { selector: candidate => candidate.sessionId, maxLength: 8 },
);
const fresh = (sessionId: string, more: Partial<Candidate> = {}): Candidate => ({
  sessionId,
  ownsResources: true,
  draining: false,
  ready: true,
  capacity: 1,
  keys: 0,
  ...more,
});

describe('placement of keys', () => {
  it('takes nobody who drains, is not ready, or owns nothing, and otherwise the least loaded', () => {
    fc.assert(
      fc.property(candidates, all => {
        const chosen = chooseOwner(all);
        const possible = all.filter(one => one.ownsResources && one.ready && !one.draining);
        if (!chosen) return assert.equal(possible.length, 0);
        assert(possible.includes(chosen));
        for (const one of possible) assert(chosen.keys / chosen.capacity <= one.keys / one.capacity + 1e-9);
      }),
    );
  });

  it('does not depend on the order of the candidates', () => {
    fc.assert(
      fc.property(candidates, fc.integer(), (all, seed) => {
        const shuffled = all.toSorted((a, b) => ((a.keys * seed) % 7) - ((b.keys * seed) % 7));
        assert.equal(chooseOwner(all)?.sessionId, chooseOwner(shuffled)?.sessionId);
      }),
    );
  });

  it('keeps counts per capacity within one key of each other', () => {
    const hosts = [fresh('a'), fresh('b', { capacity: 2 }), fresh('c', { capacity: 5 })].map(one => ({
      ...one,
    }));
    for (let key = 0; key < 400; key++) chooseOwner(hosts)!.keys++;
    assert.deepEqual(
      hosts.map(one => one.keys),
      [50, 100, 250],
    );
  });
});
