/**
 * Runs a job's component to completion, once in the life of this process: waits for the lease of the job, calls `run` while it is held, and
 * keeps the outcome for the agent to see. Afterwards the process idles until somebody stops it.
 *
 * What must hold:
 * - `run` is called under the lease `jobs/<instanceId>` only, so that one run of a job goes on in the whole cluster, also behind partitions;
 *   its fence is higher than that of every run before.
 * - The signal aborts before the lease can be somebody else's. A run that does not end then is ended with its process.
 * - No run is begun twice, nor one that is older than one that was begun, see `job-marker.ts`.
 * - The first outcome counts, and is never changed. What ends after its signal has aborted is no success: nobody knows what it left out.
 */
import {
  HoldfastError,
  isoTime,
  type Component,
  type DocumentStore,
  type JobRun,
  type JobRunRequest,
  type JobRunStatus,
  type Json,
  type LeaseService,
  type Logger,
  type System,
} from '#core';
import { textOf } from './foreign.ts';
import { markBegun } from './job-marker.ts';

export interface JobOptions {
  system: System;
  log: Logger;
  leases: Pick<LeaseService, 'hold'>;
  documents: Pick<DocumentStore, 'get' | 'put'>;
  run: NonNullable<Component['run']>;
  request: JobRunRequest;
  instanceId: string;
  /** Unique to this process. */
  holder: string;
  leaseTtlMs: number;
  onChange: () => void;
  /** The lease is lost and the run goes on: the process has to end at once. */
  endProcess: (reason: string) => void;
}

export interface Job {
  readonly status: JobRunStatus;
  /** Tells the run to stop. Resolves when it has ended, or is waited for no longer. Idempotent. */
  stop(signal: AbortSignal): Promise<void>;
}

const resultBytesMax = 4_096;
const messageLengthMax = 1_000;
/** How long one wait for the lease lasts; they follow each other without end. */
const waitMs = 600_000;
/** Between two tries to reach a store that is away. */
const storeAwayMs = 1_000;
/** How long a run that was told to stop is waited for before its outcome is told without it. */
const noticeMs = 5_000;

type End = Pick<JobRunStatus, 'state' | 'result' | 'error'>;

export function startJob(options: JobOptions): Job {
  const { system, log, leases, request, instanceId, holder, leaseTtlMs, onChange } = options;
  const stopping = new AbortController();
  const settled = Promise.withResolvers<void>();
  let status = waitingFor(request);

  function change(next: Partial<JobRunStatus>): void {
    status = { ...status, ...next };
    onChange();
  }

  function settle(end: End): void {
    if (status.endedAt !== null) return;
    change({ ...end, endedAt: isoTime(system.clock) });
    log.info(
      { runId: status.runId, state: status.state, err: status.error ?? undefined },
      'a run of the job ended',
    );
    settled.resolve();
  }

  async function attempt(): Promise<void> {
    while (status.endedAt === null && status.state === 'waiting') {
      try {
        const { signal } = stopping;
        const wait = { holder, ttlMs: leaseTtlMs, waitMs, signal };
        await leases.hold(`jobs/${instanceId}`, wait, work);
      } catch (error) {
        if (isStale(error)) return settle(failed(error));
        log.warn(
          { err: error, runId: request.runId },
          'the lease of the job cannot be asked for; it is tried again',
        );
        await system.timers.sleep(storeAwayMs, stopping.signal).catch(() => {}); // stopped: seen below
      }
      if (stopping.signal.aborted) settle(failed(stopping.signal.reason));
    }
  }

  /** Rejects only when nothing was begun. */
  async function work(signal: AbortSignal, { fence }: { readonly fence: bigint }): Promise<void> {
    await markBegun(options.documents, instanceId, holder, request);
    if (signal.aborted) return settle(outcomeOfAbort(signal, stopping.signal));
    const cancels = [system.timers.after(request.timeoutMs, () => stopping.abort(timedOut(request)))];
    const onAbort = () => {
      const lost = !stopping.signal.aborted;
      const graceMs = lost ? leaseTtlMs / 40 : noticeMs; // half of what the lease is given up earlier than the store does
      cancels.push(
        system.timers.after(
          graceMs,
          () => {
            settle(outcomeOfAbort(signal, stopping.signal));
            if (lost)
              options.endProcess(`its run ${request.runId} goes on although the lease of the job is lost`);
          },
          { keepAlive: true },
        ),
      );
    };
    signal.addEventListener('abort', onAbort, { once: true });
    change({ state: 'running', fence: String(fence), startedAt: isoTime(system.clock) });
    log.info(
      { runId: request.runId, attempt: request.attempt, fence: String(fence) },
      'a run of the job begins',
    );
    try {
      const value = await options.run(runOf(request, fence, signal), signal);
      settle(signal.aborted ? outcomeOfAbort(signal, stopping.signal) : succeeded(value));
    } catch (error) {
      settle(signal.aborted ? outcomeOfAbort(signal, stopping.signal) : failed(error));
    } finally {
      signal.removeEventListener('abort', onAbort);
      for (const cancel of cancels) cancel();
    }
  }

  void attempt();
  return {
    get status() {
      return status;
    },
    async stop(signal) {
      if (status.endedAt !== null) return;
      const text = 'the run was told to stop, because its process stops';
      stopping.abort(new HoldfastError('HF_JOB_CANCELLED', text));
      const late = Promise.withResolvers<void>();
      const onAbort = () => late.resolve();
      signal.addEventListener('abort', onAbort, { once: true });
      await Promise.race([settled.promise, late.promise]);
      signal.removeEventListener('abort', onAbort);
      settle(failed(stopping.signal.reason));
    },
  };
}

/** What is known of a run before it begins. */
export function waitingFor({ runId }: JobRunRequest): JobRunStatus {
  return { runId, state: 'waiting', fence: null, startedAt: null, endedAt: null, result: null, error: null };
}

function runOf({ runId, scheduledAt, attempt }: JobRunRequest, fence: bigint, signal: AbortSignal): JobRun {
  return {
    runId,
    scheduledAt: new Date(scheduledAt),
    attempt,
    fence,
    assertCurrent: () => signal.throwIfAborted(), // it looks at the clock, whatever timers have run
  };
}

function isStale(error: unknown): boolean {
  return error instanceof HoldfastError && error.code === 'HF_JOB_STALE';
}

function outcomeOfAbort(signal: AbortSignal, stopping: AbortSignal): End {
  return stopping.aborted ? failed(stopping.reason) : { ...failed(signal.reason), state: 'lost' };
}

function succeeded(value: Json | void): End {
  let result: string | undefined;
  try {
    result = value === undefined ? undefined : JSON.stringify(value);
  } catch (cause) {
    return unusable(`what \`run\` resolved to is no JSON: ${textOf(cause)}`);
  }
  if (result === undefined) return { state: 'succeeded', result: null, error: null };
  const bytes = Buffer.byteLength(result);
  if (bytes > resultBytesMax)
    return unusable(`the result has ${bytes} bytes of JSON, of at most ${resultBytesMax}`);
  return { state: 'succeeded', result, error: null };
}

/** The work is done, and shall not be done again for the sake of its result: that is left out, and said. */
function unusable(message: string): End {
  return { state: 'succeeded', result: null, error: { code: 'HF_JOB_RESULT', message } };
}

function failed(cause: unknown): End {
  const { name, code } = (cause ?? {}) as { name?: unknown; code?: unknown };
  const known = name === 'HoldfastError' && typeof code === 'string';
  return {
    state: 'failed',
    result: null,
    error: {
      code: known ? code : 'HF_COMPONENT_FAILED',
      message: textOf(cause).slice(0, messageLengthMax),
    },
  };
}

function timedOut({ timeoutMs }: JobRunRequest): HoldfastError {
  return new HoldfastError('HF_JOB_TIMEOUT', `the run did not end within ${timeoutMs} ms`);
}
