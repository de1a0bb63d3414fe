/**
 * The clock that deadlines of sessions and leases are measured on: it counts the time that the machine was suspended, as the boot clock
 * does, but costs no file access. The monotonic clock of the runtime stands still during suspension, and a host that
 * woke up would believe in its session while others had long seen it expire.
 *
 * It is the monotonic clock plus an offset, which is compared with the boot clock every second and whenever the wall clock
 * moved otherwise than the monotonic one. The wall clock is a hint to look, nothing is decided by it.
 */
import type { Clock } from './system.ts';

/** The boot clock ticks in 10 ms; a smaller difference is its rounding. */
const tickMs = 15;
const compareEveryMs = 1_000;

/** Milliseconds on the scale of `Clock.bootMs` (up to one tick behind it); never goes back. */
export function createSteadyClock(clock: Clock): () => number {
  let comparedAtMs = clock.monotonicMs();
  let wallOffsetMs = clock.wallMs() - comparedAtMs;
  let offsetMs = clock.bootMs() - comparedAtMs;
  return () => {
    const monotonicMs = clock.monotonicMs();
    const wallDriftMs = Math.abs(clock.wallMs() - monotonicMs - wallOffsetMs);
    if (wallDriftMs > tickMs || monotonicMs - comparedAtMs > compareEveryMs) {
      comparedAtMs = monotonicMs;
      wallOffsetMs = clock.wallMs() - monotonicMs;
      const found = clock.bootMs() - monotonicMs;
      if (found - offsetMs > tickMs) offsetMs = found;
    }
    return monotonicMs + offsetMs;
  };
}
