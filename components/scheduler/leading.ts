/**
 * What the copy does that has the lease: it decides the ticks as their time comes, and publishes what fires. The two go on side by side, so that a broker that is
 * away keeps no tick from being decided. What fires is decided in `due.ts`; that it fires once, by `store.ts`.
 */
import type { ComponentContext, Json, Message, System } from '#core';
import { decide } from './due.ts';
import { addDecision, settleFirst, type Firing } from './record.ts';
import type { Schedule, SchedulerSettings } from './settings.ts';
import { openStore, type Store } from './store.ts';
import { createWake, type Wake } from './wake.ts';

export interface LeadingOptions {
  context: Pick<ComponentContext, 'instanceId' | 'nodeName' | 'publisher' | 'log' | 'notes'>;
  settings: SchedulerSettings;
  system: System;
  fence: bigint;
  /** Ends when the lease ends. */
  signal: AbortSignal;
  /** Null: all is well. */
  onProblem: (problem: string | null) => void;
}

/** The wall clock may jump while one sleeps. */
const sleepMsMax = 1_000;
const publishRetryMs = { first: 200, max: 10_000 };

/** Resolves when the signal has aborted; rejects when what is remembered cannot be used. */
export async function leadUntil(options: LeadingOptions): Promise<void> {
  const { settings, system, fence, context } = options;
  // When one of the two fails, the other one ends too.
  const failing = new AbortController();
  const signal = AbortSignal.any([options.signal, failing.signal]);
  const inner = { ...options, signal };
  const definitions = settings.schedules.map(({ id, cron, timeZone }) => ({
    id,
    definition: `${cron} ${timeZone}`,
  }));
  let store: Store;
  try {
    store = await openStore(definitions, { notes: context.notes, system, fence, signal });
  } catch (error) {
    if (isOver(options)) return;
    throw error;
  }
  const wake = createWake();
  const tasks = [decideTicks(store, inner, wake), publishFirings(store, inner, wake)];
  for (const task of tasks) task.catch(error => failing.abort(error));
  const failed = (await Promise.allSettled(tasks)).find(outcome => outcome.status === 'rejected');
  if (failed && !isOver(options)) throw failed.reason;
}

async function decideTicks(store: Store, options: LeadingOptions, wake: Wake): Promise<void> {
  const { settings, system, signal } = options;
  const { timers, clock } = system;
  const { historyMax } = settings;
  const schedules = settings.schedules.map(schedule => ({
    schedule,
    nextMs: schedule.ticks.next(store.get(schedule.id).decidedMs),
  }));
  while (!isOver(options)) {
    const nowMs = clock.wallMs();
    const due = schedules.filter(({ nextMs }) => nextMs !== null && nextMs <= nowMs);
    await Promise.all(
      due.map(async state => {
        const { schedule } = state;
        const rules = { ...settings, misfire: schedule.misfire };
        await store.update(schedule.id, record => {
          const mayFire = record.waiting.length < (schedule.isReentrant ? settings.waitingMax : 1);
          const { decidedMs } = record;
          const decision = decide(schedule.ticks, rules, { decidedMs, mayFire }, nowMs);
          return addDecision(record, decision, nowMs, historyMax);
        });
        state.nextMs = schedule.ticks.next(store.get(schedule.id).decidedMs);
      }),
    );
    if (due.length > 0) wake.ring();
    const nextMs = Math.min(...schedules.map(({ nextMs }) => nextMs ?? Infinity)) - clock.wallMs();
    await timers.sleep(Math.min(Math.max(nextMs, 1), sleepMsMax), signal).catch(() => {}); // aborted: the loop ends
  }
}

async function publishFirings(store: Store, options: LeadingOptions, wake: Wake): Promise<void> {
  const { context, settings, system, signal } = options;
  const { historyMax } = settings;
  const schedules = new Map(settings.schedules.map(schedule => [schedule.id, schedule]));
  let delayMs = publishRetryMs.first;
  while (!isOver(options)) {
    const next = store.nextWaiting();
    if (!next) {
      await wake.heard(signal);
      continue;
    }
    let outcome: 'published' | 'refused' = 'published';
    try {
      const message = toMessage(next.firing, schedules.get(next.schedule)!, options);
      await context.publisher.publish(message);
    } catch (error) {
      const facts = { err: error, schedule: next.schedule };
      if (!isFinal(error)) {
        context.log.warn({ ...facts, retryInMs: delayMs }, 'a firing could not be published');
        options.onProblem(`firings wait, because publishing fails: ${(error as Error).message}`);
        await system.timers.sleep(delayMs, signal).catch(() => {}); // aborted: the loop ends
        delayMs = Math.min(2 * delayMs, publishRetryMs.max);
        continue;
      }
      context.log.error(facts, 'the publisher refuses the message of this schedule');
      outcome = 'refused';
    }
    delayMs = publishRetryMs.first;
    options.onProblem(null);
    const nowMs = system.clock.wallMs();
    await store.update(next.schedule, record => settleFirst(record, outcome, nowMs, historyMax));
  }
}

/** The same message would be refused for ever, and hold up all others. */
function isFinal(error: unknown): boolean {
  return ['HF_MESSAGE_INVALID', 'HF_MESSAGE_TOO_LARGE'].includes((error as { code?: string }).code ?? '');
}

/** Asked anew each time, because what the signal answers depends on the clock. */
function isOver({ signal }: LeadingOptions): boolean {
  return signal.aborted;
}

function toMessage({ tickMs, decidedMs }: Firing, schedule: Schedule, options: LeadingOptions): Message {
  const { context, fence } = options;
  const scheduledAt = new Date(tickMs).toISOString();
  const content: Json = schedule.content ?? { schedule: schedule.id, scheduledAt };
  return {
    messageId: `${context.instanceId}-${schedule.id}-${scheduledAt}`,
    source: context.instanceId,
    timestamp: new Date(decidedMs).toISOString(),
    messageType: schedule.messageType,
    ...(typeof content === 'string'
      ? { content, contentType: 'text/plain' }
      : { content: JSON.stringify(content), contentType: 'application/json' }),
    properties: { schedule: schedule.id, scheduledAt, node: context.nodeName, fence: String(fence) },
  };
}
