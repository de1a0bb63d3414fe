/** Waits until the cluster does what its settings say, and tells meanwhile how far it is. */
import type { MasterClient } from '#client';
import { HoldfastError, type MasterStatus, type System } from '#core';
import { problemsOf } from '../commands/status.ts';

const pollMs = 100;
/** How long problems must last until nobody waits for them to pass. */
const failingMs = 3_000;
const settingsPollMs = 2_000;

export interface Waiting {
  system: System;
  signal: AbortSignal;
  timeoutMs: number;
}

/** @throws HoldfastError HF_NODE_UNREACHABLE when the master API does not become ready in time */
export async function waitForMaster(master: MasterClient, waiting: Waiting): Promise<void> {
  if (await poll(() => master.ready(), waiting)) return;
  throw new HoldfastError(
    'HF_NODE_UNREACHABLE',
    `the node manager at ${master.uri} is not ready after ${waiting.timeoutMs / 1000} s`,
  );
}

/**
 * Resolves when every instance runs as often as it shall, or when those that do not have failed for a while, or when the time
 * is over; then with what is wrong, in words.
 */
export async function waitForInstances(
  master: MasterClient,
  options: Waiting & { say: (text: string) => void },
): Promise<string[]> {
  const { clock } = options.system;
  let last: MasterStatus | null = null;
  let failingSinceMs: number | null = null;
  const reached = await poll(async () => {
    last = await master.status().catch(() => last); // the master may be between two leaders
    if (!last) return false;
    options.say(describeInstances(last));
    failingSinceMs = isFailing(last) ? (failingSinceMs ?? clock.monotonicMs()) : null;
    const failed = failingSinceMs !== null && clock.monotonicMs() - failingSinceMs >= failingMs;
    return failed || isSettled(last);
  }, options);
  if (!last || (reached && isSettled(last))) return [];
  const problems = problemsOf(last);
  return problems.length > 0
    ? problems
    : [`not everything runs after ${options.timeoutMs / 1000} s: ${describeInstances(last)}`];
}

/** Resolves to whether the router answers in time. */
export function waitForRouter(routerUri: string, waiting: Waiting): Promise<boolean> {
  return poll(async () => {
    try {
      const response = await fetch(routerUri, {
        signal: AbortSignal.any([waiting.signal, AbortSignal.timeout(2_000)]),
      });
      await response.body?.cancel();
      return response.ok;
    } catch {
      return false; // not there yet
    }
  }, waiting);
}

/**
 * Until the signal aborts: says when the settings file is refused and when it is good again, and notes where the managers are.
 */
export async function followCluster(
  master: MasterClient,
  options: {
    system: System;
    signal: AbortSignal;
    say: (text: string) => void;
    noteManagers: (uris: string[]) => Promise<void>;
  },
): Promise<void> {
  const { say, signal, system } = options;
  let last: string | null = null;
  let noted = JSON.stringify([master.uri]);
  while (!signal.aborted) {
    const status = await master.status().catch(() => null); // away for a moment
    const message: string | null = status ? (status.settingsError?.message ?? null) : last;
    if (message !== last) {
      say(
        message === null
          ? 'the settings are good again'
          : `the settings were refused, the cluster runs on: ${message}`,
      );
    }
    last = message;
    const managers = status?.managers.map(({ address }) => address) ?? [];
    if (managers.length > 0 && JSON.stringify(managers) !== noted) {
      await options.noteManagers(managers);
      noted = JSON.stringify(managers);
    }
    await system.timers.sleep(settingsPollMs, signal).catch(() => {}); // aborted: the loop ends
  }
}

/** Whether all copies run. A master that has not read its settings yet has no instances to show. Pure. */
export function isSettled(status: MasterStatus): boolean {
  return (
    status.settings !== null &&
    status.lastSync !== null &&
    status.instances.every(instance => instance.running >= instance.desired)
  );
}

/** Whether nothing is on its way any more: what does not run has a problem. Pure. */
export function isFailing(status: MasterStatus): boolean {
  const missing = status.instances.filter(instance => instance.running < instance.desired);
  return missing.length > 0 && missing.every(instance => instance.problems.length > 0);
}

function describeInstances(status: MasterStatus): string {
  return status.instances.map(({ id, running, desired }) => `${id} ${running}/${desired}`).join(', ');
}

async function poll(probe: () => Promise<boolean>, { system, signal, timeoutMs }: Waiting): Promise<boolean> {
  const deadlineMs = system.clock.monotonicMs() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    if (await probe()) return true;
    if (system.clock.monotonicMs() >= deadlineMs) return false;
    await system.timers.sleep(pollMs, signal);
  }
}
