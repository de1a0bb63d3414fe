/**
 * How far each instance is on its way to the revision that the settings want, and what keeps it: the facts on which deployments decide.
 * Counts slots, not processes, so that a copy that runs beside its replacement for a while counts once. Pure.
 */
import type { ErrorCode } from '#core';
import { copiesByInstance, type Copy } from './copies.ts';
import { MANAGER_PACKAGE, desiredInstances, type DesiredInstance } from './desired.ts';
import { failedAtMs } from './failures.ts';
import type { Failure, PlanInput, Revision } from './model.ts';
import { missingLabel } from './placement.ts';
import { isAvailable } from './rolling.ts';

/** `crash-loop`: its agent gave up restarting it, or it crashed several times since it was started. */
export type FailureKind = 'start-failed' | 'crashed' | 'crash-loop' | 'not-ready';

export interface CopyFailure {
  slot: string;
  node: string;
  kind: FailureKind;
  code: ErrorCode | null;
  message: string;
  /** When a failed start was tried last, monotonic; null: it is so now. */
  failedAtMs: number | null;
}

export interface InstanceProgress {
  instanceId: string;
  packageName: string;
  revision: Revision;
  revisionId: string;
  desired: number;
  updated: number;
  available: number;
  outdated: number;
  /** Copies of other revisions that are well. */
  serving: number;
  failures: CopyFailure[];
}

/** So many crashes of a copy are a loop, however long they take. */
const crashesMax = 3;

/** Of all instances that run for ever and whose packages are known. Managers are no one's to roll back. */
export function progressOf(
  input: Pick<
    PlanInput,
    'settings' | 'catalog' | 'restarts' | 'maintenance' | 'observed' | 'failures' | 'nowMs' | 'deadAfterMs'
  >,
): InstanceProgress[] {
  const copies = copiesByInstance(input.observed, input.nowMs, input.deadAfterMs);
  return desiredInstances(input).flatMap(instance => {
    const { settings, revision, revisionId } = instance;
    if (revision === null || revisionId === null) return [];
    if (settings.job !== null || settings.packageName === MANAGER_PACKAGE) return [];
    return [progress({ ...instance, revision, revisionId }, copies.get(settings.id) ?? [], input)];
  });
}

function progress(
  instance: DesiredInstance & { revision: Revision; revisionId: string },
  copies: readonly Copy[],
  input: Pick<PlanInput, 'settings' | 'maintenance' | 'failures' | 'nowMs'>,
): InstanceProgress {
  const { settings, revision, revisionId } = instance;
  const { update, restart } = settings;
  const slots = new Map<string, { available: boolean }>();
  const outdated = new Set<string>();
  const failures: CopyFailure[] = [];
  let serving = 0;
  for (const copy of copies) {
    if (copy.settingsId !== instance.start(copy.slot).settingsId) {
      outdated.add(copy.slot);
      if (isAvailable(copy, false, update, input.nowMs)) serving += 1;
      continue;
    }
    const available = isAvailable(copy, true, update, input.nowMs);
    slots.set(copy.slot, { available: available || slots.get(copy.slot)?.available === true });
    const failure = failureOfCopy(copy, Math.min(crashesMax, restart.maxAttempts));
    if (failure) failures.push(failure);
  }
  for (const [id, failure] of input.failures) {
    const slot = slotOf(id, instance);
    if (slot !== null && !slots.has(slot)) failures.push(failedStart(slot, failure));
  }
  const updated = [...slots.values()];
  return {
    instanceId: settings.id,
    packageName: settings.packageName,
    revision,
    revisionId,
    desired:
      settings.instances === 'perNode'
        ? input.settings.nodeServers.filter(
            node =>
              missingLabel(settings.constraints.labels, node.labels) === null &&
              // One that is drained has no slot any more.
              input.maintenance[node.networkName]?.state !== 'draining',
          ).length
        : settings.instances,
    updated: updated.length,
    available: updated.filter(slot => slot.available).length,
    outdated: outdated.size,
    serving,
    failures,
  };
}

/** The slot whose start of the desired revision the action id names. */
function slotOf(actionId: string, instance: DesiredInstance): string | null {
  const prefix = `start ${instance.settings.id}/`;
  if (!actionId.startsWith(prefix)) return null;
  const slot = actionId.slice(prefix.length).split('/')[0]!;
  return actionId === `start ${instance.start(slot).settingsId}` ? slot : null;
}

function failedStart(slot: string, failure: Failure): CopyFailure {
  const { node, code, message } = failure;
  return { slot, node, kind: 'start-failed', code, message, failedAtMs: failedAtMs(failure) };
}

function failureOfCopy(copy: Copy, crashes: number): CopyFailure | null {
  const { process, condition, slot, node } = copy;
  if (condition === 'stopping' || !copy.reachable) return null;
  const error = process.host?.errors.at(-1);
  const kind: FailureKind | null =
    process.state === 'CrashLoop' || (process.restarts > 0 && process.restarts >= crashes)
      ? 'crash-loop'
      : process.state === 'BackingOff'
        ? 'crashed'
        : condition === 'failing'
          ? 'start-failed'
          : condition === 'starting'
            ? 'not-ready'
            : null;
  if (kind === null) return null;
  return {
    slot,
    node,
    kind,
    code: (error?.code as ErrorCode | undefined) ?? null,
    message: error
      ? error.message
      : kind === 'not-ready'
        ? (process.host?.health.message ?? `it is ${process.host?.state ?? process.state}`)
        : (process.lastExit?.reason ?? 'no cause was given'),
    failedAtMs: null,
  };
}
