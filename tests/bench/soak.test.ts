/** The shortest of soaks: what must hold in half an hour under load holds here while a host dies, keys move and a version is deployed. */
import assert from 'node:assert/strict';
import { judgeMemory } from '../../bench/soak/memory.ts';
import { soak } from '../../bench/soak/soak.ts';

describe('a soak', function () {
  this.timeout(240_000);

  it('answers every idempotent request rightly while hosts are killed, keys moved and versions deployed', async () => {
    const report = await soak({
      durationMs: 2_000,
      load: { perSecond: 100 },
      pace: {
        killEveryMs: 500,
        moveEveryMs: 50,
        deployEveryMs: 500,
        times: { kills: 2, moves: 5, deployments: 1 },
      },
      holdMs: 60_000, // a machine that stands still for a while breaks no promise
      sampleEveryMs: 100,
      nodes: 2,
      say: () => {},
    });
    assert.deepEqual(report.violations, [], JSON.stringify(report, null, 2));
    assert.equal(report.load.failedIdempotent, 0);
  });

  it('sees memory that grows, and none in memory that breathes or was measured too shortly', () => {
    const mebibyte = 2 ** 20;
    const series = (minutes: number, bytesAt: (minute: number) => number) =>
      Array.from({ length: minutes * 6 }, (_, index) => ({
        atMs: index * 10_000,
        bytes: bytesAt(index / 6),
      }));
    const verdict = (minutes: number, bytesAt: (minute: number) => number) =>
      judgeMemory(series(minutes, bytesAt), (minutes * 60_000) / 3)?.flat;
    assert.equal(
      verdict(30, minute => (60 + 2 * minute) * mebibyte),
      false,
    );
    assert.equal(
      verdict(30, minute => (60 + 15 * Math.sin(minute * 5)) * mebibyte),
      true,
    );
    // What fills up in the warm-up is no leak.
    assert.equal(
      verdict(30, minute => (20 + 6 * Math.min(minute, 10)) * mebibyte),
      true,
    );
    assert.equal(
      verdict(6, minute => (60 + 20 * minute) * mebibyte),
      null,
    );
  });
});
