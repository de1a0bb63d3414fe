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
  /** Every fence from now on is above this one. @throws as `above` */
  seen(fence: Fence): void;
  readonly last: bigint;
}

/** @throws HoldfastError HF_REQUEST_INVALID when it is beyond anything that could have been given out */
export function checkReportedFence(fence: Fence): void {
  if (fence <= fenceReportedMax) return;
  throw new HoldfastError('HF_REQUEST_INVALID', 'no fence can be that high', {
    details: { fence: fence.toString() },
  });
}

export function createFenceCounter(last: bigint): FenceCounter {
  let counter = last;
  function seen(fence: Fence): void {
    checkReportedFence(fence);
    if (fence > counter) counter = fence;
  }
  return {
    next: () => ++counter as Fence,
    above(fence) {
      seen(fence);
      return ++counter as Fence;
    },
    seen,
    get last() {
      return counter;
    },
  };
}
