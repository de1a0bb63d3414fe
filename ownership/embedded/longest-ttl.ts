/**
 * What must be known of a store that was lost: for how long its sessions may still be believed in by their hosts. That is the longest
 * time to live of any session since the machine started, in a small file beside the database, written before such a session is granted.
 *
 * It names the boot of the machine, because a machine that was started anew has no hosts left. So it needs no sync: a killed process
 * leaves what it wrote in the page cache, and after a power cut the boot is another.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';

export interface LongestTtl {
  /** Milliseconds, 0 when no session was granted since the machine started; null when the file does not tell. */
  readonly ttlMs: number | null;
  /** Call before a session with this time to live is granted. Throws when it cannot be written. */
  see(ttlMs: number): void;
}

export function openLongestTtl(path: string, bootId: string): LongestTtl {
  let longestMs = read(path, bootId);
  return {
    get ttlMs() {
      return longestMs;
    },
    see(ttlMs) {
      if (longestMs !== null && ttlMs <= longestMs) return;
      writeFileSync(`${path}.tmp`, JSON.stringify({ bootId, ttlMs }), { mode: 0o600 });
      renameSync(`${path}.tmp`, path);
      longestMs = ttlMs;
    },
  };
}

function read(path: string, bootId: string): number | null {
  try {
    const found: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof found !== 'object' || found === null || !('bootId' in found) || !('ttlMs' in found))
      return null;
    if (found.bootId !== bootId) return typeof found.bootId === 'string' ? 0 : null;
    return typeof found.ttlMs === 'number' && found.ttlMs >= 0 ? found.ttlMs : null;
  } catch {
    return null; // not there, or damaged: the caller assumes the worst
  }
}
