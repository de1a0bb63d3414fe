/** Clusters at random for properties of planning: any settings, any state of nodes and copies, any stage of a rollout. */
import fc from 'fast-check';
import { desiredInstances, type ObservedNode } from '#node-manager';
import {
  clusterOf,
  instance,
  known,
  nodeOf,
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
      maxSurge: fc.integer({ min: 0, max: 2 }),
      healthyAfterMs: fc.constantFrom(0, 2_000),
      port: fc.constantFrom('none', 'none', 'by slot', 'the same'),
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
        update: {
          maxUnavailable: item.maxUnavailable,
          maxSurge: item.maxSurge,
          healthyAfterMs: item.healthyAfterMs,
        },
        constraints: {
          ...(item.label ? { labels: { zone: 'x' } } : {}),
          ...(item.spread ? { spread: 'zone' } : {}),
          ...(item.apart ? { antiAffinity: [item.id] } : {}),
        },
        ...(item.port === 'by slot' ? { ports: [9001, 9002, 9003, 9004, 9005, 9006] } : {}),
        ...(item.port === 'the same' ? { settings: { port: 9000 } } : {}),
      }),
    ),
  );

/** A process that may be up to date, of the revision before, old, misplaced, surplus, broken, foreign or unmanaged. */
const processes = fc.array(
  fc.record({
    node: fc.constantFrom(...nodeNames, 'gone'),
    instanceId: fc.constantFrom('one', 'two', 'three', 'removed'),
    slot: fc.constantFrom('0', '1', '2', '5', 'a', 'b'),
    revision: fc.constantFrom('current', 'current', 'previous', 'other'),
    state: fc.constantFrom('Running', 'Running', 'Running', 'Starting', 'CrashLoop', 'Stopping' as const),
    managed: fc.constantFrom('ours', 'ours', 'ours', 'hand', 'manager'),
  }),
  { maxLength: 14 },
);

/** What a node is, besides running copies. */
const condition = fc.constantFrom(
  'well',
  'well',
  'well',
  'well',
  'suspect',
  'dead',
  'cordoned',
  'draining',
  'overdue',
  'short',
  'flapping',
);

const rollout = fc.record({
  limit: fc.option(fc.nat(4), { nil: null }),
  paused: fc.constantFrom(null, null, 'somebody said so'),
});

export const worlds = fc
  .record({
    instances,
    processes,
    capacity: fc.constantFrom(4, 16),
    conditions: fc.array(condition, { minLength: 4, maxLength: 4 }),
    machines: fc.boolean(),
    rollouts: fc.dictionary(fc.constantFrom('one', 'two', 'three'), rollout, { maxKeys: 2 }),
    movesLeft: fc.constantFrom(0, 1, 100),
  })
  .map(made => {
    const settings = clusterOf(nodeNames, made.instances);
    settings.nodeServers.forEach((node, index) => {
      node.capacity = made.capacity;
      node.labels = { zone: index % 2 === 0 ? 'x' : 'y' };
      if (made.machines) node.networkIp = `10.0.0.${index + 1}`;
    });
    const catalog = [
      known('component-host', '1.0.0', { kind: 'host' }),
      ...packageNames.flatMap(name => [known(name, '0.9.0'), known(name, '1.0.0'), known(name, '2.0.0')]),
    ];
    const world = worldOf(
      settings,
      catalog,
      [...nodeNames, 'gone'].map(name => nodeOf(name)),
    );
    world.movesLeft = made.movesLeft;
    for (const [id, { limit, paused }] of Object.entries(made.rollouts)) {
      const before = desiredInstances({
        ...world,
        settings: { ...settings, componentInstances: settings.componentInstances.map(old) },
      }).find(found => found.settings.id === id);
      if (before) world.rollouts[id] = { previous: before.revision, limit, paused };
    }
    made.conditions.forEach((what, index) => become(world, nodeNames[index]!, what));
    made.processes.forEach((item, index) => {
      const node = world.nodes.get(item.node)!;
      const process = processOf(item.node, item.managed === 'hand' ? 'started-by-hand' : idOf(world, item), {
        processId: `p${index}`,
        state: item.state === 'Stopping' ? 'Stopping' : item.state,
        ...(item.managed === 'manager' ? { packageName: 'node-manager' } : {}),
        healthySinceMs: item.state === 'Running' ? -1_000_000 : null,
      });
      world.nodes.set(item.node, { ...node, processes: [...node.processes, process] });
    });
    return world;
  });

/** Something happens in the middle. */
export const incidents = fc.array(
  fc.record({ round: fc.nat(12), node: fc.constantFrom(...nodeNames), what: condition }),
  { maxLength: 3 },
);

export function become(world: World, name: string, what: string): void {
  const node = world.nodes.get(name)!;
  const well: Partial<ObservedNode> = {
    state: 'ready',
    lastSeenMs: world.nowMs,
    pressure: [],
    flapping: false,
  };
  const change = (more: Partial<ObservedNode>) => world.nodes.set(name, { ...node, ...well, ...more });
  delete world.maintenance[name];
  const said = { since: '2026-01-01T00:00:00.000Z', by: 'test', reason: null };
  switch (what) {
    case 'suspect':
    case 'dead':
      return void change({ state: what, lastSeenMs: what === 'dead' ? -1e9 : world.nowMs });
    case 'short':
      return void change({ pressure: [{ kind: 'disk', message: 'full' }] });
    case 'flapping':
      return void change({ flapping: true });
    case 'cordoned':
      world.maintenance[name] = { ...said, state: 'cordoned', deadlineAt: null };
      break;
    case 'draining':
    case 'overdue': {
      const deadlineAt = what === 'draining' ? null : '2026-01-01T00:00:00.000Z';
      world.maintenance[name] = { ...said, state: 'draining', deadlineAt };
    }
  }
  change({});
}

function idOf(world: World, item: { instanceId: string; slot: string; revision: string }): string {
  const other = `${item.instanceId}/${item.slot}/0123456789ab`;
  if (!world.settings.componentInstances.some(found => found.id === item.instanceId)) return other;
  if (item.revision === 'current') return settingsIdOf(world, item.instanceId, item.slot);
  const desired = desiredInstances(world).find(found => found.settings.id === item.instanceId)!;
  return item.revision === 'previous' && desired.previous
    ? desired.previous.start(item.slot).settingsId
    : other;
}

function old(settings: World['settings']['componentInstances'][number]) {
  return { ...settings, packageVersion: '0.9.0' };
}
