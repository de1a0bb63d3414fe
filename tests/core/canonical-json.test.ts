import assert from 'node:assert/strict';
import { canonicalJson } from '#core';
import fc from 'fast-check';

describe('canonical JSON', () => {
  it('is the same for the same fields in another order, at any depth', () => {
    assert.equal(
      canonicalJson({ b: [{ d: 1, c: null }], a: 'x' }),
      canonicalJson({ a: 'x', b: [{ c: null, d: 1 }] }),
    );
    assert.notEqual(canonicalJson({ a: [1, 2] }), canonicalJson({ a: [2, 1] }));
  });

  it('holds the value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        assert.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
