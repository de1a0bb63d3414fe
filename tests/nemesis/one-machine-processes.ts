/** The operating-system processes of one cluster, found by the folder that their command line or working directory names. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, processFacts, processIdentity, type ProcessIdentity } from '#core';
import { until, type Cluster } from '../support/cluster.ts';

export interface ClusterProcess extends ProcessIdentity {
  parentPid: number;
  command: string;
  /** The host that it belongs to, null for agents, the coordinator and `up`. */
  processId: string | null;
}

/** Linux only. */
export function processesOf(directory: string): ClusterProcess[] {
  const found: ClusterProcess[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(entry)) continue;
    try {
      const command = readFileSync(`/proc/${entry}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
      const cwd = readlinkSync(`/proc/${entry}/cwd`);
      if (!command.includes(directory) && !cwd.startsWith(directory)) continue;
      const environment = readFileSync(`/proc/${entry}/environ`, 'latin1').split('\0');
      const mark = environment.find(line => line.startsWith('HOLDFAST_PROCESS_ID='));
      const facts = processFacts(Number(entry));
      if (!facts || facts.zombie) continue;
      const { pid, startTime, parentPid } = facts;
      found.push({ pid, startTime, parentPid, command, processId: mark?.split('=')[1] ?? null });
    } catch {
      continue; // gone, or another user's
    }
  }
  return found;
}

/** Bundled, or run from its source. */
const isAgent = ({ command }: ClusterProcess) => /\/(?:agent\.js|node-api\/main\.ts) /.test(command);
const isCoordinator = ({ command }: ClusterProcess) =>
  /\/(?:coordinator\.js|coordinator-main\.ts) /.test(command);

/** `up` and its wrapper. */
export function startersOf(cluster: Cluster): ClusterProcess[] {
  return processesOf(cluster.directory).filter(one => one.command.includes(' up --settings '));
}

export function agentsOf(cluster: Cluster): ClusterProcess[] {
  return processesOf(cluster.directory).filter(isAgent);
}

export function sqlProcessesOf(cluster: Cluster): ClusterProcess[] {
  return processesOf(cluster.directory).filter(one => one.command.includes('/sqlite-service/'));
}

export function coordinatorsOf(cluster: Cluster): ClusterProcess[] {
  return processesOf(cluster.directory).filter(isCoordinator);
}

/** What runs and should not, in words. Agents and the coordinator must be there once, hosts be known to their node. */
export function strays(cluster: Cluster): string[] {
  const problems: string[] = [];
  const known = new Map(cluster.nodeUris.flatMap((_, index) => knownHosts(cluster, `node-${index + 1}`)));
  const all = processesOf(cluster.directory);
  const byPid = new Map(all.map(one => [one.pid, one]));
  for (const one of all) {
    if (one.processId === null) continue;
    const pid = known.get(one.processId);
    if (pid === undefined) problems.push(`process ${one.pid} of ${one.processId}, which no node knows`);
    else if (!descends(one, pid, byPid))
      problems.push(`process ${one.pid} of ${one.processId} outlived its host`);
  }
  const agents = all.filter(isAgent).length;
  if (agents !== cluster.nodeUris.length) problems.push(`${agents} agents`);
  const coordinators = all.filter(isCoordinator).length;
  if (coordinators !== 1) problems.push(`${coordinators} coordinators`);
  return problems;
}

/** Waits for processes to end; those that have not ended by then, in words. */
export async function outlived(all: readonly ClusterProcess[], withinMs: number): Promise<string[]> {
  try {
    await until('nothing is left', async () => remaining(all).length === 0, withinMs);
    return [];
  } catch {
    return remaining(all).map(({ pid }) => {
      const { command } = all.find(one => one.pid === pid)!;
      return `process ${pid} outlived the cluster by ${withinMs} ms: ${command}`;
    });
  }
}

function remaining(identities: readonly ProcessIdentity[]): ProcessIdentity[] {
  return identities.filter(identity => isRunning(identity));
}

function descends(one: ClusterProcess, pid: number, byPid: ReadonlyMap<number, ClusterProcess>): boolean {
  for (let at: ClusterProcess | undefined = one; at; at = byPid.get(at.parentPid)) {
    if (at.pid === pid) return processIdentity(pid) !== null;
  }
  return false;
}

function knownHosts(cluster: Cluster, node: string): [string, number][] {
  const path = join(cluster.stateRoot, 'nodes', node, 'processes.json');
  const { hosts } = JSON.parse(readFileSync(path, 'utf8')) as {
    hosts: Record<string, { processId: string; pid: number | null }>;
  };
  return Object.values(hosts).flatMap(({ processId, pid }) => (pid === null ? [] : [[processId, pid]]));
}
