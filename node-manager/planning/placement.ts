/**
 * Which node gets the next copy. In this order: constraints and capacity; the spread label's group with the fewest copies;
 * fewest copies of this instance per capacity; least load (sum of weights, and of what else runs there, per capacity); best evenness (Pielou's J')
 * of the component types on the node once it has the copy; the node's name. Pure, and the same for the same input. Many copies at
 * once: `ranking.ts`.
 */

/** A node as placement sees it. `occupy`, `vacate` and `leave` keep the figures up to date. */
export interface PlacementNode {
  readonly name: string;
  readonly capacity: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Sum of the weights of its copies. */
  weight: number;
  /** Weight of copies that are to go and still run: they take room, but do not count when nodes are compared. */
  leavingWeight: number;
  /** Processes beside the copies (a node manager, what an operator started): load, but not charged against the capacity. */
  readonly others: number;
  /** Copies by instance id. */
  readonly copies: Map<string, number>;
  /** Those that are to go and still run, by instance id. */
  readonly leaving: Map<string, number>;
  /** Copies by package name. */
  readonly types: Map<string, number>;
  /** What evenness is made of: kinds that occur, how many copies in all, and Σ c ln c. Null: to be counted again. */
  variety: { kinds: number; total: number; sum: number } | null;
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

export type PlacedCopy = Pick<PlacementRequest, 'instanceId' | 'packageName' | 'weight'>;

export type PlacementOutcome<Node extends PlacementNode = PlacementNode> =
  { node: Node } | { node: null; reason: string };

export function createPlacementNode(
  node: Pick<PlacementNode, 'name' | 'capacity' | 'labels'> & { others?: number },
): PlacementNode {
  return {
    others: 0,
    ...node,
    weight: 0,
    leavingWeight: 0,
    copies: new Map(),
    leaving: new Map(),
    types: new Map(),
    variety: null,
  };
}

/** A copy runs there, or shall. */
export function occupy(node: PlacementNode, copy: PlacedCopy): void {
  change(node, copy, 1);
}

/** It is gone. */
export function vacate(node: PlacementNode, copy: PlacedCopy): void {
  change(node, copy, -1);
}

/** A copy that does not count there (any more) takes room all the same, until it is gone (`by` -1). */
export function leave(node: PlacementNode, copy: PlacedCopy, by: 1 | -1 = 1): void {
  node.leavingWeight += by * copy.weight;
  node.leaving.set(copy.instanceId, (node.leaving.get(copy.instanceId) ?? 0) + by);
}

/** Why a node cannot take the copy, or null if it can. */
export function obstacle(request: PlacementRequest, node: PlacementNode): string | null {
  const missing = missingLabel(request.labels, node.labels);
  if (missing !== null) return missing;
  const enemy = enemyOn(request, node);
  if (enemy !== null) return `runs ${enemy}, which must not share a node with it`;
  const used = node.weight + node.leavingWeight;
  if (used + request.weight > node.capacity) {
    return `is full (${used} of ${node.capacity} used, ${request.weight} needed)`;
  }
  return null;
}

/** Whether there is no obstacle; makes no words. */
export function fits(request: PlacementRequest, node: PlacementNode): boolean {
  return (
    node.weight + node.leavingWeight + request.weight <= node.capacity &&
    enemyOn(request, node) === null &&
    missingLabel(request.labels, node.labels) === null
  );
}

function enemyOn(request: PlacementRequest, node: PlacementNode): string | null {
  for (const other of request.conflicts) {
    if ((node.copies.get(other) ?? 0) + (node.leaving.get(other) ?? 0) > 0) return other;
  }
  return null;
}

/** A label of the constraint that the node does not have, in words; null if it has all. */
export function missingLabel(
  wanted: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
): string | null {
  for (const label in wanted) {
    if (labels[label] !== wanted[label]) return `has not the label ${label}=${wanted[label]}`;
  }
  return null;
}

/**
 * Chooses among `nodes`.
 * @param unfit why a node is out of the question for this copy for now, or null
 */
export function place<Node extends PlacementNode>(
  request: PlacementRequest,
  nodes: readonly Node[],
  unfit: (node: Node) => string | null = () => null,
): PlacementOutcome<Node> {
  const candidates = nodes.filter(node => fits(request, node) && unfit(node) === null);
  if (candidates.length === 0) return { node: null, reason: whyNowhere(request, nodes, unfit) };
  const groups = groupCopies(request, candidates, nodes);
  return {
    node: candidates.reduce((best, node) => (compare(request, groups, node, best) < 0 ? node : best)),
  };
}

/** What keeps each node from taking the copy, the first few of them. */
export function whyNowhere<Node extends PlacementNode>(
  request: PlacementRequest,
  nodes: readonly Node[],
  unfit: (node: Node) => string | null,
): string {
  if (nodes.length === 0) return 'there is no node';
  const shown = nodes
    .slice(0, obstaclesShown)
    .map(node => `${node.name} ${unfit(node) ?? obstacle(request, node) ?? 'could take it'}`);
  const more = nodes.length > obstaclesShown ? `; and ${nodes.length - obstaclesShown} more` : '';
  return `no node takes it: ${shown.join('; ')}${more}`;
}

const obstaclesShown = 5;

/** Copies of the instance by value of the spread label, for the values that candidates have; null without a spread. */
export function groupCopies(
  request: Pick<PlacementRequest, 'spread' | 'instanceId'>,
  candidates: readonly PlacementNode[],
  nodes: readonly PlacementNode[],
): Map<string, number> | null {
  const { spread } = request;
  if (spread === null) return null;
  const groups = new Map(candidates.map(node => [groupOf(node, spread), 0]));
  for (const node of nodes) {
    const group = groupOf(node, spread);
    const count = groups.get(group);
    if (count !== undefined) groups.set(group, count + (node.copies.get(request.instanceId) ?? 0));
  }
  return groups;
}

/** Nodes without the label are a group of their own. */
export function groupOf(node: PlacementNode, spread: string): string {
  return node.labels[spread] ?? '';
}

/** Negative when `a` is the better place. */
function compare(
  request: PlacementRequest,
  groups: ReadonlyMap<string, number> | null,
  a: PlacementNode,
  b: PlacementNode,
): number {
  if (groups && request.spread !== null) {
    const difference = groups.get(groupOf(a, request.spread))! - groups.get(groupOf(b, request.spread))!;
    if (difference !== 0) return difference;
  }
  return compareNodes(request, a, b);
}

/** The same without the spread. */
export function compareNodes(
  { instanceId, packageName }: Pick<PlacementRequest, 'instanceId' | 'packageName'>,
  a: PlacementNode,
  b: PlacementNode,
): number {
  return (
    shareOf(a, instanceId) - shareOf(b, instanceId) ||
    loadOf(a) - loadOf(b) ||
    evennessWith(b, packageName) - evennessWith(a, packageName) ||
    (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
  );
}

/** Copies of the instance per capacity. */
export function shareOf(node: PlacementNode, instanceId: string): number {
  return (node.copies.get(instanceId) ?? 0) / node.capacity;
}

export function loadOf(node: PlacementNode): number {
  return (node.weight + node.others) / node.capacity;
}

/**
 * Pielou's J' of the node's component types once it has one more of this. Rounded, because the sum that it is made from depends
 * in its last digits on the order in which copies came, and what is placed must not.
 */
export function evennessWith(node: PlacementNode, packageName: string): number {
  const { kinds, total, sum } = (node.variety ??= varietyOf(node.types.values()));
  const count = node.types.get(packageName) ?? 0;
  return evenness(count === 0 ? kinds + 1 : kinds, total + 1, sum - xlnx(count) + xlnx(count + 1));
}

/** H' = ln N - (Σ c ln c) / N, and J' = H' / ln S. */
function evenness(kinds: number, total: number, sum: number): number {
  if (kinds < 2) return 1;
  return Math.round(((Math.log(total) - sum / total) / Math.log(kinds)) * 1e9) / 1e9;
}

function xlnx(count: number): number {
  return count < 2 ? 0 : count * Math.log(count);
}

function change(node: PlacementNode, { instanceId, packageName, weight }: PlacedCopy, by: 1 | -1): void {
  node.weight += by * weight;
  node.copies.set(instanceId, (node.copies.get(instanceId) ?? 0) + by);
  node.types.set(packageName, (node.types.get(packageName) ?? 0) + by);
  node.variety = null;
}

function varietyOf(counts: Iterable<number>): NonNullable<PlacementNode['variety']> {
  const variety = { kinds: 0, total: 0, sum: 0 };
  for (const count of counts) {
    if (count === 0) continue;
    variety.kinds++;
    variety.total += count;
    variety.sum += xlnx(count);
  }
  return variety;
}
