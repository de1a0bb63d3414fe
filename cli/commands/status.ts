/** `holdfast status`: what the master says about the cluster. */
import type { MasterHost, MasterStatus } from '#core';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine, table } from '../output.ts';
import type { Environment } from '../environment.ts';

export async function runStatus(
  options: ConnectOptions & { json?: boolean },
  { cwd, stdout }: Environment,
): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const [status, hosts] = await Promise.all([master.status(), master.hosts()]);
  stdout.write(options.json ? jsonLine({ ...status, hosts }) : `${describeStatus(status, hosts)}\n`);
}

/** The status as text. Pure. */
export function describeStatus(status: MasterStatus, hosts: readonly MasterHost[]): string {
  const leader = status.leader ? `led by ${status.leader.nodeName}` : 'without a leader';
  const parts = [
    `Cluster ${status.clusterName}, ${leader}`,
    table([
      ['NODE', 'STATE', 'PROCESSES', 'URI'],
      ...status.nodes.map(node => [node.networkName, node.state, String(node.processes), node.nodeApiUri]),
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
  if (status.routes.length > 0) {
    parts.push(
      table([
        ['ROUTE', 'INSTANCE'],
        ...status.routes.map(route => [route.pathPrefix, route.componentInstanceId]),
      ]),
    );
  }
  const problems = problemsOf(status);
  if (problems.length > 0) parts.push(`Problems\n${problems.map(problem => `  ${problem}`).join('\n')}`);
  return parts.join('\n\n');
}

/** Everything that needs the operator, one line each. Pure. */
export function problemsOf(status: MasterStatus): string[] {
  return [
    ...(status.settingsError
      ? [`settings refused (${status.settingsError.source}): ${status.settingsError.message}`]
      : []),
    ...status.nodes.flatMap(node => (node.problem ? [`${node.networkName}: ${node.problem}`] : [])),
    ...status.instances.flatMap(instance => instance.problems.map(problem => `${instance.id}: ${problem}`)),
    ...(status.lastSync?.failed.map(({ action, message }) => `${action}: ${message}`) ?? []),
    ...status.warnings,
  ];
}
