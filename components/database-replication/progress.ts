/** What the owner of a replication knows of itself, for the status. */
import type { Phase } from './state.ts';

export interface Progress {
  phase: Phase | 'starting' | 'retired';
  position: string | null;
  /** Row changes applied, and conflicts met, since the generation began. */
  rows: number;
  conflicts: number;
  /** Transactions of the target since this owner began. */
  transactions: number;
  /** When what is being applied was committed in the source; null: nothing is. */
  applyingSinceMs: number | null;
  /** How long after its commit in the source the newest change was durable in the target. */
  lastDelayMs: number | null;
  copying: string | null;
}

export function newProgress(): Progress {
  return {
    phase: 'starting',
    position: null,
    rows: 0,
    conflicts: 0,
    transactions: 0,
    applyingSinceMs: null,
    lastDelayMs: null,
    copying: null,
  };
}
