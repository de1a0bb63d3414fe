/**
 * Places many copies of one instance, one after the other, without looking at all nodes for each: the nodes of every spread
 * group lie in a heap, of which a copy changes only the top. Chooses exactly what `place` would. Valid only as long as nobody else
 * changes the nodes. Pure but for the nodes' own figures.
 */
import {
  compareNodes,
  fits,
  groupCopies,
  groupOf,
  occupy,
  type PlacementNode,
  type PlacementRequest,
} from './placement.ts';

export interface Ranking<Node extends PlacementNode> {
  /** The best place, which then has the copy; null: there is none (any more). */
  take(): Node | null;
}

interface Group<Node> {
  copies: number;
  /** A binary heap, the best node first. */
  heap: Node[];
}

/** @param usable whether a node is in the question at all */
export function createRanking<Node extends PlacementNode>(
  request: PlacementRequest,
  nodes: readonly Node[],
  usable: (node: Node) => boolean,
): Ranking<Node> {
  const candidates = nodes.filter(node => fits(request, node) && usable(node));
  const counts = groupCopies(request, candidates, nodes);
  const groups = new Map<string, Group<Node>>();
  for (const node of candidates) {
    const name = request.spread === null ? '' : groupOf(node, request.spread);
    const group = groups.get(name);
    if (group) group.heap.push(node);
    else groups.set(name, { copies: counts?.get(name) ?? 0, heap: [node] });
  }
  const better = (a: Node, b: Node) => compareNodes(request, a, b) < 0;
  for (const { heap } of groups.values()) {
    for (let index = (heap.length >> 1) - 1; index >= 0; index--) sink(heap, index, better);
  }

  return {
    take() {
      let best: Group<Node> | null = null;
      for (const group of groups.values()) {
        const top = group.heap[0];
        if (top === undefined) continue;
        const difference = best ? group.copies - best.copies : -1;
        if (difference < 0 || (difference === 0 && better(top, best!.heap[0]!))) best = group;
      }
      if (!best) return null;
      const { heap } = best;
      const node = heap[0]!;
      occupy(node, request);
      best.copies++;
      if (!fits(request, node)) {
        const last = heap.pop()!;
        if (heap.length > 0) heap[0] = last;
      }
      sink(heap, 0, better);
      return node;
    },
  };
}

function sink<Item>(heap: Item[], from: number, better: (a: Item, b: Item) => boolean): void {
  let index = from;
  for (;;) {
    let best = index;
    for (let child = 2 * index + 1; child <= 2 * index + 2 && child < heap.length; child++) {
      if (better(heap[child]!, heap[best]!)) best = child;
    }
    if (best === index) return;
    [heap[index], heap[best]] = [heap[best]!, heap[index]!];
    index = best;
  }
}
