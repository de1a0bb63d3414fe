/** What a process takes of the machine's memory: its own pages, and its share of those that it has in common with others. */
import { readFileSync } from 'node:fs';

/** Bytes; null where the system does not tell (only Linux does), or when the process is gone. */
export function memoryOf(pid: number): number | null {
  try {
    const found = /^Pss: +([0-9]+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'));
    return found && Number(found[1]) * 1024;
  } catch {
    return null;
  }
}
