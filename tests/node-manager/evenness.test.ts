import assert from 'node:assert/strict';
import fc from 'fast-check';
import { pielou, shannon } from '#node-manager';

const near = (actual: number, expected: number) =>
  assert.ok(Math.abs(actual - expected) < 1e-12, `${actual} is not ${expected}`);

describe('evenness', () => {
  it('has the known values of Shannon', () => {
    near(shannon([]), 0);
    near(shannon([7]), 0);
    near(shannon([1, 1]), Math.LN2);
    near(shannon([5, 5, 5, 5]), Math.log(4));
    near(shannon([3, 1]), 0.75 * Math.log(4 / 3) + 0.25 * Math.log(4));
    near(shannon([10, 0, 10]), Math.LN2);
  });

  it('has the known values of Pielou, 1 where nothing can be uneven', () => {
    assert.equal(pielou([]), 1);
    assert.equal(pielou([0, 0]), 1);
    assert.equal(pielou([9]), 1);
    near(pielou([2, 2, 2]), 1);
    near(pielou([3, 1]), (0.75 * Math.log(4 / 3) + 0.25 * Math.log(4)) / Math.LN2);
  });

  it('lies between 0 and 1, and does not depend on order or scale', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1_000), { maxLength: 12 }), counts => {
        const value = pielou(counts);
        assert.ok(value >= 0 && value <= 1);
        assert.equal(pielou([...counts].reverse()), value);
        near(pielou(counts.map(count => count * 3)), value);
      }),
    );
  });
});
