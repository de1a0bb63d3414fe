/**
 * Proof that a host is gone: the process itself, its process group, and whatever left the group (`setsid`) but still
 * carries the mark `HOLDFAST_PROCESS_ID` in its environment. Until then nobody may take over what it owned, since a
 * grandchild can hold the same file open. What scrubs its own environment *and* leaves the group is out of reach.
 *
 * A signal never reaches a stranger: single processes are named by pid and start time, and the group is signalled only
 * while its leader's number cannot have been given away (the kernel keeps a number as long as a group bears it).
 */
import { readdirSync, readFileSync } from 'node:fs';
import {
  isRunning,
  processesWithEnvironment,
  processFacts,
  processIdentity,
  signalProcess,
  type ProcessIdentity,
  type System,
} from '#core';

export const processMark = 'HOLDFAST_PROCESS_ID';

/**
 * Kills everything of a host and resolves when nothing of it runs; never gives up by itself. Between two scans of the
 * whole machine only what the last one found is looked at, so that the end of the last of them shows within a
 * millisecond or two: keys wait for it.
 */
export async function buryTree(
  system: System,
  processId: string,
  leader: ProcessIdentity | null,
  signal?: AbortSignal,
): Promise<void> {
  for (;;) {
    const found = killOnce(processId, leader);
    if (found.length === 0) return;
    for (let waitMs = 1; found.some(isRunning); waitMs = Math.min(waitMs * 1.2, 100)) {
      await system.timers.sleep(waitMs, signal);
    }
  }
}

/** Sends SIGKILL to all that still runs, and tells what that was. */
function killOnce(processId: string, leader: ProcessIdentity | null): ProcessIdentity[] {
  const found = processesWithEnvironment(processMark, processId);
  if (leader) {
    if (signalGroup(leader, 'SIGKILL')) found.push(...liveMembers(leader.pid));
    if (isRunning(leader)) found.push(leader);
  }
  for (const identity of found) signalProcess(identity, 'SIGKILL');
  return found;
}

/** Signals the group that this process leads or led; whether the group had a member that is not a zombie. */
export function signalGroup(leader: ProcessIdentity, signal: NodeJS.Signals): boolean {
  const holder = processFacts(leader.pid);
  if (holder && holder.startTime !== leader.startTime) return false; // the number belongs to somebody else now
  try {
    process.kill(-leader.pid, signal);
  } catch {
    return false; // no member left
  }
  if (process.platform !== 'linux') return true; // zombies are reaped soon, and then the signal fails
  // A leader that waits to be reaped keeps its group alive without being able to do anything.
  return liveMembers(leader.pid).length > 0;
}

/** Members of a process group that can still do something. Linux only, else empty. */
function liveMembers(group: number): ProcessIdentity[] {
  return runningPids().flatMap(pid => {
    const facts = processFacts(pid);
    return facts?.processGroup === group && !facts.zombie ? [facts] : [];
  });
}

/** Every marked process of this machine, by its mark: what earlier agents left behind. Linux only, else empty. */
export function markedProcesses(): Map<string, ProcessIdentity[]> {
  const found = new Map<string, ProcessIdentity[]>();
  const prefix = `${processMark}=`;
  for (const pid of runningPids()) {
    const id = environmentOf(pid)
      .find(line => line.startsWith(prefix))
      ?.slice(prefix.length);
    const identity = id ? processIdentity(pid) : null;
    if (id && identity) found.set(id, [...(found.get(id) ?? []), identity]);
  }
  return found;
}

function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
  } catch {
    return []; // gone, or another user's: not ours
  }
}

function runningPids(): number[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter(name => /^[1-9][0-9]*$/.test(name))
    .map(Number);
}
