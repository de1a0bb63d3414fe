/** What a copy of the component tells of itself: over HTTP as JSON, and in one line for the health report. */
import type { Progress } from './progress.ts';
import type { Backlog } from './source/source.ts';

export interface Lag {
  /** Row changes that wait. PostgreSQL: those that have been received; `bytes` counts the log that was not. */
  rows: number;
  ms: number;
  bytes: number | null;
}

export interface Status {
  name: string;
  role: 'owner' | 'standby';
  /** The process that owns the replication, as far as this one knows. */
  owner: string | null;
  phase: Progress['phase'] | 'standby' | 'failing';
  position: string | null;
  lag: Lag | null;
  rows: number;
  conflicts: number;
  transactions: number;
  lastDelayMs: number | null;
  copying: string | null;
  warnings: readonly string[];
  error: { code: string | null; message: string } | null;
}

export function lagOf(progress: Progress, backlog: Backlog, nowMs: number): Lag {
  const applyingMs = progress.applyingSinceMs === null ? 0 : Math.max(0, nowMs - progress.applyingSinceMs);
  return {
    rows: backlog.rows,
    ms: Math.round(Math.max(applyingMs, backlog.oldestMs ?? 0)),
    bytes: backlog.bytes,
  };
}

export function healthLine(status: Status): string {
  if (status.error) return `${status.error.code ?? 'failing'}: ${status.error.message}`;
  if (status.role === 'standby') return `standby; ${status.owner ?? 'nobody'} replicates`;
  const { phase, lag, rows, conflicts, copying } = status;
  const behind = lag ? `, ${lag.rows} rows and ${lag.ms} ms behind` : '';
  return `${phase}${copying === null ? '' : ` ${copying}`}${behind}; ${rows} rows applied, ${conflicts} conflicts`;
}
