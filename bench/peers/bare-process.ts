/** Starts and measures bare Node processes, and measures others. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const program = join(import.meta.dirname, 'bare-server.js');

/** A bare server that listens. */
export async function startBareServer(port = 0): Promise<{ child: ChildProcess; uri: string }> {
  const child = spawn(process.execPath, [program, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout!, 'data')) as [Buffer];
  return { child, uri: `http://127.0.0.1:${line.toString().trim()}` };
}

/** Proportional and resident set size, bytes. Linux only. */
export function memoryOf(pid: number): { pssBytes: number; rssBytes: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}: +([0-9]+) kB`, 'm').exec(text)![1]) * 1024;
  return { pssBytes: field('Pss'), rssBytes: field('Rss') };
}

/** CPU time used so far, user and system, milliseconds; the kernel counts in steps of 10. Linux only. */
export function cpuMsOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The command in parentheses may hold anything, so fields are counted from the last ')'.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** CPU time used so far by all threads that live, milliseconds, as the scheduler counts it: to the nanosecond. Linux only. */
export function threadCpuMsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
    try {
      return (
        sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]) / 1e6
      );
    } catch {
      return sum; // it has ended meanwhile
    }
  }, 0);
}

/** The processes of this machine and who started them. Linux only. */
export function allProcesses(): { pid: number; parentPid: number }[] {
  const found: { pid: number; parentPid: number }[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^[1-9][0-9]*$/.test(name)) continue;
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'latin1');
      const parentPid = Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
      found.push({ pid: Number(name), parentPid });
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}
