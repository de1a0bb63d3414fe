/**
 * One job's next state, from its note and what is seen: the only place where runs begin and end. Pure.
 *
 * ```
 *           due, or asked for                  ended, tries left (attempt + 1, after a pause)
 *   idle ──────────────────────▶ demanded ──▶ seen ──────────────▶ demanded
 *    ▲                              │           │
 *    └──────────────────────────────┴───────────┘  ended: into the history
 * ```
 *
 * What must hold: a job has one attempt at most; an attempt that was seen ends only when its host says how, or its process is certainly
 * gone, or its node is given up, or its time is long over; a node that is merely silent is waited for; a time comes to at most one run.
 */
import type { JobRecord, JobTrigger } from '#core';
import { dueNow, nextTimes } from './due.ts';
import { pauseLeftMs, slotOf, type Attempt, type JobFacts, type JobNote, type SeenRun } from './model.ts';

export interface JobStep {
  readonly note: JobNote;
  readonly events: readonly JobEvent[];
  /** When to look again even if nothing is heard, milliseconds since 1970; null: nothing is pending. */
  readonly nextMs: number | null;
}

export type JobEvent =
  | { readonly type: 'demanded'; readonly attempt: Attempt }
  | { readonly type: 'ended'; readonly record: JobRecord }
  | { readonly type: 'skipped'; readonly times: number };

type End = Pick<JobRecord, 'outcome' | 'result' | 'error'>;

/** Hosts end their runs in time by themselves; one that did not for so long is given up on. */
const overdueMs = 60_000;
/** A history is kept shorter where its results are long: a document must stay small enough to be written with every run. */
const historyBytesMax = 512 * 1024;

export function stepJob(before: JobNote, facts: JobFacts): JobStep {
  const { instance, nowMs } = facts;
  const job = instance.job!;
  const events: JobEvent[] = [];
  let note = before.runs < facts.begunNumber ? { ...before, runs: facts.begunNumber } : before;

  note = look(note, facts, events);
  const due = dueNow(note, { job, revisionId: facts.revisionId, nowMs });
  let { skipped } = due;
  if (due.declaration !== note.declaration || (job.cron !== null && due.handledMs !== note.handledMs)) {
    note = { ...note, declaration: due.declaration, handledMs: due.handledMs };
  }
  if (due.scheduledMs !== null) {
    const waiting = { scheduledAt: iso(due.scheduledMs), trigger: due.trigger };
    const keep = job.misfire === 'once' || due.trigger.kind === 'once';
    if (!note.active || keep) {
      if (note.pending) skipped++;
      note = { ...note, pending: waiting };
    } else skipped++;
  }
  if (note.pending && !note.active) {
    const { scheduledAt, trigger } = note.pending;
    note = begin({ ...note, pending: null }, { scheduledAt, trigger }, facts);
    events.push({ type: 'demanded', attempt: note.active! });
  }
  if (skipped > 0) {
    note = { ...note, skipped: note.skipped + skipped };
    events.push({ type: 'skipped', times: skipped });
  }
  return { note, events, nextMs: wakeMs(note, facts) };
}

/** A run that begins now. */
export function begin(
  note: JobNote,
  { scheduledAt, trigger }: { scheduledAt: string; trigger: JobTrigger },
  { instance, nowMs }: Pick<JobFacts, 'instance' | 'nowMs'>,
): JobNote {
  const number = note.runs + 1;
  return {
    ...note,
    runs: number,
    active: {
      number,
      runId: `r${number}`,
      attempt: 1,
      scheduledAt,
      trigger,
      demandedMs: nowMs,
      notBeforeMs: 0,
      pauseMs: 0,
      timeoutMs: instance.job!.timeoutMs,
      seen: null,
    },
  };
}

/** The run ends because an operator wants it; its process is stopped, and until it is gone its lease keeps others waiting. */
export function cancel(note: JobNote, by: string, facts: Pick<JobFacts, 'instance' | 'nowMs'>): JobNote {
  const { active } = note;
  if (!active) return note;
  const error = { code: 'HF_JOB_CANCELLED', message: `${by} cancelled it` };
  const record = recordOf(active, { outcome: 'cancelled', result: null, error }, null, facts.nowMs);
  return { ...note, active: null, history: kept([record, ...note.history], facts) };
}

/** What has become of the attempt under way. */
function look(note: JobNote, facts: JobFacts, events: JobEvent[]): JobNote {
  const { active } = note;
  if (!active) return note;
  const { nowMs } = facts;
  const found = bestOf(facts.seen.filter(run => run.slot === slotOf(active)));
  const attempt =
    found && (active.seen?.processId !== found.processId || active.seen.node !== found.node)
      ? { ...active, seen: { node: found.node, processId: found.processId } }
      : active;
  const end = found ? endOf(found, attempt, facts) : endUnseen(attempt, facts);
  if (!end) return attempt === active ? note : { ...note, active: attempt };

  const record = recordOf(attempt, end, found?.status ?? null, nowMs);
  events.push({ type: 'ended', record });
  const ended = { ...note, active: null, history: kept([record, ...note.history], facts) };
  const { job, restart } = facts.instance;
  if (end.outcome === 'succeeded' || attempt.attempt > job!.retries) return ended;
  const pauseMs = Math.min(restart.backoffMs * 2 ** Math.min(attempt.attempt - 1, 30), restart.backoffMaxMs);
  const next: Attempt = {
    ...attempt,
    attempt: attempt.attempt + 1,
    demandedMs: nowMs,
    notBeforeMs: nowMs + pauseMs,
    pauseMs,
    timeoutMs: job!.timeoutMs,
    seen: null,
  };
  events.push({ type: 'demanded', attempt: next });
  return { ...ended, active: next };
}

/** How a run that its node shows has ended; null: it has not. */
function endOf(run: SeenRun, { timeoutMs }: Attempt, facts: JobFacts): End | null {
  const { node, status, ended, seenForMs } = run;
  if (status?.endedAt) {
    const { state, result, error } = status;
    return { outcome: state === 'succeeded' || state === 'lost' ? state : 'failed', result, error };
  }
  if (ended !== null)
    return lost('HF_COMPONENT_FAILED', `its process on ${node} ended in the middle: ${ended}`);
  const state = facts.nodeState(node);
  if (state === 'dead') return lost('HF_NODE_UNREACHABLE', `node ${node} was given up while it ran there`);
  // What a silent node showed last says nothing of now.
  return state === 'ready' && seenForMs > timeoutMs + overdueMs
    ? {
        outcome: 'failed',
        result: null,
        error: { code: 'HF_JOB_TIMEOUT', message: 'its host did not end it in time' },
      }
    : null;
}

/** The same for one that no node shows. */
function endUnseen(attempt: Attempt, facts: JobFacts): End | null {
  const { seen } = attempt;
  if (!seen) return facts.failure && { outcome: 'failed', result: null, error: facts.failure };
  const state = facts.nodeState(seen.node);
  if (state === 'dead')
    return lost('HF_NODE_UNREACHABLE', `node ${seen.node} was given up while it ran there`);
  return state === 'ready' ? lost('HF_PROCESS_NOT_FOUND', `its process on ${seen.node} is gone`) : null;
}

function lost(code: string, message: string): End {
  return { outcome: 'lost', result: null, error: { code, message } };
}

/** Of two processes for one attempt the one that ran counts: the other was, or will be, refused by its host. */
function bestOf(runs: readonly SeenRun[]): SeenRun | null {
  const rank = ({ status }: SeenRun) =>
    status?.error?.code === 'HF_JOB_STALE' ? 0 : status?.endedAt ? 3 : status?.state === 'running' ? 2 : 1;
  return [...runs].sort((a, b) => rank(b) - rank(a) || (a.processId < b.processId ? -1 : 1))[0] ?? null;
}

function recordOf(
  { runId, attempt, scheduledAt, trigger, seen }: Attempt,
  end: End,
  status: SeenRun['status'],
  nowMs: number,
): JobRecord {
  return {
    runId,
    attempt,
    scheduledAt,
    trigger,
    startedAt: status?.startedAt ?? null,
    endedAt: status?.endedAt ?? iso(nowMs),
    node: seen?.node ?? null,
    processId: seen?.processId ?? null,
    ...end,
    fence: status?.fence ?? null,
  };
}

function kept(history: readonly JobRecord[], { instance }: Pick<JobFacts, 'instance'>): JobRecord[] {
  let bytes = 0;
  const recent = history.slice(0, instance.job!.historyMax);
  const cut = recent.findIndex((record, index) => {
    bytes += Buffer.byteLength(JSON.stringify(record));
    return index > 0 && bytes > historyBytesMax;
  });
  return cut < 0 ? recent : recent.slice(0, cut);
}

function wakeMs({ active, handledMs }: JobNote, { instance, nowMs }: JobFacts): number | null {
  const times = nextTimes(instance.job!, Math.max(nowMs, handledMs), 1);
  const pauseMs = active ? pauseLeftMs(active, nowMs) : 0;
  if (pauseMs > 0) times.push(nowMs + pauseMs);
  return times.length === 0 ? null : Math.min(...times);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
