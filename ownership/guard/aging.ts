/**
 * Keys in the order in which something began for them, such as being idle: one map for all, and no timer per key. Each change is
 * O(1), since what begins now is the youngest. When to look next is worked out while looking, not at each change: entries that
 * were taken out leave holes in front of the oldest, which a map passes one by one.
 */
import type { ResourceKey } from '#core';

export interface Aging {
  /** Oldest first. */
  readonly since: Map<ResourceKey, number>;
  /** When to look for what is old enough, null while there is nothing. Never later than that is due, but for `slackMs`. */
  lookAtMs: number | null;
}

export interface AgingLimits {
  /** How old an entry must be to be taken. Infinity: never. */
  readonly ageMs: number;
  /** How much later it may be taken, so that many go at once. */
  readonly slackMs: number;
  /** How many are taken at once. */
  readonly countMax: number;
}

export function createAging(): Aging {
  return { since: new Map(), lookAtMs: null };
}

export function begin(aging: Aging, key: ResourceKey, nowMs: number, { ageMs, slackMs }: AgingLimits): void {
  aging.since.delete(key);
  aging.since.set(key, nowMs);
  if (ageMs !== Infinity) aging.lookAtMs ??= nowMs + ageMs + slackMs;
}

/** Removes and returns what is old enough, if it is time to look. */
export function takeOld(aging: Aging, nowMs: number, limits: AgingLimits): ResourceKey[] {
  const { ageMs, slackMs, countMax } = limits;
  if (aging.lookAtMs === null || nowMs < aging.lookAtMs) return [];
  const old: ResourceKey[] = [];
  aging.lookAtMs = null;
  for (const [key, sinceMs] of aging.since) {
    if (sinceMs + ageMs > nowMs) {
      aging.lookAtMs = sinceMs + ageMs + slackMs;
      break;
    }
    if (old.length === countMax) {
      aging.lookAtMs = nowMs + pauseMs;
      break;
    }
    aging.since.delete(key);
    old.push(key);
  }
  return old;
}

/** Between two looks when more is due than may be taken at once. */
const pauseMs = 20;
