/**
 * The same 100,000 copies of ten types on 1,000 nodes by the production placement, by rendezvous hashing and by consistent hashing with
 * bounded loads: how full the fullest node is, how many copies go elsewhere when a node goes and when one comes (100 are due each time), and
 * how even the types on the nodes are. Counts, no times: one run says all.
 */
import type { Figure, Scenario } from '../measure.ts';
import {
  addNode,
  come,
  createFleet,
  loadsOf,
  meanEvenness,
  packageNames,
  planOf,
  typesOnNodes,
} from '../fleet.ts';
import { boundedRing, rendezvous, type Assignment } from '../peers/hashing.ts';

const nodeCount = 1_000;
const copyCount = 100_000;

interface Outcome {
  name: string;
  highest: number;
  lowest: number;
  afterLoss: number;
  afterAddition: number;
  evenness: number;
}

export const placement: Scenario = {
  name: 'placement',
  async run() {
    const ours = byPlan();
    const peers = [byHashing('rendezvous', rendezvous), byHashing('ring, bounded loads', boundedRing)];
    return peers.flatMap(peer => {
      const figure = (
        name: string,
        unit: Figure['unit'],
        of: keyof Omit<Outcome, 'name'>,
        aim: string,
      ): Figure => ({
        name,
        unit,
        samples: [ours[of]],
        peer: { name: peer.name, samples: [peer[of]] },
        aim,
      });
      return [
        figure('fullest node', '% of the mean', 'highest', '100'),
        figure('emptiest node', '% of the mean', 'lowest', '100'),
        figure('copies elsewhere after a node was lost, its own 100 included', 'copies', 'afterLoss', '100'),
        figure('copies elsewhere after a node was added', 'copies', 'afterAddition', '100'),
        figure('mean evenness of types on nodes', '% of the best', 'evenness', '≥ 99'),
      ];
    });
  },
};

function byPlan(): Outcome {
  const fleet = createFleet({ nodes: nodeCount, instances: 100, copies: copyCount / 100 });
  come(fleet, planOf(fleet).made.actions);
  const loads = loadsOf(fleet);
  const evenness = 100 * meanEvenness(typesOnNodes(fleet));
  const lost = fleet.nodes.get('node-0500')!;
  fleet.nodes.set(lost.name, { ...lost, state: 'dead', lastSeenMs: -1e9 });
  const { actions } = planOf(fleet).made;
  come(fleet, actions);
  fleet.nodes.delete(lost.name);
  const nodeServers = fleet.settings.nodeServers.filter(({ networkName }) => networkName !== lost.name);
  fleet.settings = { ...fleet.settings, nodeServers };
  addNode(fleet, nodeCount);
  let moves = 0;
  for (;;) {
    const { made } = planOf(fleet, Infinity);
    if (made.actions.length === 0) break;
    moves += made.moves.length;
    come(fleet, made.actions);
  }
  return {
    name: 'ours',
    highest: Math.max(...loads),
    lowest: Math.min(...loads),
    afterLoss: actions.filter(({ type }) => type === 'start').length,
    afterAddition: moves,
    evenness,
  };
}

function byHashing(name: string, assign: (keys: number, nodes: readonly number[]) => Assignment): Outcome {
  const nodes = Array.from({ length: nodeCount }, (_, index) => index);
  const present = assign(copyCount, nodes);
  const types = nodes.map(() => new Map<string, number>());
  present.forEach((node, key) => {
    const type = packageNames[key % packageNames.length]!;
    types[node]!.set(type, (types[node]!.get(type) ?? 0) + 1);
  });
  const loads = types.map(kinds => [...kinds.values()].reduce((sum, count) => sum + count, 0));
  const without = assign(
    copyCount,
    nodes.filter(node => node !== 500),
  );
  const again = assign(copyCount, [...nodes, nodeCount]);
  const differing = (other: Assignment) =>
    present.reduce((sum, node, key) => sum + Number(other[key] !== node), 0);
  return {
    name,
    highest: Math.max(...loads),
    lowest: Math.min(...loads),
    afterLoss: differing(without),
    afterAddition: differing(again),
    evenness: 100 * meanEvenness(types),
  };
}
