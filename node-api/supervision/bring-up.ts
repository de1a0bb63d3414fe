/**
 * Brings an entry's host up: takes a spare or spawns a process, waits for its hello, configures and starts it. Either
 * the component runs when this resolves, or it rejects and the caller puts away `entry.host`, whatever has become of it.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, type System } from '#core';
import type { StoredPackage } from '#package-manager';
import type { ProcessStore } from '../store/process-store.ts';
import type { Entry } from './entries.ts';
import type { HostExit, HostProcess } from './host-process.ts';
import type { Hosts } from './hosts.ts';
import type { LaunchQueue } from './launch-queue.ts';
import type { Spares } from './spares.ts';
import type { StartPlan } from './start-plan.ts';
import { within } from './stop-host.ts';

export interface BringUpDeps {
  system: System;
  store: ProcessStore;
  hosts: Hosts;
  spares: Spares;
  launches: LaunchQueue;
  startTimeoutMs: number;
}

/** A process that does not say hello within this gives its turn to the next one all the same. */
const turnMs = 2_000;

/** @throws HoldfastError HF_START_FAILED and what the host itself threw, without secrets; the signal's reason */
export async function bringUp(
  deps: BringUpDeps,
  entry: Entry,
  plan: StartPlan,
  signal: AbortSignal,
): Promise<void> {
  const { system, startTimeoutMs } = deps;
  signal.throwIfAborted();
  const profile = entry.record.request.memoryMb ?? null;
  const spare = deps.spares.take(plan.hostPackage, profile);
  const endTurn = spare ? null : await deps.launches.enter(plan.instanceId, signal);
  const deadlineMs = system.clock.monotonicMs() + startTimeoutMs;
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  stopped.catch(() => {}); // heard only by those who race against it
  const onAbort = () => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  const cancel = system.timers.after(startTimeoutMs, () => {
    reject(startFailed(`it did not start within ${startTimeoutMs} ms`));
  });
  const cancelTurn = endTurn && system.timers.after(turnMs, endTurn);
  try {
    signal.throwIfAborted(); // it may have been stopped in the very moment of its turn
    await obtain(deps, entry, plan, signal, spare);
    if (endTurn) void Promise.race([entry.host!.hello, entry.host!.gone]).then(endTurn);
    try {
      await run(deps, entry.host!, plan, { stopped, deadlineMs });
    } catch (error) {
      // A spare may have died while it waited, unnoticed; that says nothing about the component.
      if (!spare || !entry.host!.ended || entry.host!.status || signal.aborted) throw error;
      await obtain(deps, entry, plan, signal, null);
      await run(deps, entry.host!, plan, { stopped, deadlineMs });
    }
  } catch (error) {
    throw plan.redact(error);
  } finally {
    endTurn?.();
    cancelTurn?.();
    cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

/** The entry names its process on disk before the process gets anything to do. */
async function obtain(
  deps: BringUpDeps,
  entry: Entry,
  plan: StartPlan,
  signal: AbortSignal,
  spare: HostProcess | null,
): Promise<void> {
  const host = spare ?? (await deps.hosts.spawn(plan.hostPackage, entry.record.request.memoryMb ?? null));
  entry.host = host;
  entry.record.processId = host.processId;
  const { packageName, packageVersion }: StoredPackage = plan.hostPackage;
  entry.record.hostPackage = { packageName, packageVersion };
  signal.throwIfAborted();
  await deps.store.save();
}

async function run(
  { system, hosts }: BringUpDeps,
  host: HostProcess,
  plan: StartPlan,
  { stopped, deadlineMs }: { stopped: Promise<never>; deadlineMs: number },
): Promise<void> {
  const died = host.gone.then(async exit => {
    throw startFailed(`its host ${exit.reason}`, await lastWords(hosts.directoryOf(host.processId)), exit);
  });
  died.catch(() => {}); // it may die later, when nobody here listens any more
  const leftMs = () => Math.max(1, deadlineMs - system.clock.monotonicMs());
  try {
    await Promise.race([host.hello, died, stopped]);
    if (!plan.configuration) return;
    await Promise.race([host.request('configure', plan.configuration, leftMs()), died, stopped]);
    await Promise.race([host.request('start', null, leftMs()), died, stopped]);
  } catch (error) {
    // The connection ends a moment before the process does: its exit is the better explanation.
    if (error instanceof HoldfastError && error.code === 'HF_COORDINATION_UNAVAILABLE') {
      await within(system, 1_000, Promise.race([died, stopped]));
    }
    throw asStartFailure(error);
  }
}

/** Whether a start failed because the coordination store could not be asked, which says nothing about what was started. */
export function isStoreAway(error: unknown): boolean {
  if (!(error instanceof HoldfastError)) return false;
  const { cause, code } = error.details as { cause?: { code?: unknown }; code?: unknown };
  return [error.code, cause?.code, code].includes('HF_COORDINATION_UNAVAILABLE');
}

/** What the host refused for a reason of its own keeps its code; the rest is a failed start with its cause. */
function asStartFailure(error: unknown): unknown {
  if (!(error instanceof HoldfastError)) return error;
  if (error.code === 'HF_SETTINGS_INVALID' || error.code === 'HF_START_FAILED') return error;
  const { code, message, details } = error;
  return new HoldfastError('HF_START_FAILED', `it did not start: ${message}`, {
    details: { cause: { code, message, details } },
    cause: error,
  });
}

function startFailed(message: string, stderr = '', exit: HostExit | null = null): HoldfastError {
  return new HoldfastError('HF_START_FAILED', stderr === '' ? message : `${message}: ${stderr}`, {
    details: exit ? { exit } : {},
  });
}

/** The end of what it wrote to stderr: usually the reason. */
async function lastWords(hostDirectory: string): Promise<string> {
  const bytesMax = 2_000;
  try {
    const file = await open(join(hostDirectory, 'stderr.log'));
    try {
      const { size } = await file.stat();
      const { buffer, bytesRead } = await file.read({
        buffer: Buffer.alloc(bytesMax),
        position: Math.max(0, size - bytesMax),
      });
      return buffer.toString('utf8', 0, bytesRead).trim();
    } finally {
      await file.close();
    }
  } catch {
    return ''; // no file, no words
  }
}
