/** The checker: a history and what the registers hold in the end, in; what did not hold, out. Pure. */
import { checkFailures, checkServedAgain } from './check-availability.ts';
import { checkList } from './check-lists.ts';
import { checkOwners } from './check-owners.ts';
import { byKey, type Content, type History, type Violation } from './history.ts';

export interface CheckOptions {
  /** How long a key may be without service when a fault is over. */
  servedWithinMs: number;
  /** Whether a request that failed needs a fault that excuses it. */
  judgeFailures: boolean;
}

/** @param contents of every register, also of those that nobody asked for */
export function check(
  history: History,
  contents: ReadonlyMap<string, Content>,
  { servedWithinMs, judgeFailures }: CheckOptions,
): Violation[] {
  const operations = byKey(history.operations);
  const violations: Violation[] = [];
  for (const [key, content] of contents) {
    const own = operations.get(key) ?? [];
    violations.push(...checkList(key, content.entries, own), ...checkOwners(key, content, own));
  }
  const keys = [...contents.keys()];
  return [
    ...violations,
    ...(judgeFailures ? checkFailures(history) : []),
    ...checkServedAgain(history, { keys, boundMs: servedWithinMs }),
  ];
}
