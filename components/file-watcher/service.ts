/** The component: each copy waits for the lease on the folder; the one that has it watches, the others stand by. */
import { createHash } from 'node:crypto';
import type { Component, ComponentContext, System } from '#core';
import type { Watch } from './hints.ts';
import { readSettings } from './settings.ts';
import { watchUntil, type WatcherState } from './watcher.ts';

type State = { role: 'standby' } | ({ role: 'owner'; fence: bigint } & WatcherState);

/** How long one wait for the lease lasts; another one follows. */
const waitMs = 3_600_000;
const retryMs = 1_000;

export function createService(context: ComponentContext, system: System, watch?: Watch): Component {
  const settings = readSettings(context.settings, context.dataDirectory);
  const ending = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let state: State = { role: 'standby' };
  let reported = '';

  function report(problems: string[]): void {
    const health = { ready: problems.length === 0, message: problems.join('; ') };
    if (state.role === 'standby' && health.ready) health.message = 'stands by for the lease on the folder';
    if (reported === JSON.stringify(health)) return;
    reported = JSON.stringify(health);
    if (!health.ready) context.log.warn({ problems }, 'the folder is not watched as it should be');
    context.reportHealth(health);
  }

  async function watchUnderLease(): Promise<void> {
    const scope = settings.ownerPer === 'node' ? `${context.nodeName}/` : '';
    const digest = createHash('sha256').update(settings.folder).digest('hex').slice(0, 16);
    const lease = `file-watcher/${context.instanceId}/${scope}${digest}`;
    const { leaseTtlMs: ttlMs } = settings;
    const { signal } = ending;
    let failure: string | null = null;
    while (!signal.aborted) {
      state = { role: 'standby' };
      report(failure === null ? [] : [failure]);
      try {
        await context.leases.hold(
          lease,
          { holder: context.processId, ttlMs, waitMs, signal },
          (held, { fence }) => {
            context.log.info({ folder: settings.folder, fence: String(fence) }, 'watches the folder');
            const onState = (now: WatcherState) => {
              state = { role: 'owner', fence, ...now };
              report(now.problems);
            };
            return watchUntil({
              context,
              settings,
              system,
              fence,
              signal: held,
              onState,
              ...(watch ? { watch } : {}),
            });
          },
        );
        failure = null;
      } catch (error) {
        context.log.error({ err: error, folder: settings.folder }, 'watching the folder failed');
        failure = `watching ${settings.folder} fails: ${(error as Error).message}`;
        report([failure]);
        await system.timers.sleep(retryMs, signal).catch(() => {}); // aborted: the loop ends
      }
    }
  }

  return {
    async start() {
      running = watchUnderLease();
    },
    async stop() {
      ending.abort();
      await running;
    },
    fetch() {
      const { instanceId, processId, nodeName } = context;
      const fence = state.role === 'owner' ? { fence: String(state.fence) } : {};
      return Response.json({
        instanceId,
        processId,
        node: nodeName,
        folder: settings.folder,
        ...state,
        ...fence,
      });
    },
  };
}
