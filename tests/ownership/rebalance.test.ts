import assert from 'node:assert/strict';
import fc from 'fast-check';
import { planKeyMoves, type KeyMove, type Shareholder } from '../../ownership/rebalance.ts';

const all = { threshold: 0, budget: Infinity };

function host(sessionId: string, keys: number, more: Partial<Shareholder> = {}): Shareholder {
  return { sessionId, keys, capacity: 1, ownsResources: true, draining: false, ready: true, ...more };
}

function after(hosts: readonly Shareholder[], moves: readonly KeyMove[]): Map<string, number> {
  const keys = new Map(hosts.map(one => [one.sessionId, one.keys]));
  for (const { from, to, count } of moves) {
    keys.set(from, keys.get(from)! - count);
    keys.set(to, keys.get(to)! + count);
  }
  return keys;
}

const moved = (moves: readonly KeyMove[]) => moves.reduce((sum, { count }) => sum + count, 0);

/** The fewest moves to any allocation in which hosts of equal capacity differ by at most one, by trying them all. */
function fewestMoves(keys: readonly number[]): number {
  const total = keys.reduce((sum, one) => sum + one, 0);
  const low = Math.floor(total / keys.length);
  const over = total - low * keys.length;
  let fewest = Infinity;
  for (let mask = 0; mask < 1 << keys.length; mask++) {
    const higher = keys.map((_, index) => (mask >> index) & 1);
    if (higher.reduce((sum, one) => sum + one, 0) !== over) continue;
    const cost = keys.reduce((sum, one, index) => sum + Math.max(0, one - low - higher[index]!), 0);
    fewest = Math.min(fewest, cost);
  }
  return fewest;
}

describe('rebalancing of keys', () => {
  it('gives a new, empty host its share', () => {
    const hosts = [host('a', 30), host('b', 30), host('c', 0)];
    assert.deepEqual([...after(hosts, planKeyMoves(hosts, all)).values()], [20, 20, 20]);
  });

  it('ends with hosts of equal capacity that differ by at most one key, by the fewest moves', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { minLength: 1, maxLength: 7 }), counts => {
        const hosts = counts.map((keys, index) => host(`h${index}`, keys));
        const moves = planKeyMoves(hosts, all);
        if (moves.length === 0) {
          const share = counts.reduce((sum, one) => sum + one, 0) / counts.length;
          for (const keys of counts)
            assert(Math.abs(keys - share) < 2, 'only one key more or less is left alone');
          return;
        }
        const keys = [...after(hosts, moves).values()];
        assert(Math.max(...keys) - Math.min(...keys) <= 1, keys.join());
        assert.equal(moved(moves), fewestMoves(counts));
      }),
    );
  });

  it('goes by capacity, never overdraws a host, and plans nothing afterwards', () => {
    const shares = fc.record({ keys: fc.nat(100), capacity: fc.integer({ min: 1, max: 8 }) });
    fc.assert(
      fc.property(fc.array(shares, { minLength: 1, maxLength: 8 }), given => {
        const hosts = given.map((one, index) => host(`h${index}`, one.keys, { capacity: one.capacity }));
        const keys = after(hosts, planKeyMoves(hosts, all));
        const total = given.reduce((sum, one) => sum + one.keys, 0);
        assert.equal(
          [...keys.values()].reduce((sum, one) => sum + one, 0),
          total,
        );
        for (const count of keys.values()) assert(count >= 0);
        const settled = hosts.map(one => ({ ...one, keys: keys.get(one.sessionId)! }));
        assert.deepEqual(planKeyMoves(settled, all), []);
      }),
    );
  });

  it('moves nothing within the threshold', () => {
    const hosts = [host('a', 104), host('b', 96)];
    assert.deepEqual(planKeyMoves(hosts, { threshold: 0.1, budget: 100 }), []);
    assert.equal(moved(planKeyMoves(hosts, { threshold: 0.03, budget: 100 })), 4);
  });

  it('moves nothing for the sake of one key', () => {
    assert.deepEqual(planKeyMoves([host('a', 4), host('b', 2)], all), []);
    assert.equal(moved(planKeyMoves([host('a', 2), host('b', 0)], all)), 1, 'but an empty host gets one');
  });

  it('keeps to the budget, fullest to emptiest first', () => {
    const hosts = [host('a', 40), host('b', 20), host('c', 0)];
    assert.deepEqual(planKeyMoves(hosts, { threshold: 0, budget: 5 }), [{ from: 'a', to: 'c', count: 5 }]);
    assert.deepEqual(planKeyMoves(hosts, { threshold: 0, budget: 0 }), []);
  });

  it('leaves hosts alone that drain, are not ready, or own nothing', () => {
    const hosts = [
      host('a', 40),
      host('b', 0, { draining: true }),
      host('c', 0, { ready: false }),
      host('d', 0, { ownsResources: false }),
    ];
    assert.deepEqual(planKeyMoves(hosts, all), []);
  });
});
