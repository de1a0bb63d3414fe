/** When copies are available, and when it is worth looking again. Pure. */
import type { InstanceSettings } from '#core';
import type { Copy } from './copies.ts';
import type { DesiredInstance } from './desired.ts';

/** A copy that shall stay counts once it has been healthy for `healthyAfterMs`; one that must go as long as it is healthy. */
export function isAvailable(
  copy: Copy,
  stays: boolean,
  update: InstanceSettings['update'],
  nowMs: number,
): boolean {
  if (!copy.reachable || copy.condition !== 'healthy') return false;
  return !stays || healthyForMs(copy, nowMs) >= update.healthyAfterMs;
}

/** When the copy's state is worth another look though no event tells; null if it is settled. */
export function uncertainMs(instance: DesiredInstance, copy: Copy, nowMs: number): number | null {
  if (copy.condition === 'stopping' || copy.process.state === 'Starting') return 250;
  if (copy.condition === 'starting') return 1_000;
  if (copy.condition === 'failing') return null; // its agent tells when that changes
  const left = instance.settings.update.healthyAfterMs - healthyForMs(copy, nowMs);
  return left > 0 ? left : null;
}

/** The smallest of the times that are there. */
export function earliest(times: readonly (number | null)[]): number | null {
  const known = times.filter(time => time !== null);
  return known.length === 0 ? null : Math.min(...known);
}

export function healthyForMs(copy: Copy, nowMs: number): number {
  return copy.process.healthySinceMs === null ? 0 : nowMs - copy.process.healthySinceMs;
}
