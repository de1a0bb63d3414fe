/**
 * What the copy does that has the lease: it decides the ticks as their time comes, and publishes what fires. The two go on side by side, so that a broker that is
 * away keeps no tick from being decided. What fires is decided in `due.ts`; that it fires once, by `store.ts`.
 */
import type { ComponentContext, Json, Message, System } from '#core';
import { decide } from './due.ts';
import type { Schedule, SchedulerSettings } from './settings.ts';
import { openStore, type Firing, type Store } from './store.ts';

export interface LeadingOptions {
  context: Pick<ComponentContext, 'instanceId' | 'nodeName' | 'publisher' | 'log'>;
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

/** Resolves when the signal has aborted; rejects when the state cannot be used. */
export async function leadUntil(options: LeadingOptions): Promise<void> {
  const { settings } = options;
  const store = openStore(settings.stateFile, options.fence, settings.historyMax);
  // When one of the two fails, the other one ends too.
  const failing = new AbortController();
  const inner = { ...options, signal: AbortSignal.any([options.signal, failing.signal]) };
  const wake = createWake();
  const tasks = [decideTicks(store, inner, wake), publishFirings(store, inner, wake)];
  for (const task of tasks) task.catch(error => failing.abort(error));
  const failed = (await Promise.allSettled(tasks)).find(outcome => outcome.status === 'rejected');
  store.close();
  if (failed) throw failed.reason;
}

async function decideTicks(store: Store, options: LeadingOptions, wake: Wake): Promise<void> {
  const { settings, system, signal } = options;
  const { timers, clock } = system;
  const schedules = settings.schedules.map(schedule => {
    const { id, cron, timeZone } = schedule;
    const decidedMs = store.begin(id, `${cron} ${timeZone}`, clock.wallMs());
    return { schedule, decidedMs, nextMs: schedule.ticks.next(decidedMs) };
  });
  while (!isOver(options)) {
    const nowMs = clock.wallMs();
    let fired = false;
    for (const state of schedules) {
      const { schedule } = state;
      if (state.nextMs === null || state.nextMs > nowMs) continue;
      const rules = { ...settings, misfire: schedule.misfire };
      const mayFire = store.waiting(schedule.id) < (schedule.isReentrant ? settings.waitingMax : 1);
      const decision = decide(schedule.ticks, rules, { decidedMs: state.decidedMs, mayFire }, nowMs);
      store.record(schedule.id, decision, nowMs);
      state.decidedMs = decision.decidedMs;
      state.nextMs = schedule.ticks.next(decision.decidedMs);
      fired ||= decision.fire.length > 0;
    }
    if (fired) wake.ring();
    const nextMs = Math.min(...schedules.map(({ nextMs }) => nextMs ?? Infinity)) - clock.wallMs();
    await timers.sleep(Math.min(Math.max(nextMs, 1), sleepMsMax), signal).catch(() => {}); // aborted: the loop ends
  }
}

async function publishFirings(store: Store, options: LeadingOptions, wake: Wake): Promise<void> {
  const { context, settings, system, signal } = options;
  const schedules = new Map(settings.schedules.map(schedule => [schedule.id, schedule]));
  let delayMs = publishRetryMs.first;
  while (!isOver(options)) {
    const firing = store.nextWaiting();
    if (!firing) {
      await wake.heard(signal);
      continue;
    }
    const schedule = schedules.get(firing.schedule);
    let outcome: 'published' | 'refused' = 'published';
    try {
      // Of a schedule that has been taken out of the settings since, nothing is published any more.
      if (schedule) await context.publisher.publish(toMessage(firing, schedule, options));
      else outcome = 'refused';
    } catch (error) {
      const facts = { err: error, schedule: firing.schedule };
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
    store.settle(firing.sequence, outcome, system.clock.wallMs());
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

/** Lets one task wait for another; a ring that nobody waits for is heard by the next who does. */
interface Wake {
  ring(): void;
  heard(signal: AbortSignal): Promise<void>;
}

function createWake(): Wake {
  let rung = Promise.withResolvers<void>();
  return {
    ring: () => rung.resolve(),
    async heard(signal) {
      const stop = () => rung.resolve();
      if (signal.aborted) return;
      signal.addEventListener('abort', stop, { once: true });
      await rung.promise;
      signal.removeEventListener('abort', stop);
      rung = Promise.withResolvers();
    },
  };
}
