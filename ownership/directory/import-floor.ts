/**
 * Above which fence a directory goes on that takes over what another one knew. Pure.
 *
 * The other may have gone on giving out fences after it was exported, and nobody can tell how many. Two bounds cover them:
 * - Its counter stays below the nanoseconds since 1970 (`leases/embedded/incarnation.ts`; on Redis it begins there, and grows by far less than one
 *   a nanosecond), so it is below the nanoseconds of the time at which it is imported, unless a clock was set back.
 * - A resource that came from elsewhere can have lifted it beyond (`raiseFence`). Then the record of that key says how far, and `FURTHER` is more
 *   than is given out in a life of a cluster.
 */
import type { Fence, KeyRecord } from '#core';

const FURTHER = 1_000_000_000_000n;

export function importFloor(records: readonly KeyRecord[], epoch: Fence): Fence {
  const highest = records.reduce((most, { fence }) => (fence > most ? fence : most), 0n);
  return (highest + FURTHER > epoch ? highest + FURTHER : epoch) as Fence;
}
