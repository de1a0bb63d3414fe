/** The component: each copy waits for the lease; the one that has it fires, the others stand by. All answer what comes next and what was. */
import type { Component, ComponentContext, System } from '#core';
import { upcoming } from './due.ts';
import { leadUntil } from './leading.ts';
import { readSettings, type SchedulerSettings } from './settings.ts';
import { describeRecord } from './record.ts';
import { readRecord } from './store.ts';

/** How long one wait for the lease lasts; another one follows. */
const waitMs = 3_600_000;
const retryMs = 1_000;
const shownMax = 1_000;

export function createService(context: ComponentContext, system: System): Component {
  const ending = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let settings: SchedulerSettings;
  let role: 'standby' | 'leader' = 'standby';

  function report(problem: string | null): void {
    const message = problem ?? (role === 'standby' ? 'stands by for the lease' : undefined);
    context.reportHealth({ ready: problem === null, ...(message === undefined ? {} : { message }) });
  }

  async function leadUnderLease(): Promise<void> {
    const { signal } = ending;
    let failure: string | null = null;
    while (!signal.aborted) {
      role = 'standby';
      report(failure);
      try {
        await context.leases.hold(
          `scheduler/${context.instanceId}`,
          { holder: context.processId, ttlMs: settings.leaseTtlMs, waitMs, signal },
          (held, { fence }) => {
            role = 'leader';
            context.log.info({ fence: String(fence) }, 'fires the schedules');
            report(null);
            return leadUntil({ context, settings, system, fence, signal: held, onProblem: report });
          },
        );
        failure = null;
      } catch (error) {
        context.log.error({ err: error }, 'the schedules are not fired');
        failure = `the schedules are not fired: ${(error as Error).message}`;
        report(failure);
        await system.timers.sleep(retryMs, signal).catch(() => {}); // aborted: the loop ends
      }
    }
  }

  async function describe(id: string, next: number, history: number) {
    const { ticks, ...schedule } = settings.schedules.find(one => one.id === id)!;
    const record = await readRecord(context.notes, id);
    return {
      ...schedule,
      nextRuns: upcoming(ticks, system.clock.wallMs(), next).map(ms => new Date(ms).toISOString()),
      history: record ? describeRecord(record, history) : [],
    };
  }

  return {
    async start() {
      settings = readSettings(context.settings);
      running = leadUnderLease();
    },
    async stop() {
      ending.abort();
      await running;
    },
    async fetch(request) {
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        return Response.json({ message: 'read only' }, { status: 405, headers: { allow: 'GET, HEAD' } });
      }
      const { pathname, searchParams } = new URL(request.url);
      const [next, history] = ['next', 'history'].map(name => countIn(searchParams.get(name)));
      const last = pathname.split('/').at(-1);
      const one = settings.schedules.find(({ id }) => id === last);
      const { instanceId, processId, nodeName } = context;
      const who = { instanceId, processId, node: nodeName, role };
      if (one) return Response.json({ ...who, ...(await describe(one.id, next ?? 10, history ?? 100)) });
      return Response.json({
        ...who,
        schedules: await Promise.all(
          settings.schedules.map(({ id }) => describe(id, next ?? 3, history ?? 3)),
        ),
      });
    },
  };
}

/** Null: not asked for, or nonsense. */
function countIn(text: string | null): number | null {
  if (text === null || !/^\d{1,9}$/.test(text)) return null;
  return Math.min(Number(text), shownMax);
}
