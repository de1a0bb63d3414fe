/**
 * The production plan at 1,000 nodes and 100,000 copies of 100 instances: the time of one plan, and how many copies it moves. No peer: what
 * others do with the same workload is in the scenario `placement`.
 */
import type { Figure, Scenario } from '../measure.ts';
import {
  addNode,
  come,
  createFleet,
  loadsOf,
  meanEvenness,
  planOf,
  release,
  typesOnNodes,
} from '../fleet.ts';

const nodeCount = 1_000;
const copyCount = 100_000;
const aim = '< 50';

export const planScale: Scenario = {
  name: 'plan-scale',
  async run(runs) {
    const first: number[] = [];
    for (let run = 0; run < runs; run++)
      first.push(planOf(createFleet({ nodes: nodeCount, instances: 100, copies: 1_000 })).ms);
    const fleet = createFleet({ nodes: nodeCount, instances: 100, copies: 1_000 });
    const placed = planOf(fleet).made.actions;
    expect(placed.length === copyCount, `${placed.length} starts`);
    come(fleet, placed);
    const loads = loadsOf(fleet);
    expect(Math.max(...loads) === 100 && Math.min(...loads) === 100, 'every node has its 100 copies');
    const steady = times(runs, () => planOf(fleet), 0);
    const evenness = [meanEvenness(typesOnNodes(fleet))];

    const lost = fleet.nodes.get('node-0500')!;
    fleet.nodes.set('node-0500', { ...lost, state: 'dead', lastSeenMs: -1e9 });
    const afterLoss = times(runs, () => planOf(fleet), 100);
    come(fleet, planOf(fleet).made.actions);
    evenness.push(meanEvenness(typesOnNodes(fleet)));
    fleet.nodes.delete('node-0500');
    fleet.settings = {
      ...fleet.settings,
      nodeServers: fleet.settings.nodeServers.filter(({ networkName }) => networkName !== 'node-0500'),
    };

    addNode(fleet, nodeCount);
    const added: number[] = [];
    let moves = 0;
    for (;;) {
      const { made, ms } = planOf(fleet, Infinity);
      if (made.actions.length === 0) break;
      added.push(ms);
      moves += made.moves.length;
      come(fleet, made.actions);
    }
    evenness.push(meanEvenness(typesOnNodes(fleet)));

    release(fleet, '2.0.0');
    const rolled: number[] = [];
    for (let step = 0; step < Math.max(10, runs); step++) {
      const { made, ms } = planOf(fleet);
      rolled.push(ms);
      come(fleet, made.actions);
    }
    const figure = (name: string, samples: number[]): Figure => ({
      name,
      unit: 'ms',
      samples,
      peer: null,
      aim,
    });
    return [
      figure('plan that places all 100,000 copies', first),
      figure('plan with nothing to do', steady),
      figure('plan after a node was lost (100 copies start)', afterLoss),
      figure('plan while a new node gets its share', added),
      figure('plan during a rolling update of everything', rolled),
      {
        name: 'copies moved to a new node, at least 99 to 100',
        unit: 'copies',
        samples: [moves],
        peer: null,
        aim: '= the minimum',
      },
      {
        name: 'evenness of the nodes: placed, after the loss, after the new node',
        unit: '% of the best',
        samples: evenness.map(mean => 100 * mean),
        peer: null,
        aim: '≥ 99',
      },
    ];
  },
};

function times(runs: number, work: () => ReturnType<typeof planOf>, actions: number): number[] {
  return Array.from({ length: runs }, () => {
    const { made, ms } = work();
    expect(made.actions.length === actions, `${made.actions.length} actions instead of ${actions}`);
    return ms;
  });
}

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`the plan is not what it should be: ${what}`);
}
