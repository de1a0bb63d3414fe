/**
 * How even a cluster could be: no placement that is fair to every node has a higher mean of the nodes' evenness (Pielou's J').
 *
 * Fair: every node has its share of the copies of each kind, and of all copies together, rounded up or down. The best of those is
 * a problem over all nodes at once; this is its Lagrangian dual. Each kind of component gets a price; every node by itself takes what pays best
 * for it, and the prices pay for taking more or less than there is. Any prices give a bound, a few steps bring them near the lowest.
 * Nodes of the same shares are one class, so the number of nodes costs nothing. Pure; the same for the same input.
 */

/** Nodes with the same shares. */
export interface NodeClass {
  nodes: number;
  /** Copies of each kind that a node should have: fractions most of the time. */
  shares: ReadonlyMap<string, number>;
}

/** @param supply how many there are of each kind, on all nodes together */
export function bestEvenness(classes: readonly NodeClass[], supply: ReadonlyMap<string, number>): number {
  const nodes = classes.reduce((sum, { nodes: count }) => sum + count, 0);
  if (nodes === 0) return 1;
  const problems = classes.map(prepare);
  const prices = firstPrices(problems);
  let best = Infinity;
  const scale = meanSize(prices);
  const steps = stepsFor(problems);
  for (let step = 0; step < steps; step++) {
    const excess = new Map([...supply].map(([kind, count]) => [kind, -count / nodes]));
    let bound = 0;
    for (const [kind, count] of supply) bound += ((prices.get(kind) ?? 0) * count) / nodes;
    for (const problem of problems) {
      const share = problem.nodes / nodes;
      const { value, taken } = solve(problem, prices);
      bound += share * value;
      for (const [kind, count] of taken) excess.set(kind, (excess.get(kind) ?? 0) + share * count);
    }
    best = Math.min(best, bound);
    const length = Math.hypot(...excess.values());
    if (length < 1e-12) break; // what the nodes take is what there is: the bound is attained
    const by = (scale * Math.sqrt(prices.size)) / (2 + step) / length;
    for (const [kind, difference] of excess) prices.set(kind, (prices.get(kind) ?? 0) + by * difference);
  }
  return Math.min(1, best);
}

/** One more copy of a kind that a node may have. */
interface Option {
  kind: string;
  /** By how much it raises Σ c ln c. */
  rise: number;
}

interface Problem {
  nodes: number;
  least: ReadonlyMap<string, number>;
  /** Copies, kinds and Σ c ln c when it has the least of everything. */
  base: { copies: number; kinds: number; sum: number };
  /** Copies in all: the share rounded down and up. */
  totals: number[];
  /** Kinds that it may lack. */
  optional: Option[];
  /** One more of kinds that it has. */
  more: Option[];
}

function prepare({ nodes, shares }: NodeClass): Problem {
  const least = new Map<string, number>();
  const base = { copies: 0, kinds: 0, sum: 0 };
  const optional: Option[] = [];
  const more: Option[] = [];
  let total = 0;
  for (const [kind, share] of shares) {
    const count = roundedDown(share);
    total += share;
    least.set(kind, count);
    base.copies += count;
    base.sum += xlnx(count);
    if (count > 0) base.kinds++;
    if (roundedUp(share) === count) continue;
    if (count === 0) optional.push({ kind, rise: 0 });
    else more.push({ kind, rise: xlnx(count + 1) - xlnx(count) });
  }
  return { nodes, least, base, totals: [...new Set([roundedDown(total), roundedUp(total)])], optional, more };
}

/**
 * What a node takes at these prices: the highest of its evenness less what it pays, over all that it may have. For a number of copies and of
 * kinds the evenness is linear in Σ c ln c, so the cheapest options are the best ones.
 */
function solve(
  { least, base, totals, optional, more }: Problem,
  prices: ReadonlyMap<string, number>,
): { value: number; taken: Map<string, number> } {
  const priceOf = (kind: string) => prices.get(kind) ?? 0;
  let paid = 0;
  for (const [kind, count] of least) paid += priceOf(kind) * count;
  const byPrice = [...optional].sort((a, b) => priceOf(a.kind) - priceOf(b.kind));
  let best = { value: -Infinity, options: [] as Option[] };
  for (const total of totals) {
    const extra = total - base.copies;
    for (let kinds = Math.max(0, extra - more.length); kinds <= Math.min(extra, byPrice.length); kinds++) {
      const present = base.kinds + kinds;
      // J' = (ln n - Σ c ln c / n) / ln S
      const weight = present < 2 ? 0 : 1 / (total * Math.log(present));
      const cost = ({ kind, rise }: Option) => weight * rise + priceOf(kind);
      const ranked = [...more].sort((a, b) => cost(a) - cost(b)).slice(0, extra - kinds);
      const options = [...byPrice.slice(0, kinds), ...ranked];
      const evenness = present < 2 ? 1 : weight * (total * Math.log(total) - base.sum);
      const value = options.reduce((sum, option) => sum - cost(option), evenness - paid);
      if (value > best.value) best = { value, options };
    }
  }
  const taken = new Map(least);
  for (const { kind } of best.options) taken.set(kind, taken.get(kind)! + 1);
  return { value: best.value, taken };
}

/** What one more of a kind is worth to the nodes that may have it, about. */
function firstPrices(problems: readonly Problem[]): Map<string, number> {
  const sums = new Map<string, { value: number; nodes: number }>();
  for (const { nodes, base, totals, optional, more } of problems) {
    const total = Math.max(1, ...totals);
    const kinds = base.kinds + optional.length / 2;
    const weight = kinds < 2 ? 0 : 1 / (total * Math.log(kinds));
    for (const { kind, rise } of [...optional, ...more]) {
      const sum = sums.get(kind) ?? { value: 0, nodes: 0 };
      sums.set(kind, { value: sum.value - nodes * weight * rise, nodes: sum.nodes + nodes });
    }
  }
  return new Map([...sums].map(([kind, { value, nodes }]) => [kind, value / nodes]));
}

function meanSize(prices: ReadonlyMap<string, number>): number {
  const sizes = [...prices.values()].map(Math.abs);
  return sizes.reduce((sum, size) => sum + size, 0) / Math.max(1, sizes.length) || 0.05;
}

/** Fewer where each costs more: the time stays about the same. */
function stepsFor(problems: readonly Problem[]): number {
  const work = problems.reduce(
    (sum, { optional, more }) => sum + (optional.length + 1) * (optional.length + more.length + 1),
    0,
  );
  return Math.max(3, Math.min(stepsMax, Math.round(workMax / work)));
}

const stepsMax = 200;
const workMax = 400_000;

function xlnx(count: number): number {
  return count < 2 ? 0 : count * Math.log(count);
}

/** A share that is whole but for rounding is whole. */
function roundedDown(share: number): number {
  return Math.floor(share + 1e-9);
}

function roundedUp(share: number): number {
  return Math.ceil(share - 1e-9);
}
