import assert from 'node:assert/strict';
import fc from 'fast-check';
import { desiredInstances, type Action, type ObservedNode, type Plan } from '#node-manager';
import {
  clusterOf,
  converge,
  instance,
  known,
  nodeOf,
  planOf,
  processOf,
  settingsIdOf,
  worldOf,
  type World,
} from './made-up-cluster.ts';

const nodeNames = ['a', 'b', 'c', 'd'];
const packageNames = ['app', 'db'];

const instances = fc
  .uniqueArray(
    fc.record({
      id: fc.constantFrom('one', 'two', 'three'),
      packageName: fc.constantFrom(...packageNames),
      packageVersion: fc.option(fc.constantFrom('1.0.0', '2.0.0'), { nil: undefined }),
      instances: fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constant('perNode' as const)),
      weight: fc.integer({ min: 1, max: 4 }),
      label: fc.boolean(),
      spread: fc.boolean(),
      apart: fc.boolean(),
      maxUnavailable: fc.integer({ min: 1, max: 3 }),
      healthyAfterMs: fc.constantFrom(0, 2_000),
      ports: fc.boolean(),
    }),
    { selector: item => item.id, maxLength: 3 },
  )
  .map(list =>
    list.map(item =>
      instance(item.id, {
        packageName: item.packageName,
        ...(item.packageVersion === undefined ? {} : { packageVersion: item.packageVersion }),
        instances: item.instances,
        resources: { weight: item.weight },
        update: { maxUnavailable: item.maxUnavailable, healthyAfterMs: item.healthyAfterMs },
        constraints: {
          ...(item.label ? { labels: { zone: 'x' } } : {}),
          ...(item.spread ? { spread: 'zone' } : {}),
          ...(item.apart ? { antiAffinity: [item.id] } : {}),
        },
        ...(item.ports ? { ports: [9001, 9002, 9003, 9004, 9005, 9006] } : {}),
      }),
    ),
  );

/** A process that may be up to date, old, misplaced, surplus, broken, foreign or unmanaged. */
const processes = fc.array(
  fc.record({
    node: fc.constantFrom(...nodeNames, 'gone'),
    instanceId: fc.constantFrom('one', 'two', 'three', 'removed'),
    slot: fc.constantFrom('0', '1', '2', '5', 'a', 'b'),
    current: fc.boolean(),
    state: fc.constantFrom('Running', 'Running', 'Running', 'Starting', 'CrashLoop', 'Stopping' as const),
    managed: fc.constantFrom('ours', 'ours', 'ours', 'hand', 'manager'),
  }),
  { maxLength: 14 },
);

const worlds = fc
  .record({
    instances,
    processes,
    capacity: fc.constantFrom(4, 16),
    down: fc.subarray(nodeNames, { maxLength: 1 }),
  })
  .map(made => {
    const settings = clusterOf(nodeNames, made.instances);
    settings.nodeServers.forEach((node, index) => {
      node.capacity = made.capacity;
      node.labels = { zone: index % 2 === 0 ? 'x' : 'y' };
    });
    const catalog = [
      known('component-host', '1.0.0', { kind: 'host' }),
      ...packageNames.flatMap(name => [known(name, '1.0.0'), known(name, '2.0.0')]),
    ];
    const nodes = [...nodeNames, 'gone'].map(name =>
      nodeOf(name, [], made.down.includes(name) ? { state: 'suspect' } : {}),
    );
    const world = worldOf(settings, catalog, nodes);
    made.processes.forEach((item, index) => {
      const node = world.nodes.get(item.node)!;
      const desired = made.instances.some(found => found.id === item.instanceId);
      const id =
        item.current && desired
          ? settingsIdOf(world, item.instanceId, item.slot)
          : `${item.instanceId}/${item.slot}/0123456789ab`;
      const process = processOf(item.node, item.managed === 'hand' ? 'started-by-hand' : id, {
        processId: `p${index}`,
        state: item.state === 'Stopping' ? 'Stopping' : item.state,
        ...(item.managed === 'manager' ? { packageName: 'node-manager' } : {}),
        healthySinceMs: item.state === 'Running' ? -1_000_000 : null,
      });
      world.nodes.set(item.node, { ...node, processes: [...node.processes, process] });
    });
    return world;
  });

describe('plan, from any settings and any observed state', function () {
  this.timeout(120_000);

  it('converges, and a second run plans nothing', () => {
    fc.assert(
      fc.property(worlds, world => {
        converge(settleProcesses(world), { onPlan: made => checkPlan(world, made) });
        assert.deepEqual(planOf(world).actions, []);
        for (const shown of planOf(world).instances) {
          if (shown.problems.length === 0) assert.equal(shown.running, shown.desired, shown.id);
          assert.equal(shown.live >= shown.running, true);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('converges after starts have failed for a while, and never hammers', () => {
    fc.assert(
      fc.property(worlds, fc.integer({ min: 1, max: 5 }), (world, failing) => {
        let left = failing;
        const breaks = (action: Action) => action.type === 'start' && left-- > 0;
        converge(settleProcesses(world), { breaks, onPlan: made => checkPlan(world, made) });
        assert.deepEqual(planOf(world).actions, []);
      }),
      { numRuns: 200 },
    );
  });

  it('is deterministic, whatever the order in which nodes and processes are seen', () => {
    fc.assert(
      fc.property(worlds, world => {
        const reversed = new Map(
          [...world.nodes]
            .reverse()
            .map(([name, node]): [string, ObservedNode] => [
              name,
              { ...node, processes: [...node.processes].reverse() },
            ]),
        );
        const ids = (made: Plan) => made.actions.map(action => action.id).sort();
        assert.deepEqual(ids(planOf(world)), ids(planOf({ ...world, nodes: reversed })));
      }),
      { numRuns: 200 },
    );
  });
});

/** What the nodes do by themselves: a start ends, a stop ends, a crash loop stays. */
function settleProcesses(world: World): World {
  for (const [name, node] of world.nodes) {
    world.nodes.set(name, {
      ...node,
      processes: node.processes
        .filter(process => process.state !== 'Stopping' || node.state !== 'ready')
        .map(process =>
          process.state === 'Starting'
            ? { ...process, state: 'Running' as const, healthySinceMs: 0 }
            : process,
        ),
    });
  }
  return world;
}

function checkPlan(world: World, made: Plan): void {
  const desired = desiredInstances(world);
  const stopped = new Set<string>();
  for (const action of made.actions) {
    const node = world.nodes.get(action.node)!;
    assert.equal(node.state, 'ready', 'acts only on nodes that answer');
    if (action.type === 'start') {
      const wanted = desired.find(found => found.settings.id === action.instanceId);
      assert.equal(wanted?.start(action.slot).settingsId, action.settingsId, 'starts only what is desired');
      assert.ok(world.settings.nodeServers.some(item => item.networkName === action.node));
    }
    if (action.type === 'stop') {
      const process = node.processes.find(found => found.processId === action.processId)!;
      assert.notEqual(process.packageName, 'node-manager', 'managers are not touched');
      assert.notEqual(process.settingsId, 'started-by-hand', 'what operators started is not touched');
      stopped.add(action.processId);
    }
  }
  const ids = made.actions.map(action => action.id);
  assert.equal(new Set(ids).size, ids.length, 'no action twice');
  checkCapacity(world, made, stopped);
  checkAvailability(world, made, stopped);
}

function checkCapacity(world: World, made: Plan, stopped: ReadonlySet<string>): void {
  const weights = new Map(world.settings.componentInstances.map(item => [item.id, item.resources.weight]));
  const weightOf = (settingsId: string | null) => weights.get(settingsId?.split('/')[0] ?? '') ?? 0;
  for (const { networkName, capacity } of world.settings.nodeServers) {
    const starts = made.actions.filter(action => action.type === 'start' && action.node === networkName);
    if (starts.length === 0) continue;
    const stay = world.nodes
      .get(networkName)!
      .processes.filter(
        item =>
          !stopped.has(item.processId) && item.packageName !== 'node-manager' && item.state !== 'Stopping',
      )
      .reduce((sum, item) => sum + weightOf(item.settingsId), 0);
    const added = starts.reduce(
      (sum, item) => sum + (item.type === 'start' ? weightOf(item.settingsId) : 0),
      0,
    );
    assert.ok(
      stay + added <= capacity,
      `${networkName} is not overfilled: ${stay} + ${added} of ${capacity}`,
    );
  }
}

/** Stops leave at least `desired - maxUnavailable` available copies, or as many as there were if they were fewer. */
function checkAvailability(world: World, made: Plan, stopped: ReadonlySet<string>): void {
  for (const { id, instances, update } of world.settings.componentInstances) {
    if (instances === 'perNode') continue; // copies on wrong nodes may go at once
    const healthy = [...world.nodes.values()]
      .filter(node => node.state === 'ready')
      .flatMap(node => node.processes)
      .filter(
        item =>
          item.packageName !== 'node-manager' &&
          item.settingsId?.startsWith(`${id}/`) &&
          item.state === 'Running' &&
          item.healthySinceMs !== null,
      );
    const slots = new Set(healthy.map(item => item.settingsId!.split('/')[1]));
    const left = healthy.filter(item => !stopped.has(item.processId)).length;
    const shown = made.instances.find(found => found.id === id)!;
    // What no node takes is no reason to hold an update back.
    const desired = shown.desired - shown.problems.filter(text => text.includes('cannot be placed')).length;
    const floor = Math.min(slots.size, desired - update.maxUnavailable);
    assert.ok(
      left >= floor,
      `${id}: ${left} copies for ${slots.size} slots left, at least ${floor} expected`,
    );
  }
}
