/**
 * The component. Every copy of it waits for the lease of the replication; the one that has it replicates, under the lease's fence. It
 * lets go when the lease is lost, and the target refuses it from then on even if it does not notice.
 */
import type { Component, ComponentContext, System } from '#core';
import { codeOf, ReplicationProblem } from './problem.ts';
import { newProgress, type Progress } from './progress.ts';
import { replicate } from './replication.ts';
import { retryDelayMs } from './retry.ts';
import { readSettings, type ReplicationSettings } from './settings.ts';
import type { Source } from './source/source.ts';
import { healthLine, lagOf, type Status } from './status.ts';

const waitMs = 30_000;
const reportMs = 5_000;

const leaseName = ({ name }: ReplicationSettings): string => `replication/${name}`;

export function createReplication(context: ComponentContext, system: System): Component {
  const { log, leases, processId } = context;
  const stopping = new AbortController();
  let settings: ReplicationSettings | null = null;
  let progress: Progress = newProgress();
  let source: Source | null = null;
  let owning = false;
  /** As the lease store told it last. */
  let holder: string | null = null;
  let failure: Error | null = null;
  let running: Promise<void> = Promise.resolve();
  let stopReporting = (): void => {};
  let stopWatching = (): void => {};

  async function status(): Promise<Status> {
    const { position } = progress;
    // A source that is away: `error` tells soon.
    const backlog = position === null ? null : await source?.backlog(position).catch(() => null);
    const { applyingSinceMs: _, ...known } = progress;
    return {
      name: settings?.name ?? '',
      role: owning ? 'owner' : 'standby',
      owner: owning ? processId : holder,
      ...known,
      phase: owning ? (failure ? 'failing' : progress.phase) : 'standby',
      lag: backlog ? lagOf(progress, backlog, system.clock.wallMs()) : null,
      warnings: backlog?.warnings ?? [],
      error: failure ? { code: codeOf(failure), message: failure.message } : null,
    };
  }

  async function report(): Promise<void> {
    // What somebody has to mend makes a deployment fail that brought it; what passes by itself does not.
    const ready = !(failure instanceof ReplicationProblem);
    context.reportHealth({ ready, message: healthLine(await status()).slice(0, 2_000) });
  }

  const reportSoon = (): void => {
    report().catch((error: unknown) =>
      log.warn({ error: String(error) }, 'the health could not be reported'),
    );
  };

  const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

  /** Either the lease has a new owner and we have not noticed yet, or the fences come from elsewhere. */
  function outrun(error: unknown, fence: bigint): Error {
    const { details } = error as { details?: { fence?: string } };
    const message = `a database has seen the fence ${details?.fence}, ours is ${fence}: a newer owner replicates, or another cluster does under this name`;
    return Object.assign(new Error(message), { name: 'HoldfastError', code: 'HF_FENCED' });
  }

  /** Until the lease is lost, or the process stops. */
  async function own(settings: ReplicationSettings, fence: bigint, signal: AbortSignal): Promise<void> {
    log.info({ name: settings.name, fence: fence.toString() }, 'owns the replication');
    for (let failures = 1; !signal.aborted; failures++) {
      progress = newProgress();
      reportSoon();
      try {
        await replicate({
          settings,
          fence,
          holder: processId,
          signal,
          system,
          log,
          progress,
          onSource(opened) {
            source = opened;
            if (!opened) return;
            failure = null;
            reportSoon();
          },
        });
      } catch (error) {
        if (signal.aborted) break;
        const code = codeOf(error);
        failure = code === 'HF_FENCED' ? outrun(error, fence) : asError(error);
        log.warn({ code, error: failure.message }, 'the replication was interrupted');
        if (code === 'HF_FENCED') return;
        if (progress.transactions > 0) failures = 1;
        reportSoon();
        await system.timers.sleep(retryDelayMs(error, failures), signal).catch(() => {}); // the loop looks
      }
    }
  }

  async function takeTurns(settings: ReplicationSettings): Promise<void> {
    const { signal } = stopping;
    while (!signal.aborted) {
      try {
        const outcome = await leases.hold(
          leaseName(settings),
          { holder: processId, ttlMs: settings.leaseTtlMs, waitMs, signal },
          async (held, { fence }) => {
            owning = true;
            try {
              await own(settings, fence, held);
            } finally {
              owning = false;
            }
          },
        );
        if (outcome.acquired) await system.timers.sleep(1_000, signal);
        else failure = null;
      } catch (error) {
        if (signal.aborted) break;
        failure = asError(error);
        log.warn({ code: codeOf(error), error: failure.message }, 'the lease could not be asked for');
        await system.timers.sleep(1_000, signal).catch(() => {}); // the loop looks
      }
    }
  }

  return {
    async start() {
      settings = readSettings(context.settings, context.dataDirectory, process.env);
      stopReporting = system.timers.every(reportMs, reportSoon);
      stopWatching = leases.watch(leaseName(settings), found => (holder = found?.holder ?? null));
      running = takeTurns(settings);
    },
    async stop() {
      stopReporting();
      stopWatching();
      stopping.abort();
      await running;
    },
    async fetch(request) {
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        const body = {
          code: 'HF_METHOD_NOT_ALLOWED',
          message: 'only GET: the settings say what the replication does',
        };
        return Response.json(body, { status: 405, headers: { allow: 'GET, HEAD' } });
      }
      return Response.json(await status());
    },
  };
}
