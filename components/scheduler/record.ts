/**
 * What is remembered of a schedule: up to when its ticks are decided, which firings are not published yet, and what was. Pure. It fits into a note (64 KiB), because the
 * settings bound all lists.
 */
import type { Decision, Reason } from './due.ts';

export interface ScheduleRecord {
  readonly definition: string;
  /** Of the leader that wrote it. */
  readonly fence: string;
  readonly decidedMs: number;
  /** In order. */
  readonly waiting: readonly Firing[];
  /** The newest first. */
  readonly history: readonly Past[];
}

export interface Firing {
  readonly tickMs: number;
  readonly decidedMs: number;
}

export interface Past extends Firing {
  /** `refused`: the publisher will never take the message. */
  readonly outcome: 'published' | 'refused' | Reason;
  /** With `missed` and `overlap`: the last tick of those that were passed over. */
  readonly untilMs?: number;
  readonly publishedMs?: number;
}

/** A schedule that is new, or has another definition than before, begins now. */
export function begin(
  found: ScheduleRecord | null,
  { definition, fence, nowMs }: { definition: string; fence: string; nowMs: number },
): ScheduleRecord {
  if (found?.definition === definition) return { ...found, fence };
  return {
    definition,
    fence,
    decidedMs: nowMs,
    waiting: found?.waiting ?? [],
    history: found?.history ?? [],
  };
}

export function addDecision(
  record: ScheduleRecord,
  { fire, passedOver, decidedMs }: Decision,
  nowMs: number,
  historyMax: number,
): ScheduleRecord {
  let { history } = record;
  for (const { firstMs, lastMs, reason } of passedOver) {
    const [newest, ...older] = history;
    // One line however long it lasts.
    history =
      newest?.outcome === reason
        ? [{ ...newest, untilMs: lastMs }, ...older]
        : [{ tickMs: firstMs, untilMs: lastMs, outcome: reason, decidedMs: nowMs }, ...history];
  }
  return {
    ...record,
    decidedMs,
    waiting: [...record.waiting, ...fire.map(tickMs => ({ tickMs, decidedMs: nowMs }))],
    history: history.slice(0, historyMax),
  };
}

/** The first firing that waits does so no longer. */
export function settleFirst(
  record: ScheduleRecord,
  outcome: 'published' | 'refused',
  nowMs: number,
  historyMax: number,
): ScheduleRecord {
  const [first, ...waiting] = record.waiting;
  if (!first) throw new Error('no firing waits');
  const past: Past = { ...first, outcome, ...(outcome === 'published' ? { publishedMs: nowMs } : {}) };
  return { ...record, waiting, history: [past, ...record.history].slice(0, historyMax) };
}

/** For people: the newest tick first. */
export function describeRecord({ waiting, history }: ScheduleRecord, limit: number): object[] {
  const lines: (Firing & Partial<Omit<Past, 'outcome'>> & { outcome: string })[] = [
    ...waiting.map(firing => ({ ...firing, outcome: 'waiting' })),
    ...history,
  ];
  return lines
    .sort((one, other) => other.tickMs - one.tickMs)
    .slice(0, limit)
    .map(({ tickMs, untilMs, outcome, decidedMs, publishedMs }) => ({
      scheduledAt: iso(tickMs),
      ...(untilMs === undefined ? {} : { until: iso(untilMs) }),
      outcome,
      decidedAt: iso(decidedMs),
      ...(publishedMs === undefined ? {} : { publishedAt: iso(publishedMs) }),
    }));
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
