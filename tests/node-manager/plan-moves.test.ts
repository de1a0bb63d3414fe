import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { InstanceSettings } from '#core';
import type { Plan } from '#node-manager';
import {
  applyPlan,
  clusterOf,
  converge,
  copiesByNode,
  currentCopy,
  instance,
  known,
  nodeOf,
  planOf,
  worldOf,
  type World,
} from './made-up-cluster.ts';

const names = ['a', 'b', 'c', 'd', 'e', 'f'];

/** Copies of each instance on each node, as they are to be found at first. */
function world(instances: InstanceSettings[], placed: Record<string, number[]>, nodes: number): World {
  const made = worldOf(
    clusterOf(names.slice(0, nodes), instances, { rebalance: { threshold: 0, movesPerHour: 60 } }),
    [known('app')],
    names.slice(0, nodes).map(name => nodeOf(name)),
  );
  made.settings.nodeServers.forEach(node => (node.capacity = 1_000));
  made.movesLeft = Infinity;
  for (const [id, counts] of Object.entries(placed)) {
    let slot = 0;
    counts.forEach((count, index) => {
      for (let copy = 0; copy < count; copy++) {
        const node = made.nodes.get(names[index]!)!;
        const process = currentCopy(made, node.name, id, String(slot++));
        made.nodes.set(node.name, { ...node, processes: [...node.processes, process] });
      }
    });
  }
  return made;
}

/** Until nothing is left to do; how many copies moved. */
function settle(made: World): number {
  let moves = 0;
  converge(made, {
    roundsMax: 3_000,
    onPlan: ({ moves: begun }: Plan) => (moves += begun.length),
  });
  assert.deepEqual(planOf(made).actions, [], 'after the moves nothing moves');
  return moves;
}

const loads = (made: World) => [...made.nodes.values()].map(node => node.processes.length);
const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

/** The least number of moves that make equal things even: what some have too much, or others too little, whichever is more. */
function fewest(counts: readonly number[]): number {
  const mean = sum(counts) / counts.length;
  return Math.max(
    sum(counts.map(count => Math.max(0, count - Math.ceil(mean)))),
    sum(counts.map(count => Math.max(0, Math.floor(mean) - count))),
  );
}

const quick = { update: { healthyAfterMs: 0, maxSurge: 3 } };

describe('moves for evenness', () => {
  it('gives a new, empty node its share, one copy after the other, each running before the old one is stopped', () => {
    const made = world(
      [instance('one', { instances: 4, update: { healthyAfterMs: 1_000 } })],
      { one: [2, 2, 0] },
      3,
    );
    converge({ ...made, movesLeft: 0 });
    const { actions, moves } = planOf(made);
    const [start, ...more] = actions.filter(({ type }) => type !== 'upload-package');
    assert.deepEqual([start?.type, start?.node, more], ['start', 'c', []]);
    assert.deepEqual(moves, [start?.id]);
    assert.equal(start?.reason, 'it moves from a to c, so that nodes have their share');
    applyPlan(made, actions);
    assert.deepEqual(copiesByNode(made, 'one'), { a: 2, b: 2, c: 1 });
    settle(made);
    assert.deepEqual(copiesByNode(made, 'one'), { a: 1, b: 2, c: 1 });
  });

  it('moves the least number of copies of one instance', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { minLength: 2, maxLength: 6 }), counts => {
        const made = world(
          [instance('one', { instances: sum(counts), ...quick })],
          { one: counts },
          counts.length,
        );
        converge({ ...made, movesLeft: 0 });
        assert.equal(settle(made), fewest(counts));
        const after = loads(made);
        assert.ok(Math.max(...after) - Math.min(...after) <= 1, String(after));
      }),
      { numRuns: 60 },
    );
  });

  it('moves the least number of single copies by their load', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5), { minLength: 2, maxLength: 5 }), counts => {
        const ids = counts.flatMap((count, node) =>
          Array.from({ length: count }, (_, index) => ({ id: `${names[node]}${index}`, node })),
        );
        const instances = ids.map(({ id }) => instance(id, quick));
        const placed = Object.fromEntries(
          ids.map(({ id, node }) => [id, counts.map((_, index) => Number(index === node))]),
        );
        const made = world(instances, placed, counts.length);
        converge({ ...made, movesLeft: 0 });
        assert.equal(settle(made), fewest(counts));
        const after = loads(made);
        assert.ok(Math.max(...after) - Math.min(...after) <= 1, String(after));
      }),
      { numRuns: 40 },
    );
  });

  it('ends, and keeps every instance as even as placement would make it, whatever weights, capacities and groups there are', () => {
    const some = fc.record({
      counts: fc.array(fc.nat(4), { minLength: 4, maxLength: 4 }),
      weight: fc.integer({ min: 1, max: 3 }),
      spread: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(some, { minLength: 1, maxLength: 3 }), fc.boolean(), (items, unequal) => {
        const instances = items.map(({ counts, weight, spread }, index) =>
          instance(`i${index}`, {
            instances: sum(counts),
            resources: { weight },
            ...(spread ? { constraints: { spread: 'zone' } } : {}),
            ...quick,
          }),
        );
        const made = world(
          instances,
          Object.fromEntries(items.map(({ counts }, index) => [`i${index}`, counts])),
          4,
        );
        made.settings.nodeServers.forEach((node, index) => {
          node.labels = { zone: index < 2 ? 'x' : 'y' };
          if (unequal) node.capacity = 20 + 40 * (index % 2);
        });
        converge({ ...made, movesLeft: 0 });
        settle(made);
        items.forEach(({ spread, counts }, index) => {
          const after = Object.values(copiesByNode(made, `i${index}`));
          assert.equal(sum(after), sum(counts));
          const groups = [after[0]! + after[1]!, after[2]! + after[3]!];
          if (spread) assert.ok(Math.abs(groups[0]! - groups[1]!) <= 1, `groups ${String(groups)}`);
          else if (!unequal) assert.ok(Math.max(...after) - Math.min(...after) <= 1, String(after));
        });
      }),
      { numRuns: 60 },
    );
  });

  it('keeps to the threshold, but not where a node is empty', () => {
    const settings = instance('one', { instances: 20, ...quick });
    const tolerant = (counts: number[]) => {
      const made = world([settings], { one: counts }, counts.length);
      made.settings = { ...made.settings, rebalance: { threshold: 0.2, movesPerHour: 60 } };
      converge({ ...made, movesLeft: 0 });
      return settle(made);
    };
    assert.equal(tolerant([11, 9]), 0);
    assert.equal(tolerant([12, 8]), 0);
    assert.equal(tolerant([13, 7]), 3, 'once begun it is finished');
    assert.equal(tolerant([10, 10, 0]), 6);
  });

  it('moves no more than is left, and nothing without a budget', () => {
    const made = world([instance('one', { instances: 8, ...quick })], { one: [8, 0] }, 2);
    converge({ ...made, movesLeft: 0 });
    assert.deepEqual(loads(made), [8, 0]);
    made.movesLeft = 2;
    assert.equal(planOf(made).moves.length, 2);
  });

  it('waits while anything else is under way', () => {
    const busy: [string, (made: World) => void][] = [
      [
        'a node that does not answer',
        made => made.nodes.set('c', { ...made.nodes.get('c')!, state: 'suspect', lastSeenMs: made.nowMs }),
      ],
      [
        'a missing copy',
        made =>
          (made.settings = {
            ...made.settings,
            componentInstances: [...made.settings.componentInstances, instance('two')],
          }),
      ],
      ['a rollout', made => (made.rollouts = { one: { previous: null, limit: 1, paused: null } })],
      ['a restart', made => (made.restarts = { one: 'again' })],
    ];
    for (const [what, change] of busy) {
      const made = world([instance('one', { instances: 4, ...quick })], { one: [4, 0, 0] }, 3);
      converge({ ...made, movesLeft: 0 });
      assert.equal(planOf(made).moves.length, 2, 'a cluster at rest');
      change(made);
      assert.deepEqual(planOf(made).moves, [], what);
    }
  });

  it('waits while another instance is replaced, also between two steps', () => {
    const slow = instance('two', { instances: 1, update: { healthyAfterMs: 5_000 } });
    const made = world([instance('one', { instances: 4, ...quick }), slow], { one: [4, 0], two: [0, 1] }, 2);
    converge({ ...made, movesLeft: 0 });
    made.nowMs += 10_000;
    made.restarts = { two: 'again' };
    applyPlan(made, planOf(made).actions);
    const { actions, moves } = planOf(made);
    assert.deepEqual([actions, moves], [[], []]);
    made.nowMs += 5_000;
    converge(made);
    assert.deepEqual(copiesByNode(made, 'one'), { a: 2, b: 2 });
  });

  it('moves nothing against labels, anti-affinity, closed nodes and ports', () => {
    const kept: [string, Parameters<typeof instance>[1], (made: World) => void][] = [
      [
        'labels',
        { constraints: { labels: { disk: 'ssd' } } },
        made => (made.settings.nodeServers[0]!.labels = { disk: 'ssd' }),
      ],
      [
        'a cordoned node',
        {},
        made =>
          (made.maintenance = {
            b: { state: 'cordoned', since: '', by: 'ada', reason: null, deadlineAt: null },
          }),
      ],
      ['one port at one address', { settings: { port: 9_000 } }, () => {}],
    ];
    for (const [what, more, change] of kept) {
      const made = world([instance('one', { instances: 4, ...quick, ...more })], { one: [4, 0] }, 2);
      change(made);
      assert.deepEqual(planOf(made).moves, [], what);
    }
    const apart = world(
      [
        instance('one', { instances: 4, ...quick, constraints: { antiAffinity: ['two'] } }),
        instance('two', quick),
      ],
      { one: [4, 0], two: [0, 1] },
      2,
    );
    assert.deepEqual(planOf(apart).moves, []);
  });

  it('stops the old copy first where no two may run beside each other', () => {
    const made = world(
      [instance('one', { instances: 3, update: { maxSurge: 0, healthyAfterMs: 0 } })],
      { one: [3, 0] },
      2,
    );
    converge({ ...made, movesLeft: 0 });
    assert.deepEqual(
      planOf(made).actions.map(({ type, node }) => `${type} ${node}`),
      ['stop a', 'start b'],
    );
    assert.equal(settle(made), 1);
  });
});
