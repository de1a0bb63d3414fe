/** `holdfast status`: what the master says about the cluster, and how each node sees the coordination store. */
import type { MasterHost, MasterStatus, NodeCoordination } from '#core';
import { connectToCluster, type ClusterConnection, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine, table } from '../output.ts';
import type { Environment } from '../environment.ts';

export async function runStatus(
  options: ConnectOptions & { json?: boolean },
  { cwd, stdout }: Environment,
): Promise<void> {
  const cluster = await connectToCluster(cwd, options);
  const [status, hosts] = await Promise.all([cluster.master.status(), cluster.master.hosts()]);
  const stores = await askStores(cluster, status);
  stdout.write(
    options.json
      ? jsonLine({ ...status, hosts, coordination: stores })
      : `${describeStatus(status, hosts, stores)}\n`,
  );
}

/** By `networkName`; null for a node that does not say. */
export type Stores = Record<string, NodeCoordination | null>;

const storeTimeoutMs = 5_000;

/** Asked of the nodes themselves: the master may well be cut off from a store that they reach, or the other way round. */
async function askStores(cluster: ClusterConnection, status: MasterStatus): Promise<Stores> {
  const answers = status.nodes.map(async ({ networkName, nodeApiUri, state }) => {
    if (state !== 'ready') return [networkName, null] as const;
    const node = cluster.node(nodeApiUri);
    const seen = await node.coordination({ timeoutMs: storeTimeoutMs }).catch(() => null); // its state tells why
    return [networkName, seen] as const;
  });
  return Object.fromEntries(await Promise.all(answers));
}

/** The status as text. Pure. */
export function describeStatus(
  status: MasterStatus,
  hosts: readonly MasterHost[],
  stores: Stores = {},
): string {
  const leader = status.leader ? `led by ${status.leader.nodeName}` : 'without a leader';
  const parts = [
    `Cluster ${status.clusterName}, ${leader}${describeStandbys(status)}; evenness ${status.evenness.toFixed(3)}, ${Math.round(status.evennessScore * 100)} % of the best`,
    table([
      ['NODE', 'STATE', 'PROCESSES', 'COORDINATION', 'URI'],
      ...status.nodes.map(node => [
        node.networkName,
        node.maintenance ? `${node.state}, ${node.drained ? 'drained' : node.maintenance.state}` : node.state,
        String(node.processes),
        describeStore(stores[node.networkName] ?? null),
        node.nodeApiUri,
      ]),
    ]),
    table([
      ['INSTANCE', 'PACKAGE', 'VERSION', 'RUNNING', 'NODES'],
      ...status.instances.map(instance => [
        instance.id,
        instance.packageName,
        Object.keys(instance.versions).join(', ') || (instance.packageVersion ?? '-'),
        `${instance.running}/${instance.desired}`,
        instance.nodes.join(', ') || '-',
      ]),
    ]),
    table([
      ['PROCESS', 'PID', 'INSTANCE', 'STATE', 'KEYS', 'RESTARTS'],
      ...hosts.map(host => [
        host.processId,
        host.pid === null ? '-' : String(host.pid),
        host.component?.instanceId ?? '-',
        host.state,
        host.host ? String(host.host.ownedKeys) : '-',
        String(host.restarts),
      ]),
    ]),
  ];
  const changing = status.instances.filter(instance => instance.deployment !== null);
  if (changing.length > 0) {
    parts.push(
      table([
        ['DEPLOYMENT', 'STATE', 'TO', 'COPIES', 'WHY'],
        ...changing.map(({ deployment }) => [
          deployment!.id,
          deployment!.state,
          deployment!.packageVersion,
          deployment!.progress ? `${deployment!.progress.available}/${deployment!.progress.desired}` : '-',
          deployment!.reason ?? '',
        ]),
      ]),
    );
  }
  if (status.routes.length > 0) {
    parts.push(
      table([
        ['ROUTE', 'INSTANCE'],
        ...status.routes.map(route => [route.pathPrefix, route.componentInstanceId]),
      ]),
    );
  }
  const problems = [...problemsOf(status), ...storeProblems(stores)];
  if (problems.length > 0) parts.push(`Problems\n${problems.map(problem => `  ${problem}`).join('\n')}`);
  return parts.join('\n\n');
}

function describeStandbys({ managers, leader }: MasterStatus): string {
  const others = managers.filter(({ processId }) => processId !== leader?.processId);
  return others.length === 0 ? '' : `; standing by: ${others.map(({ nodeName }) => nodeName).join(', ')}`;
}

function describeStore(seen: NodeCoordination | null): string {
  if (!seen) return '-';
  const place = seen.kind === 'redis' ? `redis ${seen.endpoints.join(' ')}` : seen.kind;
  return seen.reachable ? place : `${place} (away)`;
}

/** What each node has to say of the store; the same words of many nodes are one line. Pure. */
function storeProblems(stores: Stores): string[] {
  const nodes = new Map<string, string[]>();
  for (const [name, seen] of Object.entries(stores)) {
    const waiting = seen?.sessionsToEnd ?? 0;
    const told = [
      ...(seen?.problem ? [`coordination store: ${seen.problem}`] : []),
      ...(seen?.warnings ?? []).map(warning => `coordination store: ${warning}`),
      ...(waiting > 0 ? [`${waiting} dead processes have sessions that cannot be ended yet`] : []),
    ];
    for (const text of told) nodes.set(text, [...(nodes.get(text) ?? []), name]);
  }
  return [...nodes].map(([text, names]) => `${names.join(', ')}: ${text}`);
}

/** Everything that needs the operator, one line each. Pure. */
export function problemsOf(status: MasterStatus): string[] {
  const paused = status.reconciliationPaused;
  return [
    ...(paused
      ? [
          `reconciliation is paused since ${paused.since} by ${paused.by}${paused.reason === null ? '' : ` (${paused.reason})`}`,
        ]
      : []),
    ...(status.settingsError
      ? [`settings refused (${status.settingsError.source}): ${status.settingsError.message}`]
      : []),
    ...status.nodes.flatMap(node => (node.problem ? [`${node.networkName}: ${node.problem}`] : [])),
    ...status.instances.flatMap(instance => instance.problems.map(problem => `${instance.id}: ${problem}`)),
    ...(status.lastSync?.failed.map(({ action, message }) => `${action}: ${message}`) ?? []),
    ...status.warnings,
  ];
}
