import assert from 'node:assert/strict';
import fc from 'fast-check';
import { KeyMap } from '../../../ownership/owners/key-map.ts';

describe('map of keys', () => {
  it('behaves as a Map does', () => {
    const key = fc.stringMatching(/^\/[ab]{0,9}$/);
    const change = fc.tuple(fc.constantFrom('set', 'delete'), key, fc.nat());
    fc.assert(
      fc.property(fc.array(change, { maxLength: 200 }), changes => {
        const [ours, model] = [new KeyMap<string, number>(), new Map<string, number>()];
        for (const [what, name, value] of changes) {
          if (what === 'delete') assert.equal(ours.delete(name), model.delete(name));
          else {
            ours.set(name, value);
            model.set(name, value);
          }
          assert.equal(ours.size, model.size);
          assert.equal(ours.get(name), model.get(name));
        }
        assert.deepEqual([...ours.keys()].sort(), [...model.keys()].sort());
      }),
    );
  });

  it('walks by every entry before it comes by one again, whatever is deleted on the way', () => {
    const map = new KeyMap<string, number>();
    assert.equal(map.next(), null);
    for (let index = 0; index < 1_000; index += 1) map.set(`/key-${index}`, index);
    const seen = new Set<string>();
    for (let index = 0; index < 1_000; index += 1) {
      const [key] = map.next()!;
      assert.ok(!seen.has(key), key);
      seen.add(key);
      if (index % 3 === 0) map.delete(key);
    }
    assert.equal(seen.size, 1_000);
    assert.ok(map.next());
  });

  it('spreads keys that differ at their end', () => {
    // What it is for: no single Map inside grows so large that making room takes long. Seen from outside, the walk tells:
    // it goes shard by shard, so that neighbours in order of insertion are rarely neighbours in the walk.
    const map = new KeyMap<string, number>();
    for (let index = 0; index < 10_000; index += 1) map.set(`/db/customer-${index}`, index);
    let neighbours = 0;
    let last = map.next()![1];
    for (let index = 1; index < 10_000; index += 1) {
      const [, value] = map.next()!;
      if (value === last + 1) neighbours += 1;
      last = value;
    }
    assert.ok(neighbours < 1_000, String(neighbours));
  });
});
