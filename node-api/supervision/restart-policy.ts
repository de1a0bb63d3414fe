/**
 * Whether a crashed process runs again, and when. Facts in, decision out: no clock, no I/O. The first crash in a while costs no wait, for
 * most come alone; each further one within the window waits twice as long as the last. A process that crashes more
 * than `maxAttempts` times within `windowMs` is given up and shown as a crash loop, because starting it for ever
 * would hide what is wrong.
 */
import type { RestartPolicy } from '#core';

export const defaultRestartPolicy: RestartPolicy = {
  maxAttempts: 5,
  windowMs: 60_000,
  backoffMs: 200,
  backoffMaxMs: 10_000,
};

export type RestartDecision = (
  | { action: 'restart'; afterMs: number }
  /** The crash loop is reported; only somebody's new start tries again. */
  | { action: 'give-up' }
) & {
  /** The crashes that still count, this one last: what to remember. */
  crashes: number[];
};

export interface CrashFacts {
  policy: RestartPolicy;
  /** Earlier crashes, milliseconds since boot. Those of an earlier boot lie in the future and are dropped. */
  crashes: readonly number[];
  /** This crash, milliseconds since boot. */
  nowMs: number;
  /** Uniform in [0, 1): takes up to a fifth off the wait, so that hosts that crash again and again together do not start together. */
  jitter: number;
}

export function decideRestart({ policy, crashes, nowMs, jitter }: CrashFacts): RestartDecision {
  const recent = crashes.filter(at => at <= nowMs && nowMs - at < policy.windowMs);
  const counted = [...recent, nowMs];
  if (counted.length > policy.maxAttempts) return { action: 'give-up', crashes: counted };
  const doubled = recent.length === 0 ? 0 : policy.backoffMs * 2 ** Math.min(recent.length - 1, 30);
  const afterMs = Math.round(Math.min(doubled, policy.backoffMaxMs) * (1 - jitter / 5));
  return { action: 'restart', afterMs, crashes: counted };
}
