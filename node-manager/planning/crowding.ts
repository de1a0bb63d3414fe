/**
 * Where copies of an instance leave first: the placement rule read backwards. A copy leaves the node on which placement would put it
 * last: from the spread group with the most copies, there from the node with the most others of the instance per capacity, then from the most
 * loaded one. Pure but for the nodes' figures.
 */
import { groupOf, occupy, vacate, type PlacementNode, type PlacementRequest } from './placement.ts';

export interface Crowding {
  /** Negative when a copy leaves `a` first. Both have one. */
  compare(a: PlacementNode, b: PlacementNode): number;
  /** Negative when the spread group of `a` has fewer copies. */
  compareGroups(a: PlacementNode, b: PlacementNode): number;
  /** What becomes more even when a copy goes from one node to another that has it not yet; null: nothing does. */
  gain(from: PlacementNode, to: PlacementNode): 'copies' | 'load' | null;
  /** A copy is counted there, or is not any more. */
  occupy(node: PlacementNode): void;
  vacate(node: PlacementNode): void;
}

/** @param nodes all of the cluster: a spread group counts the copies on each of its nodes */
export function createCrowding(request: PlacementRequest, nodes: readonly PlacementNode[]): Crowding {
  const { instanceId, spread, weight } = request;
  const groups = new Map<string, number>();
  const nameOf = (node: PlacementNode) => groupOf(node, spread!);
  const inGroup = (node: PlacementNode) => (spread === null ? 0 : groups.get(nameOf(node))!);
  const copies = (node: PlacementNode) => node.copies.get(instanceId) ?? 0;
  /** Half of the copy's own weight: so that one that goes back and forth is never worth it both times. */
  const load = (node: PlacementNode, own: number) =>
    (node.weight + node.others + own * weight) / node.capacity;
  function count(node: PlacementNode, by: number): void {
    if (spread !== null) groups.set(nameOf(node), (groups.get(nameOf(node)) ?? 0) + by);
  }
  for (const node of nodes) count(node, copies(node));

  return {
    compare: (a, b) =>
      inGroup(b) - inGroup(a) ||
      (copies(b) - 1) / b.capacity - (copies(a) - 1) / a.capacity ||
      load(b, -0.5) - load(a, -0.5),
    compareGroups: (a, b) => inGroup(a) - inGroup(b),
    gain(from, to) {
      if (spread !== null && nameOf(from) !== nameOf(to)) {
        const difference = inGroup(from) - 1 - inGroup(to);
        if (difference !== 0) return difference > 0 ? 'copies' : null;
      }
      const difference = (copies(from) - 1) / from.capacity - copies(to) / to.capacity;
      if (difference !== 0) return difference > 0 ? 'copies' : null;
      return load(from, -0.5) > load(to, 0.5) ? 'load' : null;
    },
    occupy(node) {
      occupy(node, request);
      count(node, 1);
    },
    vacate(node) {
      vacate(node, request);
      count(node, -1);
    },
  };
}
