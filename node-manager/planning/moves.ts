/**
 * Which running copies go to another node so that all are even: the placement rule once more. A copy moves where placement would put it
 * now, were it not there yet, if that is strictly better in the order of the rule: the spread group with fewer copies, the node with fewer
 * copies of the instance per capacity, the node with less load. Every move lowers the same sum, so that no two of them ever undo each
 * other, and what is left when there are no more is as even as it can be. For equal weights and capacities the number of moves is the least
 * there is: each takes one from a node that has too many and gives it to one that has too few.
 *
 * Nothing moves while the cluster is busy with anything else, nor before some node is further from its share than the threshold; what was
 * begun then is finished. Pure but for the nodes' figures.
 */
import { createCrowding, type Crowding } from './crowding.ts';
import type { PlanNode } from './nodes.ts';
import { compareNodes, fits, type PlacementRequest } from './placement.ts';
import { order } from './slots.ts';

/** An instance of which copies may be moved now. */
export interface Movable {
  request: PlacementRequest;
  /** How many more may be on their way at once. */
  movesMax: number;
  /** Nodes from which a copy can be moved, with how many that are. */
  copiesOn: Map<string, number>;
  /** Whether the node is one for this instance. */
  takes(node: PlanNode): boolean;
  /** Whether a copy may be moved from there to there, as far as the rule is not concerned: packages, ports, failures. */
  allows(from: PlanNode, to: PlanNode): boolean;
}

export interface ChosenMove {
  instanceId: string;
  from: PlanNode;
  to: PlanNode;
}

/** So many pairs of nodes are looked at for one move, when the first ones have nothing to exchange. */
const pairsMax = 2_000;

/**
 * Chooses at most `movesLeft`, and counts them on the nodes.
 * @param nodes those that may get copies
 * @param all the cluster's: a spread group counts the copies on each of its nodes
 * @param threshold how far from its share a node may be, as a fraction of it
 */
export function chooseMoves(
  movable: readonly Movable[],
  nodes: readonly PlanNode[],
  all: readonly PlanNode[],
  { movesLeft, threshold }: { movesLeft: number; threshold: number },
): ChosenMove[] {
  const chosen: ChosenMove[] = [];
  for (const item of movable) {
    if (chosen.length >= movesLeft) return chosen;
    const eligible = nodes.filter(node => item.takes(node));
    if (!isUneven(eligible, node => node.copies.get(item.request.instanceId) ?? 0, threshold)) continue;
    const crowding = createCrowding(item.request, all);
    while (chosen.length < movesLeft && item.movesMax > 0) {
      const pair = bestPair(item, eligible, crowding);
      if (!pair) break;
      move(item, crowding, ...pair);
    }
  }
  if (isUneven(nodes, node => node.weight + node.others, threshold)) {
    while (chosen.length < movesLeft) {
      const found = nextByLoad(movable, nodes, all);
      if (!found) break;
      move(found.item, createCrowding(found.item.request, all), found.from, found.to);
    }
  }
  return chosen;

  function move(item: Movable, crowding: Crowding, from: PlanNode, to: PlanNode): void {
    crowding.vacate(from);
    crowding.occupy(to);
    item.movesMax--;
    const left = item.copiesOn.get(from.name)! - 1;
    if (left === 0) item.copiesOn.delete(from.name);
    else item.copiesOn.set(from.name, left);
    chosen.push({ instanceId: item.request.instanceId, from, to });
  }
}

/** Whether a node has more or less than its share by more than the threshold. One that has nothing of what there is always does. */
export function isUneven(
  nodes: readonly PlanNode[],
  amountOf: (node: PlanNode) => number,
  threshold: number,
): boolean {
  let total = 0;
  let capacity = 0;
  for (const node of nodes) {
    total += amountOf(node);
    capacity += node.capacity;
  }
  return nodes.some(node => {
    const share = (total * node.capacity) / capacity;
    const amount = amountOf(node);
    return Math.abs(amount - share) > threshold * share || (amount === 0 && share > 0);
  });
}

/** From the most crowded node to the best place, if copies of the instance are more even afterwards. */
function bestPair(
  { request, copiesOn, allows }: Movable,
  nodes: readonly PlanNode[],
  crowding: Crowding,
): [PlanNode, PlanNode] | null {
  const sources = nodes.filter(node => copiesOn.has(node.name));
  if (sources.length === 0) return null;
  // Only if the most crowded has something to give do the others matter.
  const gives = (from: PlanNode) => nodes.some(to => to !== from && crowding.gain(from, to) === 'copies');
  const leavesFirst = (a: PlanNode, b: PlanNode) => crowding.compare(a, b) || order(a.name, b.name);
  if (!gives(sources.reduce((first, node) => (leavesFirst(node, first) < 0 ? node : first)))) return null;
  for (const from of sources.sort(leavesFirst)) {
    let best: PlanNode | null = null;
    for (const to of nodes) {
      if (to === from || crowding.gain(from, to) !== 'copies') continue;
      if (best && (crowding.compareGroups(to, best) || compareNodes(request, to, best)) >= 0) continue;
      if (fits(request, to) && allows(from, to)) best = to;
    }
    if (best) return [from, best];
  }
  return null;
}

/** From the most loaded node to the least loaded, of whatever is as even afterwards as before. */
function nextByLoad(
  movable: readonly Movable[],
  nodes: readonly PlanNode[],
  all: readonly PlanNode[],
): { item: Movable; from: PlanNode; to: PlanNode } | null {
  const able = movable.filter(item => item.movesMax > 0);
  if (able.length === 0) return null;
  const load = (node: PlanNode) => (node.weight + node.others) / node.capacity;
  const byLoad = [...nodes].sort((a, b) => load(b) - load(a) || order(a.name, b.name));
  const crowdings = new Map<Movable, Crowding>();
  let pairs = 0;
  for (const from of byLoad) {
    for (let index = byLoad.length - 1; index >= 0; index--) {
      const to = byLoad[index]!;
      if (load(to) >= load(from)) break;
      if (++pairs > pairsMax) return null;
      let best: Movable | null = null;
      for (const item of able) {
        if (!item.copiesOn.has(from.name) || !fits(item.request, to)) continue;
        let crowding = crowdings.get(item);
        if (!crowding) crowdings.set(item, (crowding = createCrowding(item.request, all)));
        if (crowding.gain(from, to) !== 'load' || !item.allows(from, to)) continue;
        if (!best || item.request.weight > best.request.weight) best = item;
      }
      if (best) return { item: best, from, to };
    }
  }
  return null;
}
