/** When to try again: pure. What passes by itself soon, then less and less often; what somebody has to mend seldom, and regularly. */
import { ReplicationProblem } from './problem.ts';

const passing = { firstMs: 100, maxMs: 5_000 };
const problemMs = 2_000;

/** @param failures how many came one after the other without anything being applied, this one included */
export function retryDelayMs(error: unknown, failures: number): number {
  if (error instanceof ReplicationProblem) return problemMs;
  return Math.min(passing.maxMs, passing.firstMs * 2 ** Math.min(failures - 1, 10));
}
