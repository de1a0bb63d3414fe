/**
 * Who holds a lease: the whole rule, as one pure function that every adapter executes inside an atomic step of its
 * store (or mirrors in the store's own language).
 *
 * - A lease is live while `nowMs < expiresAtMs`. An ended one is as good as none: it is never revived, also not by
 *   its last holder, because somebody may have looked in between and have acted on its absence.
 * - Every new holding takes the next fence; extending keeps it.
 * - Extending never shortens: another part of the same holder may still count on the longer time.
 */
import type { Fence } from '#core';

export interface LeaseRecord {
  readonly holder: string;
  readonly fence: Fence;
  /** On the store's clock. */
  readonly expiresAtMs: number;
}

export type LeaseRequest =
  | { readonly type: 'acquire'; readonly holder: string; readonly ttlMs: number }
  | { readonly type: 'renew'; readonly holder: string; readonly fence: bigint; readonly ttlMs: number }
  | { readonly type: 'release'; readonly holder: string; readonly fence: bigint };

export type LeaseDecision =
  /** Nobody held it: write a record with the next fence. */
  | { readonly type: 'grant'; readonly expiresAtMs: number }
  /** The asker holds it: write the record again with this end. */
  | { readonly type: 'extend'; readonly record: LeaseRecord }
  /** Remove the record. */
  | { readonly type: 'end' }
  /** Change nothing; `current` is the live lease of somebody (or of an older or newer holding), if there is one. */
  | { readonly type: 'refuse'; readonly current: LeaseRecord | null };

export function decideLease(record: LeaseRecord | null, request: LeaseRequest, nowMs: number): LeaseDecision {
  const live = record !== null && nowMs < record.expiresAtMs ? record : null;
  if (request.type === 'acquire') {
    if (!live) return { type: 'grant', expiresAtMs: nowMs + request.ttlMs };
    if (live.holder !== request.holder) return { type: 'refuse', current: live };
    return extend(live, nowMs + request.ttlMs);
  }
  if (!live || live.holder !== request.holder || live.fence !== request.fence) {
    return { type: 'refuse', current: live };
  }
  return request.type === 'release' ? { type: 'end' } : extend(live, nowMs + request.ttlMs);
}

function extend(record: LeaseRecord, untilMs: number): LeaseDecision {
  return { type: 'extend', record: { ...record, expiresAtMs: Math.max(record.expiresAtMs, untilMs) } };
}
