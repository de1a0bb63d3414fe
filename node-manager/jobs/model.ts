/** What is known of a job: what a leader must find again (its note), what it sees, and what it demands. Wall-clock times are milliseconds since 1970. */
import type {
  InstanceSettings,
  JobRecord,
  JobRunRequest,
  JobRunStatus,
  JobTrigger,
  NodeReachability,
} from '#core';

/** One try to complete a run. */
export interface Attempt {
  /** Counts the runs of this job from 1, and never goes back. */
  readonly number: number;
  readonly runId: string;
  readonly attempt: number;
  /** ISO 8601: when the run was due. */
  readonly scheduledAt: string;
  readonly trigger: JobTrigger;
  /** When this attempt was demanded. */
  readonly demandedMs: number;
  /** Not to be started before, because the attempt before failed; and how long that pause is. */
  readonly notBeforeMs: number;
  readonly pauseMs: number;
  readonly timeoutMs: number;
  /** Where its process was seen; null: nowhere yet. */
  readonly seen: { readonly node: string; readonly processId: string } | null;
}

/** The document of one job in the coordination store. */
export interface JobNote {
  /** What its due times follow from; null: it was never declared. */
  readonly declaration: string | null;
  /** Times up to this one are dealt with. */
  readonly handledMs: number;
  /** How many runs there were, this one included. */
  readonly runs: number;
  readonly active: Attempt | null;
  /** A time that came while a run was under way, ISO 8601. */
  readonly pending: { readonly scheduledAt: string; readonly trigger: JobTrigger } | null;
  /** Times that were left out, see `misfire`. */
  readonly skipped: number;
  /** Newest first. */
  readonly history: readonly JobRecord[];
}

export const emptyJob: JobNote = {
  declaration: null,
  handledMs: 0,
  runs: 0,
  active: null,
  pending: null,
  skipped: 0,
  history: [],
};

/** A process of the job, as its node shows it. */
export interface SeenRun {
  readonly slot: string;
  readonly node: string;
  readonly processId: string;
  /** What its host says of the run. */
  readonly status: JobRunStatus | null;
  /** How long this manager has seen it, on the monotonic clock. */
  readonly seenForMs: number;
  /** Why the process has ended, if it has. */
  readonly ended: string | null;
}

/** What a step decides from, besides the note. */
export interface JobFacts {
  readonly instance: InstanceSettings;
  /** Of the instance as it shall be now; null while it has no package. */
  readonly revisionId: string | null;
  readonly nowMs: number;
  readonly seen: readonly SeenRun[];
  /** `dead` also for one that is not in the settings, or was never seen in the time in which a silent one is given up. */
  readonly nodeState: (name: string) => NodeReachability;
  /** Why the demanded attempt cannot be started, for reasons that trying again does not mend. */
  readonly failure: { readonly code: string; readonly message: string } | null;
  /** The highest number of a run that any host began, as far as known. */
  readonly begunNumber: number;
}

/** What shall run now. */
export interface JobDemand {
  readonly instanceId: string;
  readonly slot: string;
  readonly request: JobRunRequest;
  /** Its process was seen before: it is not started again, whatever became of that. */
  readonly begun: boolean;
}

/** The slot of an attempt's process: another for every attempt. */
export function slotOf({ runId, attempt }: Pick<Attempt, 'runId' | 'attempt'>): string {
  return `${runId}-${attempt}`;
}

/** A clock that was put back makes no pause longer. */
export function pauseLeftMs({ notBeforeMs, pauseMs }: Attempt, nowMs: number): number {
  const left = notBeforeMs - nowMs;
  return left > pauseMs ? 0 : Math.max(0, left);
}

export function demandOf(instanceId: string, note: JobNote, nowMs: number): JobDemand | null {
  const { active } = note;
  if (!active || pauseLeftMs(active, nowMs) > 0) return null;
  const { number, runId, attempt, scheduledAt, timeoutMs } = active;
  return {
    instanceId,
    slot: slotOf(active),
    request: { number, runId, attempt, scheduledAt, timeoutMs },
    begun: active.seen !== null,
  };
}

/** By instance id; null: nothing of that job shall run. */
export type JobDemands = Readonly<Record<string, JobDemand | null>>;
