/**
 * I2 and I4: what was acknowledged stays, and the history of each key is linearizable. Pure.
 *
 * The check is exact. Elements are unique and a list only grows, so its final content *is* the order of the appends that took
 * effect, and a read of length n can only stand between append n and append n + 1. That gives every operation a rank: 2p − 1 for the append
 * at position p, 2n for a read of length n. A linearization exists if and only if no operation that had ended before another
 * began has a higher rank: a cycle between "had ended before" and "has a lower rank" needs such a pair, since operations of equal
 * rank (reads that saw the same) are ordered by time alone, which has no cycles.
 *
 * An append with unknown outcome may take effect at any time after it was sent, or never: if it is in the list it counts as one that never
 * ended. One that failed must not be there, nor have been seen.
 */
import { at, eachAfter, type Entry, type Operation, type Violation } from './history.ts';

export function checkList(
  key: string,
  entries: readonly Entry[],
  operations: readonly Operation[],
): Violation[] {
  const violations: Violation[] = [];
  const report = (invariant: 'I2 acknowledged appends stay' | 'I4 linearizable', message: string) =>
    void violations.push({ invariant, key, message });
  const list = entries.map(entry => entry.element);
  const appends = operations.filter(operation => operation.kind === 'append');
  const outcomes = new Map(appends.map(append => [append.element!, append]));
  const positions = new Map<string, number>();

  for (const [index, element] of list.entries()) {
    const before = positions.get(element);
    if (before !== undefined) {
      report(
        'I2 acknowledged appends stay',
        `${element} was applied twice, as ${before} and as ${index + 1}`,
      );
    } else positions.set(element, index + 1);
    if (!outcomes.has(element)) report('I2 acknowledged appends stay', `${element} was never sent`);
  }
  for (const append of appends) {
    const position = positions.get(append.element!);
    if (append.outcome === 'ok' && position === undefined) {
      report('I2 acknowledged appends stay', `${append.element}, acknowledged ${at(append)}, is lost`);
    } else if (append.outcome === 'ok' && append.position !== null && append.position !== position) {
      report(
        'I2 acknowledged appends stay',
        `${append.element} is at ${position}, acknowledged as ${append.position}`,
      );
    } else if (append.outcome === 'failed' && position !== undefined) {
      report(
        'I2 acknowledged appends stay',
        `${append.element}, reported ${at(append)} as not executed, was applied`,
      );
    }
  }

  const ranked: { startMs: number; endMs: number; rank: number; words: string }[] = [];
  for (const operation of operations) {
    const { kind, outcome, element, seen } = operation;
    if (kind === 'append') {
      const position = positions.get(element!);
      if (position === undefined || outcome === 'failed') continue;
      const endMs = outcome === 'ok' ? operation.endMs : Infinity;
      const words = `the append of ${element} ${at(operation)} (position ${position})`;
      ranked.push({ startMs: operation.startMs, endMs, rank: 2 * position - 1, words });
    } else if (seen) {
      const difference = differs(list, seen);
      const words = `the read ${at(operation)} (length ${seen.length})`;
      if (difference !== null) report('I4 linearizable', `${words} ${difference}`);
      else ranked.push({ ...operation, rank: 2 * seen.length, words });
    }
  }
  eachAfter(
    ranked,
    one => one.rank,
    (one, before) => {
      if (one.rank < before.rank)
        report('I4 linearizable', `${one.words} has not seen ${before.words}, which had ended before`);
    },
  );
  return violations;
}

/** Why it is not the beginning of the list, or null. */
function differs(
  list: readonly string[],
  { length, tail }: { length: number; tail: readonly string[] },
): string | null {
  const first = length - tail.length;
  for (const [offset, element] of tail.entries()) {
    const stored = list[first + offset];
    if (stored === element) continue;
    return `saw ${element} at ${first + offset + 1}, where ${stored ?? 'nothing'} is in the end`;
  }
  return length > list.length ? `saw more than the ${list.length} elements that are there in the end` : null;
}
