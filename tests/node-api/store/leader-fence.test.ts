import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import type { Fence } from '#core';
import { judgeLeader } from '../../../node-api/store/leader-fence.ts';
import type { LeaderRecord } from '../../../node-api/store/records.ts';

const mark = (incarnation: string, fence: bigint) => ({
  clusterId: 'c',
  incarnation,
  fence: fence as Fence,
});

describe('node API: leader fence', () => {
  it('accepts the first leader, an equal mark and a higher fence', () => {
    const first = judgeLeader(undefined, mark('i', 3n));
    assert.ok(first.accepted && first.changed);
    const equal = judgeLeader(first.record, mark('i', 3n));
    assert.ok(equal.accepted && !equal.changed);
    const higher = judgeLeader(first.record, mark('i', 4n));
    assert.ok(higher.accepted && higher.changed && higher.record.fence === '4');
  });

  it('compares fences as numbers, beyond what a double can hold', () => {
    const known: LeaderRecord = { incarnation: 'i', fence: '9007199254740993', former: [] };
    assert.equal(judgeLeader(known, mark('i', 9007199254740992n)).accepted, false);
    assert.equal(judgeLeader({ ...known, fence: '9' }, mark('i', 10n)).accepted, true);
  });

  it('accepts a new incarnation with any fence, and never an old one again', () => {
    const known: LeaderRecord = { incarnation: 'i1', fence: '100', former: [] };
    const next = judgeLeader(known, mark('i2', 1n));
    assert.ok(next.accepted);
    assert.equal(judgeLeader(next.record, mark('i1', 200n)).accepted, false);
  });

  it('within one incarnation the accepted fences never decrease', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 1n, max: 50n }), { minLength: 1 }), fences => {
        let known: LeaderRecord | undefined;
        let highest = 0n;
        for (const fence of fences) {
          const decision = judgeLeader(known, mark('i', fence));
          assert.equal(decision.accepted, fence >= highest);
          if (!decision.accepted) continue;
          known = decision.record;
          highest = fence;
          assert.equal(known.fence, String(highest));
        }
      }),
    );
  });
});
