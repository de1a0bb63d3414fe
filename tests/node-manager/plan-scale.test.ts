/** The counts of a large fleet, which do not depend on how busy the machine is. Times: `npm run bench -- plan-scale`. */
import assert from 'node:assert/strict';
import {
  addNode,
  come,
  createFleet,
  loadsOf,
  meanEvenness,
  planOf,
  release,
  typesOnNodes,
} from '../../bench/fleet.ts';

describe('planning for 200 nodes and 10,000 copies', function () {
  this.timeout(120_000);

  it('places evenly, replaces what a lost node had, and gives a new one its share with the fewest moves', () => {
    const fleet = createFleet({ nodes: 200, instances: 50, copies: 200 });
    come(fleet, planOf(fleet).made.actions);
    assert.deepEqual([...new Set(loadsOf(fleet))], [50]);
    assert.ok(meanEvenness(typesOnNodes(fleet)) > 0.99);
    assert.deepEqual(planOf(fleet, Infinity).made.actions, [], 'nothing is left to do');

    const lost = fleet.nodes.get('node-0100')!;
    fleet.nodes.set(lost.name, { ...lost, state: 'dead', lastSeenMs: -1e9 });
    const { actions } = planOf(fleet, Infinity).made;
    assert.deepEqual([actions.length, new Set(actions.map(({ type }) => type))], [50, new Set(['start'])]);
    come(fleet, actions);
    assert.ok(Math.max(...loadsOf(fleet)) <= 51);

    fleet.nodes.delete(lost.name);
    const nodeServers = fleet.settings.nodeServers.filter(({ networkName }) => networkName !== lost.name);
    fleet.settings = { ...fleet.settings, nodeServers };
    const added = addNode(fleet, 200);
    let moves = 0;
    for (;;) {
      const { made } = planOf(fleet, Infinity);
      if (made.actions.length === 0) break;
      moves += made.moves.length;
      come(fleet, made.actions);
    }
    assert.equal(moves, 50);
    assert.equal(fleet.nodes.get(added)!.processes.length, 50);
    assert.ok(meanEvenness(typesOnNodes(fleet)) > 0.99);
  });

  it('rolls everything, one copy of each instance beside the old ones at a time', () => {
    const fleet = createFleet({ nodes: 40, instances: 10, copies: 20 });
    come(fleet, planOf(fleet).made.actions);
    release(fleet, '2.0.0');
    let steps = 0;
    for (; steps < 100; steps++) {
      const { actions } = planOf(fleet).made;
      if (actions.length === 0) break;
      come(fleet, actions);
      assert.ok(loadsOf(fleet).reduce((sum, count) => sum + count, 0) <= 210);
    }
    assert.equal(steps, 21);
    const versions = [...fleet.nodes.values()].flatMap(node =>
      node.processes.map(item => item.packageVersion),
    );
    assert.deepEqual([versions.length, new Set(versions)], [200, new Set(['2.0.0'])]);
  });
});
