/** The decisions of the benches: what counts as worse than it was, how ratios are taken, what a profile says. */
import assert from 'node:assert/strict';
import { judge } from '../../bench/check.ts';
import { note, ratioSamples, table, type Comparison } from '../../bench/comparison.ts';
import { topOf } from '../../bench/profile.ts';

describe('the check of what a request costs', () => {
  const stored = { router: 0.5, hosts: 1 };
  const worse = (router: number, hosts: number, unit: 'instructions' | 'CPU time') =>
    judge(stored, { router, hosts }, unit).map(verdict => verdict.worse);

  it('lets pass what costs as much as it did, or less', () => {
    assert.deepEqual(worse(0.5, 1, 'CPU time'), [false, false]);
    assert.deepEqual(worse(0.3, 1.2, 'CPU time'), [false, false]);
  });

  it('fails for the part that costs more, sooner where instructions are counted', () => {
    assert.deepEqual(worse(0.7, 1, 'CPU time'), [true, false]);
    assert.deepEqual(worse(0.5, 1.4, 'CPU time'), [false, true]);
    assert.deepEqual(worse(0.58, 1.05, 'instructions'), [true, false]);
  });
});

describe('a comparison', () => {
  it('takes ratios within each round, of sums of metrics too', () => {
    const comparison: Comparison = { title: 'Both', metrics: ['a', 'b'], samples: {}, ratios: [] };
    for (const [ours, peer] of [
      [10, 20],
      [30, 20],
    ] as const) {
      note(comparison, 'ours', { a: ours, b: ours });
      note(comparison, 'peer', { a: peer, b: 3 * peer });
    }
    const ratio = (metrics: string[]) => ({
      name: 'ours to peer',
      of: { subject: 'ours', metrics },
      to: { subject: 'peer', metrics },
      aim: '≤ 1',
    });
    assert.deepEqual(ratioSamples(comparison, ratio(['a'])), [0.5, 1.5]);
    assert.deepEqual(ratioSamples(comparison, ratio(['a', 'b'])), [0.25, 0.75]);
    assert.match(table({ ...comparison, ratios: [ratio(['a'])] }), /\| ours \| 20\.0 \(10\.0–30\.0\) \|/);
  });
});

describe('a profile', () => {
  it('lists functions by their own time, and leaves idle time out', () => {
    const node = (id: number, functionName: string) => ({
      id,
      callFrame: { functionName, url: '', lineNumber: 0 },
    });
    const profile = {
      nodes: [node(1, '(idle)'), node(2, 'write'), node(3, 'parse'), node(4, 'write')],
      samples: [1, 2, 3, 4],
      timeDeltas: [400, 100, 200, 300],
    };
    assert.deepEqual(topOf(profile, 1), { idleShare: 0.4, top: [{ name: 'write', share: 400 / 600 }] });
  });
});
