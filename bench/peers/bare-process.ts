/** Starts and measures bare Node processes. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
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
