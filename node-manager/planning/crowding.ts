/**
 * Where copies of an instance leave first: the placement rule read backwards. From the spread group with the most copies, there
 * from the node with the most per capacity, then from the most loaded one. Pure but for the nodes' figures.
 */
import {
  groupOf,
  loadOf,
  occupy,
  shareOf,
  vacate,
  type PlacementNode,
  type PlacementRequest,
} from './placement.ts';

export interface Crowding {
  /** Negative when a copy leaves `a` first. */
  compare(a: PlacementNode, b: PlacementNode): number;
  /** A copy is counted there, or is not any more. */
  occupy(node: PlacementNode): void;
  vacate(node: PlacementNode): void;
}

/** @param nodes all of the cluster: a spread group counts the copies on each of its nodes */
export function createCrowding(request: PlacementRequest, nodes: readonly PlacementNode[]): Crowding {
  const { instanceId, spread } = request;
  const groups = new Map<string, number>();
  const nameOf = (node: PlacementNode) => (spread === null ? '' : groupOf(node, spread));
  const count = (node: PlacementNode, by: number) =>
    groups.set(nameOf(node), (groups.get(nameOf(node)) ?? 0) + by);
  if (spread !== null) for (const node of nodes) count(node, node.copies.get(instanceId) ?? 0);

  return {
    compare: (a, b) =>
      (spread === null ? 0 : groups.get(nameOf(b))! - groups.get(nameOf(a))!) ||
      shareOf(b, instanceId) - shareOf(a, instanceId) ||
      loadOf(b) - loadOf(a),
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
