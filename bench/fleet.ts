/** A made-up fleet for benches of planning: nodes, instances, and copies that come true as plans say. No processes, no network. */
import { fillInstance, type ClusterSettings, type InstanceSettings } from '#core';
import {
  pielou,
  plan,
  type Action,
  type CatalogEntry,
  type ObservedNode,
  type ObservedProcess,
  type Plan,
  type PlanInput,
} from '#node-manager';

export interface Fleet {
  settings: ClusterSettings;
  nodes: Map<string, ObservedNode>;
  catalog: CatalogEntry[];
  nowMs: number;
}

export const packageNames = Array.from({ length: 10 }, (_, index) => `app-${index}`);

export function createFleet(shape: { nodes: number; instances: number; copies: number }): Fleet {
  const fleet: Fleet = {
    settings: {
      clusterName: 'bench',
      coordination: { kind: 'embedded', urls: [] },
      managers: 1,
      syncIntervalMs: 50_000,
      sessionTtlMs: 5_000,
      holdMs: 10_000,
      orphanGraceMs: 30_000,
      warmSpares: { perNode: 1, memoryMb: 128 },
      rebalance: { threshold: 0.2, movesPerHour: 60 },
      componentHostPackageName: 'component-host',
      nodePackages: [],
      componentPackages: [],
      nodeServers: [],
      componentInstances: Array.from({ length: shape.instances }, (_, index) =>
        instanceOf(index, shape.copies),
      ),
      routes: [],
    },
    nodes: new Map(),
    catalog: packageNames.map(name => entryOf(name, '1.0.0')),
    nowMs: 0,
  };
  for (let index = 0; index < shape.nodes; index++) addNode(fleet, index);
  return fleet;
}

export function addNode(fleet: Fleet, index: number): string {
  const name = `node-${String(index).padStart(4, '0')}`;
  const networkIp = `10.0.${index >> 8}.${index & 255}`;
  fleet.settings = {
    ...fleet.settings,
    nodeServers: [
      ...fleet.settings.nodeServers,
      { networkName: name, networkIp, nodeApiUri: `http://${networkIp}:5100`, capacity: 400, labels: {} },
    ],
  };
  const packages = fleet.catalog.map(entry => ({
    ...entry,
    current: true,
    status: 'ok' as const,
    kind: 'component' as const,
  }));
  fleet.nodes.set(name, {
    name,
    state: 'ready',
    lastSeenMs: 0,
    problem: null,
    packages,
    processes: [],
    pressure: [],
    flapping: false,
  });
  return name;
}

/** The next version of every package, on every node already. */
export function release(fleet: Fleet, version: string): void {
  fleet.catalog = [...fleet.catalog, ...packageNames.map(name => entryOf(name, version))];
  const packages = fleet.catalog.map(entry => ({
    ...entry,
    current: true,
    status: 'ok' as const,
    kind: 'component' as const,
  }));
  for (const [name, node] of fleet.nodes) fleet.nodes.set(name, { ...node, packages });
}

/** Its time is that of the processor, because the machine may be busy with others. */
export function planOf(fleet: Fleet, movesLeft = 0): { made: Plan; ms: number } {
  const input: PlanInput = {
    settings: fleet.settings,
    catalog: fleet.catalog,
    observed: [...fleet.nodes.values()],
    failures: new Map(),
    restarts: {},
    maintenance: {},
    rollouts: {},
    movesLeft,
    managerId: null,
    nowMs: fleet.nowMs,
    now: '2026-01-01T00:00:00.000Z',
    deadAfterMs: 15_000,
  };
  const before = process.threadCpuUsage();
  const made = plan(input);
  const { user, system } = process.threadCpuUsage(before);
  return { made, ms: (user + system) / 1_000 };
}

/** Makes the actions come true; what was started is healthy at once. */
export function come(fleet: Fleet, actions: readonly Action[]): void {
  const changed = new Map<string, ObservedProcess[]>();
  const processesOf = (name: string) => {
    let list = changed.get(name);
    if (!list) changed.set(name, (list = [...fleet.nodes.get(name)!.processes]));
    return list;
  };
  const stopped = new Set<string>();
  for (const action of actions) {
    if (action.type === 'stop') {
      stopped.add(action.processId);
      processesOf(action.node);
    } else if (action.type === 'start') processesOf(action.node).push(processOf(fleet, action));
  }
  for (const [name, processes] of changed) {
    const left = stopped.size === 0 ? processes : processes.filter(item => !stopped.has(item.processId));
    fleet.nodes.set(name, { ...fleet.nodes.get(name)!, processes: left });
  }
  fleet.nowMs += 10_000;
}

/** Mean of the nodes' J'. */
export function meanEvenness(perNode: readonly ReadonlyMap<string, number>[]): number {
  return perNode.reduce((sum, types) => sum + pielou(types.values()), 0) / perNode.length;
}

export function typesOnNodes(fleet: Fleet): Map<string, number>[] {
  return [...fleet.nodes.values()]
    .filter(node => node.state === 'ready')
    .map(node => typesOf(node.processes));
}

export function loadsOf(fleet: Fleet): number[] {
  return [...fleet.nodes.values()].filter(node => node.state === 'ready').map(node => node.processes.length);
}

function typesOf(processes: readonly ObservedProcess[]): Map<string, number> {
  const types = new Map<string, number>();
  for (const { packageName } of processes) types.set(packageName, (types.get(packageName) ?? 0) + 1);
  return types;
}

function instanceOf(index: number, copies: number): InstanceSettings {
  const packageName = packageNames[index % packageNames.length]!;
  return fillInstance({ id: `instance-${index}`, packageName, instances: copies });
}

function entryOf(packageName: string, packageVersion: string): CatalogEntry {
  return {
    packageName,
    packageVersion,
    kind: 'component',
    sha256: `${packageName} ${packageVersion}`,
    problem: null,
  };
}

function processOf(fleet: Fleet, action: Action & { type: 'start' }): ObservedProcess {
  const { packageName, settingsId, instanceId, request, node } = action;
  const packageVersion = request.version!;
  return {
    processId: `${node} ${settingsId} ${fleet.nowMs}`,
    pid: 1,
    packageName,
    packageVersion,
    settingsId,
    component: { packageName, packageVersion, instanceId, state: 'Started' },
    state: 'Running',
    hostUri: null,
    startedAt: '2026-01-01T00:00:00.000Z',
    restarts: 0,
    host: { state: 'Started', health: { ready: true }, ownedKeys: 0, errors: [], publisher: null },
    lastExit: null,
    healthySinceMs: fleet.nowMs,
  };
}
