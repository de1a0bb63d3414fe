/**
 * Which node gets the next copy. In this order: constraints and capacity; the spread label's group with the fewest copies;
 * fewest copies of this instance per capacity; least load (sum of weights, and of what else runs there, per capacity); best evenness (Pielou's J')
 * of the component types on the node once it has the copy; the node's name. Pure, and the same for the same input.
 */
import { pielou } from './evenness.ts';

/** A node as placement sees it. `occupy` and `vacate` keep the figures up to date. */
export interface PlacementNode {
  readonly name: string;
  readonly capacity: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Sum of the weights of its copies. */
  weight: number;
  /** Processes beside the copies (a node manager, what an operator started): load, but not charged against the capacity. */
  readonly others: number;
  /** Copies by instance id. */
  readonly copies: Map<string, number>;
  /** Copies by package name. */
  readonly types: Map<string, number>;
}

export interface PlacementRequest {
  instanceId: string;
  packageName: string;
  weight: number;
  labels: Readonly<Record<string, string>>;
  spread: string | null;
  /** Ids of instances that must not be on the same node, in whichever direction it was said. */
  conflicts: ReadonlySet<string>;
}

export type PlacementOutcome = { node: PlacementNode } | { node: null; reason: string };

export function createPlacementNode(
  node: Pick<PlacementNode, 'name' | 'capacity' | 'labels'> & { others?: number },
): PlacementNode {
  return { others: 0, ...node, weight: 0, copies: new Map(), types: new Map() };
}

export function occupy(
  node: PlacementNode,
  copy: Pick<PlacementRequest, 'instanceId' | 'packageName' | 'weight'>,
): void {
  change(node, copy, 1);
}

export function vacate(
  node: PlacementNode,
  copy: Pick<PlacementRequest, 'instanceId' | 'packageName' | 'weight'>,
): void {
  change(node, copy, -1);
}

/** Why a node cannot take the copy, or null if it can. */
export function obstacle(request: PlacementRequest, node: PlacementNode): string | null {
  const missing = missingLabel(request.labels, node.labels);
  if (missing !== null) return missing;
  for (const other of request.conflicts) {
    if ((node.copies.get(other) ?? 0) > 0) return `runs ${other}, which must not share a node with it`;
  }
  if (node.weight + request.weight > node.capacity) {
    return `is full (${node.weight} of ${node.capacity} used, ${request.weight} needed)`;
  }
  return null;
}

/** A label of the constraint that the node does not have, in words; null if it has all. */
export function missingLabel(
  wanted: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
): string | null {
  for (const [label, value] of Object.entries(wanted)) {
    if (labels[label] !== value) return `has not the label ${label}=${value}`;
  }
  return null;
}

/**
 * Chooses among `nodes`.
 * @param unfit why a node is out of the question for this copy for now, or null
 */
export function place(
  request: PlacementRequest,
  nodes: readonly PlacementNode[],
  unfit: (node: PlacementNode) => string | null = () => null,
): PlacementOutcome {
  const obstacles: string[] = [];
  const candidates: PlacementNode[] = [];
  for (const node of nodes) {
    const reason = unfit(node) ?? obstacle(request, node);
    if (reason === null) candidates.push(node);
    else obstacles.push(`${node.name} ${reason}`);
  }
  if (candidates.length === 0) {
    const shown = obstacles.slice(0, 5).join('; ');
    const more = obstacles.length > 5 ? `; and ${obstacles.length - 5} more` : '';
    return {
      node: null,
      reason: nodes.length === 0 ? 'there is no node' : `no node takes it: ${shown}${more}`,
    };
  }
  const groups = groupCopies(request, candidates, nodes);
  return {
    node: candidates.reduce((best, node) => (compare(request, groups, node, best) < 0 ? node : best)),
  };
}

/** Copies of the instance by value of the spread label; null without a spread. */
function groupCopies(
  request: PlacementRequest,
  candidates: readonly PlacementNode[],
  nodes: readonly PlacementNode[],
): ReadonlyMap<string, number> | null {
  const { spread } = request;
  if (spread === null) return null;
  const groups = new Map(candidates.map(node => [node.labels[spread] ?? '', 0]));
  for (const node of nodes) {
    const group = node.labels[spread] ?? '';
    const count = groups.get(group);
    if (count !== undefined) groups.set(group, count + (node.copies.get(request.instanceId) ?? 0));
  }
  return groups;
}

/** Negative when `a` is the better place. The costly evenness is computed only for ties. */
function compare(
  request: PlacementRequest,
  groups: ReadonlyMap<string, number> | null,
  a: PlacementNode,
  b: PlacementNode,
): number {
  const { instanceId, spread } = request;
  if (groups && spread !== null) {
    const difference = groups.get(a.labels[spread] ?? '')! - groups.get(b.labels[spread] ?? '')!;
    if (difference !== 0) return difference;
  }
  return (
    (a.copies.get(instanceId) ?? 0) / a.capacity - (b.copies.get(instanceId) ?? 0) / b.capacity ||
    load(a) - load(b) ||
    evennessWith(b, request.packageName) - evennessWith(a, request.packageName) ||
    (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
  );
}

function load(node: PlacementNode): number {
  return (node.weight + node.others) / node.capacity;
}

function evennessWith(node: PlacementNode, packageName: string): number {
  const types = new Map(node.types);
  types.set(packageName, (types.get(packageName) ?? 0) + 1);
  return pielou(types.values());
}

function change(
  node: PlacementNode,
  copy: Pick<PlacementRequest, 'instanceId' | 'packageName' | 'weight'>,
  by: 1 | -1,
): void {
  node.weight += by * copy.weight;
  node.copies.set(copy.instanceId, (node.copies.get(copy.instanceId) ?? 0) + by);
  node.types.set(copy.packageName, (node.types.get(copy.packageName) ?? 0) + by);
}
