/**
 * Which copies a rolling update replaces now. A copy that is available may go only while fewer than `maxUnavailable`
 * are not; one that is down already may go at once, for it takes nothing away. Nothing goes while the update is halted,
 * because a version that does not come up must not take the rest with it. Pure.
 */
import type { InstanceSettings } from '#core';
import type { Copy } from './copies.ts';
import type { DesiredInstance } from './desired.ts';

export interface RollingSlot {
  slot: string;
  /** Whether the slot has a copy that must give way. */
  outdated: boolean;
  /** Whether that copy can be stopped now. */
  replaceable: boolean;
  available: boolean;
}

export function chooseReplacements(input: {
  slots: readonly RollingSlot[];
  maxUnavailable: number;
  halted: boolean;
}): string[] {
  if (input.halted) return [];
  const candidates = input.slots.filter(slot => slot.outdated && slot.replaceable);
  const down = candidates.filter(slot => !slot.available);
  const unavailable = input.slots.filter(slot => !slot.available).length;
  const budget = Math.max(0, input.maxUnavailable - unavailable);
  const up = candidates.filter(slot => slot.available).slice(0, budget);
  return [...down, ...up].map(slot => slot.slot);
}

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

function healthyForMs(copy: Copy, nowMs: number): number {
  return copy.process.healthySinceMs === null ? 0 : nowMs - copy.process.healthySinceMs;
}
