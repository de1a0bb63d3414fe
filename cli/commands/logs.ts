/** `holdfast logs <instance or processId>`: the ends of the logs, fetched from the nodes where the processes run. */
import { HoldfastError, type MasterHost } from '#core';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine } from '../output.ts';
import type { Environment } from '../environment.ts';

export async function runLogs(
  target: string,
  options: ConnectOptions & { tail: string; json?: boolean },
  { cwd, stdout }: Environment,
): Promise<void> {
  const tail = Number(options.tail);
  if (!Number.isInteger(tail) || tail < 1) {
    throw new HoldfastError('HF_USAGE', `--tail is "${options.tail}", expected a number of lines`);
  }
  const cluster = await connectToCluster(cwd, options);
  const hosts = await cluster.master.hosts();
  const wanted = hosts.filter(host => isMeant(host, target));
  if (wanted.length === 0) {
    const known = [...new Set(hosts.flatMap(host => host.component?.instanceId ?? []))].sort();
    throw new HoldfastError(
      'HF_PROCESS_NOT_FOUND',
      `no process runs for "${target}"; instances that run: ${known.join(', ') || 'none'}`,
    );
  }
  const logs = await Promise.all(
    wanted.map(async host => ({
      processId: host.processId,
      nodeName: host.nodeName,
      text: await cluster.node(host.nodeApiUri).logs(host.packageName, host.processId, { tail }),
    })),
  );
  if (options.json) {
    stdout.write(jsonLine(logs));
    return;
  }
  for (const { processId, nodeName, text } of logs) {
    if (logs.length > 1) stdout.write(`==> ${processId} on ${nodeName} <==\n`);
    stdout.write(text.endsWith('\n') || text === '' ? text : `${text}\n`);
  }
}

function isMeant(host: MasterHost, target: string): boolean {
  return host.processId === target || host.component?.instanceId === target || host.settingsId === target;
}
