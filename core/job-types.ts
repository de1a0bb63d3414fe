/** What the master's API tells of jobs. Types only; the contract is docs/api.md. All times are ISO 8601 UTC. */

/** `cron`: its time came; `once`: it was declared; or who asked for it. */
export type JobTrigger =
  { readonly kind: 'cron' | 'once' } | { readonly kind: 'operator'; readonly by: string };

/** `lost`: it may have been done in part, but nobody can tell: its process or its node is gone, or its lease ended. */
export type JobOutcome = 'succeeded' | 'failed' | 'lost' | 'cancelled';

/** One attempt that has ended, as the history keeps it. */
export interface JobRecord {
  readonly runId: string;
  /** 1 for the first try of the run. */
  readonly attempt: number;
  /** When the run was due. */
  readonly scheduledAt: string;
  readonly trigger: JobTrigger;
  /** Null: it never began. */
  readonly startedAt: string | null;
  readonly endedAt: string;
  readonly node: string | null;
  readonly processId: string | null;
  readonly outcome: JobOutcome;
  /** JSON text of at most 4 KiB; null: nothing. */
  readonly result: string | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Strictly higher than that of every run that began before. */
  readonly fence: string | null;
}

/** The attempt under way. */
export interface JobActivity {
  runId: string;
  attempt: number;
  scheduledAt: string;
  trigger: JobTrigger;
  /** `pausing` before another try, `starting` until a host runs it. */
  state: 'pausing' | 'starting' | 'running';
  node: string | null;
  processId: string | null;
  startedAt: string | null;
  fence: string | null;
}

export interface JobInfo {
  instanceId: string;
  /** Null: it runs once for each declaration. */
  cron: string | null;
  timeZone: string;
  active: JobActivity | null;
  /** When a run was due that waits for the one under way. */
  pendingSince: string | null;
  /** The next time that it is due by cron. */
  nextAt: string | null;
  last: JobRecord | null;
  /** When a run succeeded last, as far as the history goes. */
  succeededAt: string | null;
  /** Times that were left out, see `misfire`. */
  skipped: number;
}

export interface JobDetail extends JobInfo {
  timeoutMs: number;
  retries: number;
  misfire: 'skip' | 'once';
  /** The next five times. */
  next: string[];
  /** Attempts that have ended, newest first. */
  history: readonly JobRecord[];
}
