/**
 * Which slots go when fewer copies are wanted: first those on nodes that do not answer, those that do not serve, and those that have
 * to leave their node anyway; among equals where it is most crowded, there the highest slot. So what remains is as even as what was
 * there allows. Pure but for the nodes' figures.
 */
import type { Copy } from './copies.ts';
import { createCrowding } from './crowding.ts';
import type { PlanNodes } from './nodes.ts';
import type { PlacementRequest } from './placement.ts';
import { order, type Holders } from './slots.ts';

/** The nodes' figures must count the best copy of each slot. */
export function scaleDown(made: Holders, nodes: PlanNodes, request: PlacementRequest): void {
  const { instances } = made.instance.settings;
  let excess = instances === 'perNode' ? 0 : made.wanted.length - instances;
  if (excess <= 0) return;
  const crowding = createCrowding(request, nodes.all);
  const gone = new Set<string>();
  for (const slots of inClasses(made, nodes)) {
    const byNode = new Map<string, string[]>();
    for (const slot of slots) {
      const { node } = made.holders.get(slot)![0]!;
      const there = byNode.get(node);
      if (there) there.push(slot);
      else byNode.set(node, [slot]);
    }
    for (; excess > 0 && byNode.size > 0; excess--) {
      const name = [...byNode.keys()].reduce((first, other) => (leaves(other, first) ? other : first));
      const there = byNode.get(name)!;
      gone.add(there.pop()!);
      if (there.length === 0) byNode.delete(name);
      const node = nodes.byName.get(name);
      if (node) crowding.vacate(node);
    }
  }
  for (const slot of made.wanted.filter(name => gone.has(name)).reverse()) {
    for (const copy of made.holders.get(slot)!) {
      made.surplus.push({ copy, reason: `${instances} copies are wanted` });
    }
    made.holders.delete(slot);
  }
  made.wanted = made.wanted.filter(slot => !gone.has(slot));

  function leaves(a: string, b: string): boolean {
    const [nodeA, nodeB] = [nodes.byName.get(a), nodes.byName.get(b)];
    return (nodeA && nodeB ? crowding.compare(nodeA, nodeB) || order(a, b) : order(a, b)) < 0;
  }
}

/** Slots that have copies, those that go first in the first class. */
function inClasses(made: Holders, nodes: PlanNodes): string[][] {
  const classes = new Map<number, string[]>();
  for (const slot of made.wanted) {
    const copy = made.holders.get(slot)?.[0];
    if (!copy) continue;
    const key = classOf(copy);
    const present = classes.get(key);
    if (present) present.push(slot);
    else classes.set(key, [slot]);
  }
  return [...classes].sort(([a], [b]) => a - b).map(([, slots]) => slots);

  function classOf(copy: Copy): number {
    const stays = nodes.byName.has(copy.node) && !nodes.departures.has(copy.node);
    return 4 * Number(copy.reachable) + 2 * Number(copy.condition === 'healthy') + Number(stays);
  }
}
