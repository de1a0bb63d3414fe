/**
 * The live copies of instances, read from what nodes show. Only processes with a settingsId that a manager made are
 * copies: what an operator started by hand on a node is nobody's business here, and neither are managers. Pure.
 */
import { MANAGER_PACKAGE, parseSettingsId } from './desired.ts';
import type { ObservedNode, ObservedProcess } from './model.ts';

/** `healthy`: Started and ready. `failing`: it does not get there, or fell out of it. */
export type Condition = 'healthy' | 'starting' | 'failing' | 'stopping';

export interface Copy {
  node: string;
  /** False: seen earlier on a node that does not answer now, and is not given up yet. */
  reachable: boolean;
  instanceId: string;
  slot: string;
  generation: string;
  settingsId: string;
  packageVersion: string;
  condition: Condition;
  process: ObservedProcess;
}

/**
 * All copies by instance id, on every node that is not given up.
 * @param onOther told of each live process that is no copy: a node manager, or what an operator started by hand
 */
export function copiesByInstance(
  observed: readonly ObservedNode[],
  nowMs: number,
  deadAfterMs: number,
  onOther: (node: ObservedNode, process: ObservedProcess) => void = () => {},
): Map<string, Copy[]> {
  const found = new Map<string, Copy[]>();
  for (const node of observed) {
    const { copies, others } = readProcesses(node);
    for (const process of others) onOther(node, process);
    if (node.state === 'unknown' || graceLeftMs(node, nowMs, deadAfterMs) === 0) continue;
    for (const copy of copies) {
      const present = found.get(copy.instanceId);
      if (present) present.push(copy);
      else found.set(copy.instanceId, [copy]);
    }
  }
  return found;
}

interface NodeProcesses {
  reachable: boolean;
  copies: Copy[];
  others: ObservedProcess[];
}

/** A plan is made several times from the same look at a node. */
const lastRead = new WeakMap<readonly ObservedProcess[], NodeProcesses>();

function readProcesses(node: ObservedNode): NodeProcesses {
  const reachable = node.state === 'ready';
  const before = lastRead.get(node.processes);
  if (before?.reachable === reachable) return before;
  const read: NodeProcesses = { reachable, copies: [], others: [] };
  for (const process of node.processes) {
    if (process.state === 'Exited') continue;
    const parsed = isManager(process) ? null : parseSettingsId(process.settingsId);
    if (parsed) read.copies.push(copyOf(node, process, parsed));
    else read.others.push(process);
  }
  lastRead.set(node.processes, read);
  return read;
}

/** How long an unreachable node's copies still count; Infinity for one that answers. */
export function graceLeftMs(node: ObservedNode, nowMs: number, deadAfterMs: number): number {
  if (node.state === 'ready' || node.state === 'unknown') return Infinity;
  return Math.max(0, (node.lastSeenMs ?? -Infinity) + deadAfterMs - nowMs);
}

/** Whether the process is a node manager, however it was started. */
export function isManager(process: ObservedProcess): boolean {
  return (
    process.packageName === MANAGER_PACKAGE ||
    process.component?.packageName === MANAGER_PACKAGE ||
    (process.settingsId?.startsWith(`${MANAGER_PACKAGE}/`) ?? false)
  );
}

/** A live process that is no copy of an instance: a node manager, or what an operator started by hand. */
export function isNoCopy(process: ObservedProcess): boolean {
  return process.state !== 'Exited' && (isManager(process) || parseSettingsId(process.settingsId) === null);
}

/** What is wrong with a failing copy, in words. */
export function failureOf(copy: Copy): string {
  const { process } = copy;
  const error = process.host?.errors.at(-1);
  const cause = error
    ? `${error.code}: ${error.message}`
    : (process.lastExit?.reason ?? 'no cause was given');
  const state = process.state === 'Running' ? (process.host?.state ?? 'Running') : process.state;
  return `copy ${copy.slot} on ${copy.node} is ${state} after ${process.restarts} restarts: ${cause}`;
}

function copyOf(
  node: ObservedNode,
  process: ObservedProcess,
  { instanceId, slot, generation }: NonNullable<ReturnType<typeof parseSettingsId>>,
): Copy {
  return {
    node: node.name,
    reachable: node.state === 'ready',
    instanceId,
    slot,
    generation,
    settingsId: process.settingsId!,
    packageVersion: process.component?.packageVersion ?? process.packageVersion,
    condition: conditionOf(process),
    process,
  };
}

function conditionOf(process: ObservedProcess): Condition {
  switch (process.state) {
    case 'Starting':
      return 'starting';
    case 'Stopping':
      return 'stopping';
    case 'BackingOff':
    case 'CrashLoop':
    case 'Exited':
      return 'failing';
    case 'Running':
      break;
  }
  const state = process.host?.state ?? process.component?.state;
  switch (state) {
    case 'Started':
      return process.host?.health.ready === false ? 'starting' : 'healthy';
    case 'Errored':
    case 'Stopped':
      return 'failing';
    case 'Stopping':
    case 'Destroyed':
      return 'stopping';
    default:
      return 'starting';
  }
}
