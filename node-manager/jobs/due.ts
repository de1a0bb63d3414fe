/**
 * When a job is due: once for each declaration, or by cron. Pure.
 *
 * What must hold: a time comes at most once, also when clocks are put back or another manager leads; of several times that have passed, the
 * latest stands for all of them.
 */
import { cronTimes, type CronTimes, type JobSettings, type JobTrigger } from '#core';
import type { JobNote } from './model.ts';

export interface Due {
  /** When it is due; null: not now. */
  readonly scheduledMs: number | null;
  readonly trigger: JobTrigger;
  readonly declaration: string | null;
  readonly handledMs: number;
  /** Times that are left out. */
  readonly skipped: number;
}

/** So late a time still counts as met, whatever `misfire` says: managers change in the meantime, and machines are busy. */
const punctualMs = 60_000;
/** A clock that was wrong by more than this, and was put right, does not stop the job until it gets there again. */
const clockBackMs = 86_400_000;
/** Beyond so many, times that were left out are not counted. */
const countMax = 1_000;

export function dueNow(
  note: JobNote,
  { job, revisionId, nowMs }: { job: JobSettings; revisionId: string | null; nowMs: number },
): Due {
  if (job.cron === null) return dueOnce(note, revisionId, nowMs);
  const trigger: JobTrigger = { kind: 'cron' };
  const declaration = `cron ${job.timeZone} ${job.cron}`;
  const nothing = { scheduledMs: null, trigger, declaration, skipped: 0 };
  // Times before it was declared are none of its times.
  if (note.declaration !== declaration) return { ...nothing, handledMs: nowMs };
  const handledMs = note.handledMs - nowMs > clockBackMs ? nowMs : note.handledMs;
  const times = timesOf(job.cron, job.timeZone);
  const latest = times.latest(nowMs);
  if (latest === null || latest <= handledMs) return { ...nothing, handledMs };
  const meant = job.misfire === 'once' || nowMs - latest <= punctualMs;
  const passed = countBetween(times, handledMs, latest);
  return {
    scheduledMs: meant ? latest : null,
    trigger,
    declaration,
    handledMs: latest,
    skipped: meant ? passed - 1 : passed,
  };
}

/** The next times, for people and for timers. */
export function nextTimes(job: JobSettings, afterMs: number, count: number): number[] {
  const found: number[] = [];
  if (job.cron === null) return found;
  const times = timesOf(job.cron, job.timeZone);
  for (let at = times.next(afterMs); at !== null && found.length < count; at = times.next(at)) found.push(at);
  return found;
}

/** A changed package, settings, environment, or a restart that was asked for, is another declaration. */
function dueOnce(note: JobNote, revisionId: string | null, nowMs: number): Due {
  const trigger: JobTrigger = { kind: 'once' };
  const declaration = revisionId === null ? note.declaration : `once ${revisionId}`;
  const isNew = declaration !== note.declaration;
  return { scheduledMs: isNew ? nowMs : null, trigger, declaration, handledMs: nowMs, skipped: 0 };
}

function countBetween(times: CronTimes, afterMs: number, untilMs: number): number {
  let count = 0;
  for (let at = times.next(afterMs); at !== null && at <= untilMs && count < countMax; at = times.next(at))
    count++;
  return Math.max(1, count);
}

const parsed = new Map<string, CronTimes>();
const parsedMax = 1_000;

function timesOf(expression: string, timeZone: string): CronTimes {
  const key = `${timeZone} ${expression}`;
  let times = parsed.get(key);
  if (!times) {
    if (parsed.size >= parsedMax) parsed.clear();
    parsed.set(key, (times = cronTimes(expression, timeZone)));
  }
  return times;
}
