/**
 * What else decides where things run: rendezvous hashing (each key to the node with the highest hash of both), and consistent hashing with
 * bounded loads (a ring of 100 points for each node, from which a key goes on to the next node that is not full; full is 1.05 times
 * the mean). Both know keys and nodes only: no instances, types, weights or groups.
 */
const pointsPerNode = 100;
const bound = 1.05;

/** Keys by number → the number of the node that each is on. */
export type Assignment = Int32Array;

export function rendezvous(keys: number, nodes: readonly number[]): Assignment {
  const found = new Int32Array(keys);
  const seeds = Uint32Array.from(nodes, node => mix(node + 1));
  for (let key = 0; key < keys; key++) {
    const own = mix(key ^ 0x9e3779b9);
    let best = -1;
    let highest = -1;
    for (let index = 0; index < seeds.length; index++) {
      const hash = mix(own ^ seeds[index]!);
      if (hash > highest) {
        highest = hash;
        best = index;
      }
    }
    found[key] = nodes[best]!;
  }
  return found;
}

export function boundedRing(keys: number, nodes: readonly number[]): Assignment {
  const points = nodes
    .flatMap(node =>
      Array.from({ length: pointsPerNode }, (_, point) => ({
        node,
        at: mix(mix(node + 1) ^ (point * 0x85ebca6b)),
      })),
    )
    .sort((a, b) => a.at - b.at);
  const full = Math.ceil((bound * keys) / nodes.length);
  const loads = new Map(nodes.map(node => [node, 0]));
  const found = new Int32Array(keys);
  for (let key = 0; key < keys; key++) {
    let index = firstAtOrAfter(points, mix(key ^ 0x9e3779b9));
    while (loads.get(points[index]!.node)! >= full) index = (index + 1) % points.length;
    const { node } = points[index]!;
    loads.set(node, loads.get(node)! + 1);
    found[key] = node;
  }
  return found;
}

function firstAtOrAfter(points: readonly { at: number }[], hash: number): number {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle]!.at < hash) low = middle + 1;
    else high = middle;
  }
  return low === points.length ? 0 : low;
}

/** The finalizer of MurmurHash3: every bit of the input changes half of the output's. */
function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
