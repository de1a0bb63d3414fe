/** How a job looks from outside: its API shapes, from its note and what is seen of it. Pure. */
import type { InstanceSettings, JobActivity, JobDetail, JobInfo } from '#core';
import { nextTimes } from './due.ts';
import { pauseLeftMs, slotOf, type JobNote, type SeenRun } from './model.ts';

export interface JobView {
  instance: InstanceSettings;
  note: JobNote;
  seen: readonly SeenRun[];
  nowMs: number;
}

const timesShown = 5;

export function infoOf(view: JobView): JobInfo {
  const { instance, note } = view;
  const { cron, timeZone } = instance.job!;
  const succeeded = note.history.find(record => record.outcome === 'succeeded');
  return {
    instanceId: instance.id,
    cron,
    timeZone,
    active: activityOf(view),
    pendingSince: note.pending?.scheduledAt ?? null,
    nextAt: timesOf(view, 1)[0] ?? null,
    last: note.history[0] ?? null,
    succeededAt: succeeded?.endedAt ?? null,
    skipped: note.skipped,
  };
}

export function detailOf(view: JobView): JobDetail {
  const { timeoutMs, retries, misfire } = view.instance.job!;
  return {
    ...infoOf(view),
    timeoutMs,
    retries,
    misfire,
    next: timesOf(view, timesShown),
    history: view.note.history,
  };
}

function timesOf({ instance, note, nowMs }: JobView, count: number): string[] {
  return nextTimes(instance.job!, Math.max(nowMs, note.handledMs), count).map(ms =>
    new Date(ms).toISOString(),
  );
}

function activityOf({ note: { active }, seen, nowMs }: JobView): JobActivity | null {
  if (!active) return null;
  const { runId, attempt, scheduledAt, trigger } = active;
  const run = seen.find(one => one.slot === slotOf(active) && one.processId === active.seen?.processId);
  const state =
    pauseLeftMs(active, nowMs) > 0 ? 'pausing' : run?.status?.state === 'running' ? 'running' : 'starting';
  return {
    runId,
    attempt,
    scheduledAt,
    trigger,
    state,
    node: active.seen?.node ?? null,
    processId: active.seen?.processId ?? null,
    startedAt: run?.status?.startedAt ?? null,
    fence: run?.status?.fence ?? null,
  };
}
