import assert from 'node:assert/strict';
import type { Clock } from '#core';
import { createSteadyClock } from '../../ownership/steady-clock.ts';

describe('steady clock', () => {
  let monotonic = 0;
  let suspended = 0;
  let wallError = 0;
  let bootReads = 0;
  const clock: Clock = {
    monotonicMs: () => monotonic,
    bootMs: () => (bootReads++, Math.floor((monotonic + suspended + 5_000) / 10) * 10),
    wallMs: () => 1e12 + monotonic + suspended + wallError,
  };
  beforeEach(() => {
    monotonic = suspended = wallError = bootReads = 0;
  });

  it('counts the time that the machine was suspended, at the very next look', () => {
    const now = createSteadyClock(clock);
    const before = now();
    suspended += 60_000;
    assert(Math.abs(now() - before - 60_000) <= 10);
  });

  it('notices a suspension that the wall clock hides, within a second', () => {
    const now = createSteadyClock(clock);
    const before = now();
    suspended += 60_000;
    wallError = -60_000;
    monotonic += 1_001;
    assert(now() - before >= 60_990);
  });

  it('does not move with the wall clock, nor ever back', () => {
    const now = createSteadyClock(clock);
    let last = now();
    for (const jump of [3_600_000, -7_200_000, 10_000_000]) {
      wallError += jump;
      monotonic += 7;
      const next = now();
      assert(next >= last + 7 && next <= last + 7 + 15, `${next - last}`);
      last = next;
    }
  });

  it('seldom looks at the boot clock', () => {
    const now = createSteadyClock(clock);
    for (let i = 0; i < 10_000; i++) {
      monotonic += 0.5;
      now();
    }
    assert(bootReads <= 7, `${bootReads}`);
  });
});
