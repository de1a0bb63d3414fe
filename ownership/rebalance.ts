/**
 * Which keys' worth of load should move between the hosts of a pool. Pure: counts in, counts out; which keys they are is the
 * source's choice (longest idle first), and each move is a handoff.
 *
 * The goal is the allocation in whole keys that lies nearest to the shares by capacity (largest remainder), and among all such
 * allocations one that is reached by the fewest moves: what is left over after the whole parts goes to hosts that would otherwise
 * have to give it away. As each move takes one key from a host above its goal to one below, the sum of all surpluses is both
 * what is moved and the least that could be.
 */

/** What rebalancing looks at; a `Session` of #core is one. */
export interface Shareholder {
  readonly sessionId: string;
  readonly ownsResources: boolean;
  readonly draining: boolean;
  readonly ready: boolean;
  /** Relative share of keys, at least 1. */
  readonly capacity: number;
  readonly keys: number;
}

export interface RebalanceRule {
  /**
   * How far a host's keys may be from its share, as a fraction of the share, before anything moves. One key does not matter,
   * unless a host has none at all.
   */
  readonly threshold: number;
  /** Moves that may be planned now. */
  readonly budget: number;
}

export interface KeyMove {
  readonly from: string;
  readonly to: string;
  readonly count: number;
}

/**
 * Moves that bring every host to its share, or as near as the budget allows, fullest to emptiest first. Empty while all hosts are
 * within the threshold. Hosts that are draining or not ready neither give (they hand over by themselves) nor take.
 */
export function planKeyMoves(holders: Iterable<Shareholder>, rule: RebalanceRule): KeyMove[] {
  const able = [...holders].filter(one => one.ownsResources && one.ready && !one.draining);
  const goals = shareOut(able);
  const surplus = (one: Shareholder) => one.keys - goals.get(one.sessionId)!;
  const uneven = able.some(one => {
    const goal = goals.get(one.sessionId)!;
    const off = Math.abs(one.keys - goal);
    return (off > 1 && off > goal * rule.threshold) || (one.keys === 0 && goal > 0);
  });
  if (!uneven) return [];
  const givers = able.filter(one => surplus(one) > 0).sort((a, b) => surplus(b) - surplus(a) || byId(a, b));
  const takers = able.filter(one => surplus(one) < 0).sort((a, b) => surplus(a) - surplus(b) || byId(a, b));
  const moves: KeyMove[] = [];
  let budget = Math.floor(rule.budget);
  let taker = 0;
  let room = takers[0] ? -surplus(takers[0]) : 0;
  for (const giver of givers) {
    let left = surplus(giver);
    while (left > 0 && budget > 0 && taker < takers.length) {
      const count = Math.min(left, room, budget);
      moves.push({ from: giver.sessionId, to: takers[taker]!.sessionId, count });
      left -= count;
      budget -= count;
      room -= count;
      if (room === 0 && ++taker < takers.length) room = -surplus(takers[taker]!);
    }
  }
  return moves;
}

/** How many keys each should have: whole numbers, by capacity, that add up to what there is. */
function shareOut(holders: readonly Shareholder[]): Map<string, number> {
  const keys = holders.reduce((sum, one) => sum + one.keys, 0);
  const capacity = holders.reduce((sum, one) => sum + one.capacity, 0);
  const shares = holders.map(one => {
    const exact = (keys * one.capacity) / capacity;
    return { one, whole: Math.floor(exact), rest: exact - Math.floor(exact) };
  });
  const over = keys - shares.reduce((sum, { whole }) => sum + whole, 0);
  // Equal remainders: first to those that have the key already, so that it need not move.
  const byRest = shares.toSorted(
    (a, b) => differs(b.rest, a.rest) || b.one.keys - b.whole - (a.one.keys - a.whole) || byId(a.one, b.one),
  );
  return new Map(byRest.map(({ one, whole }, index) => [one.sessionId, whole + (index < over ? 1 : 0)]));
}

/** Rounding must not decide between shares that are equal. */
function differs(a: number, b: number): number {
  return Math.abs(a - b) < 1e-9 ? 0 : a - b;
}

function byId(a: Shareholder, b: Shareholder): number {
  return a.sessionId < b.sessionId ? -1 : 1;
}
