/** The most memory that processes had in a while, and what they have. */
import { readFileSync } from 'node:fs';

const pageBytes = 4_096;
const everyMs = 50;

/** Resident memory of them together, bytes; one that has ended counts nothing. */
export function residentBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    try {
      return sum + Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * pageBytes;
    } catch {
      return sum; // it has ended
    }
  }, 0);
}

/** Looks again and again until it is told to stop; then answers with the most. */
export function watchMemory(pids: readonly number[]): () => number {
  let peak = residentBytes(pids);
  const timer = setInterval(() => (peak = Math.max(peak, residentBytes(pids))), everyMs);
  return () => {
    clearInterval(timer);
    return Math.max(peak, residentBytes(pids));
  };
}
