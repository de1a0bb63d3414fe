/** Settings, nodes and processes for tests of planning, made in one place; and a world in which plans come true. */
import {
  fillInstance,
  type NodeMaintenance,
  type ClusterSettings,
  type InstanceSettings,
  type ProcessState,
} from '#core';
import {
  desiredInstances,
  nextFailure,
  plan,
  type Action,
  type CatalogEntry,
  type Failure,
  type ObservedNode,
  type ObservedProcess,
  type Plan,
  type PlanInput,
  type Rollout,
} from '#node-manager';
import { HoldfastError } from '#core';
import type { JobDemands } from '../../node-manager/jobs/model.ts';

type Instance = Parameters<typeof fillInstance>[0];

export function instance(id: string, more: Partial<Instance> = {}): InstanceSettings {
  return fillInstance({ id, packageName: 'app', ...more });
}

export function clusterOf(
  nodeNames: readonly string[],
  instances: readonly InstanceSettings[],
  more: Partial<ClusterSettings> = {},
): ClusterSettings {
  return {
    clusterName: 'test',
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
    nodeServers: nodeNames.map((networkName, index) => ({
      networkName,
      networkIp: '127.0.0.1',
      nodeApiUri: `http://127.0.0.1:${5101 + index}`,
      capacity: 16,
      labels: {},
    })),
    componentInstances: [...instances],
    routes: [],
    ...more,
  };
}

export function known(
  packageName: string,
  packageVersion = '1.0.0',
  more: Partial<CatalogEntry> = {},
): CatalogEntry {
  return {
    packageName,
    packageVersion,
    kind: 'component',
    sha256: `sha of ${packageName} ${packageVersion}`,
    problem: null,
    ...more,
  };
}

export function processOf(
  node: string,
  settingsId: string | null,
  more: Partial<ObservedProcess> & { version?: string } = {},
): ObservedProcess {
  const { version = '1.0.0', ...rest } = more;
  const packageName = rest.packageName ?? 'app';
  return {
    processId: `${node}-${settingsId}`,
    pid: 1,
    packageName,
    packageVersion: version,
    settingsId,
    component: {
      packageName,
      packageVersion: version,
      instanceId: settingsId?.split('/')[0] ?? '',
      state: 'Started',
    },
    state: 'Running',
    hostUri: null,
    startedAt: '2026-01-01T00:00:00.000Z',
    restarts: 0,
    host: { state: 'Started', health: { ready: true }, ownedKeys: 0, errors: [], publisher: null },
    lastExit: null,
    healthySinceMs: -1_000_000,
    ...rest,
  };
}

export function nodeOf(
  name: string,
  processes: ObservedProcess[] = [],
  more: Partial<ObservedNode> = {},
): ObservedNode {
  return {
    name,
    state: 'ready',
    lastSeenMs: 0,
    problem: null,
    packages: [],
    processes,
    pressure: [],
    flapping: false,
    ...more,
  };
}

export interface World {
  settings: ClusterSettings;
  catalog: CatalogEntry[];
  nodes: Map<string, ObservedNode>;
  failures: Map<string, Failure>;
  restarts: Record<string, string>;
  maintenance: Record<string, NodeMaintenance>;
  rollouts: Record<string, Rollout>;
  jobs?: JobDemands;
  movesLeft: number;
  managerId: string | null;
  nowMs: number;
  deadAfterMs: number;
}

export function worldOf(settings: ClusterSettings, catalog: CatalogEntry[], nodes: ObservedNode[]): World {
  return {
    settings,
    catalog,
    nodes: new Map(nodes.map(node => [node.name, node])),
    failures: new Map(),
    restarts: {},
    maintenance: {},
    rollouts: {},
    movesLeft: 0,
    managerId: null,
    nowMs: 0,
    deadAfterMs: 15_000,
  };
}

export function inputOf(world: World): PlanInput {
  const now = new Date(1_800_000_000_000 + world.nowMs).toISOString();
  return { ...world, now, observed: [...world.nodes.values()] };
}

export function planOf(world: World): Plan {
  return plan(inputOf(world));
}

/** The settingsId that a slot shall have. */
export function settingsIdOf(world: World, instanceId: string, slot: string): string {
  const desired = desiredInstances(world).find(found => found.settings.id === instanceId);
  return desired!.start(slot).settingsId;
}

/** A copy as the plan wants it. */
export function currentCopy(world: World, node: string, instanceId: string, slot: string): ObservedProcess {
  const found = world.settings.componentInstances.find(item => item.id === instanceId)!;
  return processOf(node, settingsIdOf(world, instanceId, slot), { packageName: found.packageName });
}

/** Makes one action come true, or fail when `breaks` says so. */
export function applyAction(world: World, action: Action, breaks: (action: Action) => boolean): boolean {
  const node = world.nodes.get(action.node)!;
  if (breaks(action)) {
    const error = new HoldfastError('HF_START_FAILED', 'it was told to fail');
    world.failures.set(action.id, nextFailure(world.failures.get(action.id), action, error, world.nowMs));
    return false;
  }
  world.failures.delete(action.id);
  const change = (more: Partial<ObservedNode>) => world.nodes.set(action.node, { ...node, ...more });
  switch (action.type) {
    case 'upload-package': {
      const { packageName, packageVersion, makeCurrent } = action;
      const entry = world.catalog.find(
        item => item.packageName === packageName && item.packageVersion === packageVersion,
      )!;
      const others = node.packages
        .filter(item => item.packageName !== packageName || item.packageVersion !== packageVersion)
        .map(item => (makeCurrent && item.packageName === packageName ? { ...item, current: false } : item));
      const status = 'ok' as const;
      const kind = entry.kind ?? 'component';
      change({
        packages: [
          ...others,
          { packageName, packageVersion, sha256: entry.sha256, current: makeCurrent, status, kind },
        ],
      });
      return true;
    }
    case 'stop':
      change({ processes: node.processes.filter(item => item.processId !== action.processId) });
      return true;
    case 'resign': {
      const heir = [...world.nodes.values()]
        .flatMap(found => found.processes)
        .find(item => item.packageName === 'node-manager' && item.processId !== world.managerId);
      world.managerId = heir?.processId ?? world.managerId;
      return true;
    }
    case 'start': {
      const state: ProcessState = 'Running';
      const started = processOf(action.node, action.settingsId, {
        processId: `${action.node}-${action.settingsId}-${world.nowMs}`,
        packageName: action.packageName,
        version: action.request.version!,
        state,
        healthySinceMs: world.nowMs,
      });
      change({ processes: [...node.processes, started] });
      return true;
    }
  }
}

/** All actions of a plan in their order; what needs a failed one is left out. */
export function applyPlan(
  world: World,
  actions: readonly Action[],
  breaks: (action: Action) => boolean = () => false,
) {
  const failed = new Set<string>();
  for (const action of actions) {
    if (action.needs.some(id => failed.has(id)) || !applyAction(world, action, breaks)) failed.add(action.id);
  }
}

/** Plans and applies until nothing is left to do. Fails when that takes too long. */
export function converge(
  world: World,
  options: {
    breaks?: (action: Action) => boolean;
    onPlan?: (made: Plan) => void;
    roundsMax?: number;
  } = {},
): Plan {
  for (let round = 0; round < (options.roundsMax ?? 300); round++) {
    const made = planOf(world);
    options.onPlan?.(made);
    if (made.actions.length === 0 && made.dueInMs === null) return made;
    applyPlan(world, made.actions, options.breaks);
    world.nowMs += made.actions.length > 0 ? 100 : made.dueInMs!;
    for (const [name, node] of world.nodes) {
      if (node.state === 'ready') world.nodes.set(name, { ...node, lastSeenMs: world.nowMs });
    }
  }
  throw new Error(
    `no end after many rounds: ${JSON.stringify(planOf(world).actions.map(action => action.id))}`,
  );
}

/** Live copies of an instance by node. */
export function copiesByNode(world: World, instanceId: string): Record<string, number> {
  return Object.fromEntries(
    [...world.nodes.values()].map(node => [
      node.name,
      node.processes.filter(item => item.settingsId?.startsWith(`${instanceId}/`)).length,
    ]),
  );
}
