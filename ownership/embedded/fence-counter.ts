/**
 * The one counter of all fences of the cluster, in memory; the store writes it in the same transaction as what the
 * fences were given for. Never goes back within an incarnation; across them see `leases/embedded/incarnation.ts`.
 */
import { HoldfastError, type Fence } from '#core';

/** Above this a reported fence is nonsense; it leaves room for as many again below 2^63. */
const fenceReportedMax = 2n ** 62n;

export interface FenceCounter {
  next(): Fence;
  /** @throws HoldfastError HF_REQUEST_INVALID when `above` is beyond anything that could have been given out */
  above(fence: Fence): Fence;
  readonly last: bigint;
}

export function createFenceCounter(last: bigint): FenceCounter {
  let counter = last;
  return {
    next: () => ++counter as Fence,
    above(fence) {
      if (fence > fenceReportedMax) {
        throw new HoldfastError('HF_REQUEST_INVALID', 'no fence can be that high', {
          details: { fence: fence.toString() },
        });
      }
      if (fence > counter) counter = fence;
      return ++counter as Fence;
    },
    get last() {
      return counter;
    },
  };
}
