import assert from 'node:assert/strict';
import fc from 'fast-check';
import { formatLeaderMark, parseFence, parseLeaderMark, type Fence } from '#core';

const fences = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(fence => fence as Fence);

describe('identifiers', () => {
  it('reads back every fence that it writes', () => {
    fc.assert(fc.property(fences, fence => assert.equal(parseFence(String(fence)), fence)));
  });

  it('refuses what is no canonical positive 63-bit integer', () => {
    for (const text of [
      '',
      '0',
      '01',
      '-1',
      '1.0',
      '1e3',
      ' 1',
      '1 ',
      '0x1',
      '9223372036854775808',
      '1'.repeat(100),
    ]) {
      assert.throws(() => parseFence(text), RangeError, text);
    }
  });

  it('reads back every leader mark that it writes', () => {
    const word = fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/);
    fc.assert(
      fc.property(word, word, fences, (clusterId, incarnation, fence) => {
        const mark = { clusterId, incarnation, fence };
        assert.deepEqual(parseLeaderMark(formatLeaderMark(mark)), mark);
      }),
    );
  });

  it('refuses marks in any other form', () => {
    for (const text of [
      '',
      'a:b',
      'a:b:0',
      'a:b:01',
      'a:b:x',
      'a:b:1:2',
      'a b:c:1',
      ':b:1',
      `${'x'.repeat(65)}:b:1`,
      'a:b:1\n',
    ]) {
      assert.throws(() => parseLeaderMark(text), RangeError, text);
    }
  });
});
