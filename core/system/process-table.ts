/**
 * Who runs on this machine: processes named by pid *and* start time, so that a reused pid is never mistaken for the
 * process that had it before. Reads /proc (Linux); elsewhere `ps`.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque: clock ticks since boot on Linux. Equal only for the same process. */
  readonly startTime: string;
}

export interface ProcessFacts extends ProcessIdentity {
  readonly parentPid: number;
  readonly processGroup: number;
  readonly zombie: boolean;
  /** CPU time used, user and system, in milliseconds. */
  readonly cpuMs: number;
  readonly rssBytes: number;
}

const onLinux = process.platform === 'linux';
const ticksPerSecond = 100; // USER_HZ is 100 on every Linux architecture that Node runs on
const pageBytes = 4096;

/** The facts of a process that exists (a zombie does), or null. */
export function processFacts(pid: number): ProcessFacts | null {
  if (!onLinux) return psFacts(pid);
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return null; // no such process
  }
  // The command in parentheses may hold anything, so fields are counted from the last ')'.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    startTime: fields[19]!,
    parentPid: Number(fields[1]),
    processGroup: Number(fields[2]),
    zombie: fields[0] === 'Z' || fields[0] === 'X',
    cpuMs: ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond,
    rssBytes: Number(fields[21]) * pageBytes,
  };
}

/** Whether that very process still runs. A zombie counts as gone: it can do nothing any more. */
export function isRunning(identity: ProcessIdentity): boolean {
  const facts = processFacts(identity.pid);
  return facts !== null && !facts.zombie && facts.startTime === identity.startTime;
}

/** Identity of a live process, or null. */
export function processIdentity(pid: number): ProcessIdentity | null {
  const facts = processFacts(pid);
  return facts && !facts.zombie ? { pid, startTime: facts.startTime } : null;
}

/**
 * Sends a signal to that very process, or (`group`) to the process group that it leads. Resolves to false, and sends
 * nothing, when it is gone or its pid was reused.
 */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals, group = false): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(group ? -identity.pid : identity.pid, signal);
    return true;
  } catch {
    return false; // it ended between the look and the signal
  }
}

/** All live processes whose environment has `name=value`: finds what escaped from its process group. Linux only, else []. */
export function processesWithEnvironment(name: string, value: string): ProcessIdentity[] {
  if (!onLinux) return [];
  const wanted = `${name}=${value}`;
  const found: ProcessIdentity[] = [];
  for (const entry of readdirSync('/proc')) {
    if (entry < '1' || entry > '9~') continue;
    try {
      if (!readFileSync(`/proc/${entry}/environ`, 'latin1').split('\0').includes(wanted)) continue;
    } catch {
      continue; // gone, or another user's
    }
    const identity = processIdentity(Number(entry));
    if (identity) found.push(identity);
  }
  return found;
}

function psFacts(pid: number): ProcessFacts | null {
  try {
    const line = execFileSync('ps', ['-o', 'ppid=,pgid=,stat=,rss=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
    }).trim();
    const [ppid, pgid, stat, rss, ...start] = line.split(/\s+/);
    return {
      pid,
      startTime: start.join(' '),
      parentPid: Number(ppid),
      processGroup: Number(pgid),
      zombie: stat!.startsWith('Z'),
      cpuMs: 0,
      rssBytes: Number(rss) * 1024,
    };
  } catch {
    return null;
  }
}
