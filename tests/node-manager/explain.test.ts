import assert from 'node:assert/strict';
import { explain } from '#node-manager';
import { describeExplanation } from '../../cli/commands/explain.ts';
import {
  clusterOf,
  converge,
  inputOf,
  instance,
  known,
  nodeOf,
  planOf,
  worldOf,
  type World,
} from './made-up-cluster.ts';

const names = ['a', 'b', 'c'];

function world(): World {
  const one = instance('one', {
    instances: 3,
    constraints: { spread: 'zone' },
    update: { healthyAfterMs: 2_000 },
  });
  const made = worldOf(
    clusterOf(names, [one, instance('two', { resources: { weight: 5 } })]),
    [known('app')],
    names.map(name => nodeOf(name)),
  );
  made.settings.nodeServers.forEach((node, index) => (node.labels = { zone: index === 0 ? 'x' : 'y' }));
  converge(made);
  made.nowMs += 10_000;
  return made;
}
const explained = (made: World) => explain(inputOf(made), 'one')!;

describe('explain', () => {
  it('says of every copy why it stays, and of every node what counts for the next one, in the order of the rule', () => {
    const { slots, nodes, packageVersion, problems } = explained(world());
    assert.deepEqual([packageVersion, problems], ['1.0.0', []]);
    assert.deepEqual(
      slots.map(({ slot, copies, starts }) => [
        slot,
        copies.map(copy => `${copy.node} ${copy.decision}`),
        starts,
      ]),
      [
        ['0', ['a stays'], null],
        ['1', ['b stays'], null],
        ['2', ['c stays'], null],
      ],
    );
    assert.equal(slots[0]!.copies[0]!.reason, 'it is what and where it shall be');
    assert.deepEqual(
      nodes.map(({ node, group, copies }) => [node, group, copies]),
      [
        ['a', { name: 'x', copies: 1 }, 1],
        ['b', { name: 'y', copies: 2 }, 1],
        ['c', { name: 'y', copies: 2 }, 1],
      ],
      'fewest in the group, then fewest copies, then least load',
    );
  });

  it('names the node that the next copy then gets', () => {
    for (let count = 3; count < 9; count++) {
      const made = world();
      const [one, two] = made.settings.componentInstances;
      made.settings = { ...made.settings, componentInstances: [{ ...one!, instances: count }, two!] };
      converge(made);
      const best = explained(made).nodes[0]!;
      assert.equal(best.obstacle, null);
      made.settings = { ...made.settings, componentInstances: [{ ...one!, instances: count + 1 }, two!] };
      assert.deepEqual(
        planOf(made).actions.map(({ type, node }) => [type, node]),
        [['start', best.node]],
      );
    }
  });

  it('says what goes and why, what starts in its place, and what keeps nodes from taking a copy', () => {
    const made = world();
    made.maintenance = {
      b: { state: 'draining', since: '', by: 'ada', reason: 'new disk', deadlineAt: null },
    };
    made.nodes.set('c', { ...made.nodes.get('c')!, flapping: true });
    const { slots, nodes } = explained(made);
    assert.deepEqual(slots[1], {
      slot: '1',
      copies: [
        {
          node: 'b',
          version: '1.0.0',
          condition: 'healthy',
          decision: 'goes',
          reason: 'b is being drained (new disk)',
        },
      ],
      starts: { node: 'a', version: '1.0.0', reason: 'b is being drained (new disk)' },
    });
    assert.deepEqual(
      nodes.map(({ node, obstacle }) => [node, obstacle]),
      [
        ['a', null],
        ['b', 'is being drained (new disk)'],
        ['c', 'came and went several times lately, and has to be steady for a while first'],
      ],
    );
  });

  it('knows no other instances', () => {
    assert.equal(explain(inputOf(world()), 'nobody'), null);
  });

  it('is a table for people', () => {
    const text = describeExplanation(explained(world()));
    assert.match(text, /^one: app 1\.0\.0\n\nSLOT {2}NODE/);
    assert.match(text, /^0 {5}a {5}1\.0\.0 {4}healthy {2}stays {5}it is what and where it shall be$/m);
    assert.match(text, /^a {5}1 in x {11}1 {7}0\.063 {9}0\.375/m);
  });
});
