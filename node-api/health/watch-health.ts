/**
 * Looks after the health of one running host, from its start to its end: asks its event loop for signs of life over the private channel, and
 * checks its component over HTTP where the settings say so. What it finds is decided in `liveness.ts` and `http-check.ts`.
 *
 * Nothing is asked while the host starts or stops: both have deadlines of their own.
 */
import { HoldfastError, type HealthSettings, type System } from '#core';
import type { FastifyBaseLogger } from 'fastify';
import type { HostProcess } from '../supervision/host-process.ts';
import { initialCheck, stepCheck, type Verdict } from './http-check.ts';
import { probeHttp } from './http-probe.ts';
import { initialLiveness, LIVENESS_ROUNDS, stepLiveness, type LivenessEvent } from './liveness.ts';

export interface HealthWatchOptions {
  system: System;
  log: FastifyBaseLogger;
  host: HostProcess;
  health: HealthSettings;
  /** Where the HTTP check asks; null: nothing is to be checked. */
  port: number | null;
  /** How long a component that never answered well is waited for. */
  firstAnswerMs: number;
  /** Whether it runs at this moment, neither starting nor stopping. */
  active: () => boolean;
  /** It is to be replaced, for this reason. */
  onSick: (type: 'process-unresponsive' | 'process-unhealthy', reason: string) => void;
}

/** The result ends it; it ends by itself with the host. */
export function watchHealth(options: HealthWatchOptions): () => void {
  const { host, health, port } = options;
  const stops = [
    ...(health.livenessMs > 0 ? [watchLoop(options)] : []),
    ...(health.http && port !== null ? [watchAnswers(options, health.http, port)] : []),
  ];
  const stop = () => stops.forEach(end => end());
  void host.gone.then(stop);
  return stop;
}

function watchLoop({ system, host, health, active, onSick }: HealthWatchOptions): () => void {
  const { livenessMs } = health;
  let state = initialLiveness;
  let stopped = false;

  function handle(event: LivenessEvent): void {
    const step = stepLiveness(state, event);
    ({ state } = step);
    if (step.effect === 'ask') void ask();
    if (step.effect === 'unresponsive') {
      onSick('process-unresponsive', `unresponsive: its event loop answered nothing for ${livenessMs} ms`);
    }
  }

  async function ask(): Promise<void> {
    const answered = await host.answers(livenessMs * 2);
    if (!stopped) handle({ type: answered ? 'answered' : 'not-asked' });
  }

  const cancel = system.timers.every(Math.max(1, Math.round(livenessMs / LIVENESS_ROUNDS)), () => {
    if (host.ended) return;
    if (active()) handle({ type: 'round' });
    else state = initialLiveness;
  });
  return () => {
    stopped = true;
    cancel();
  };
}

function watchAnswers(
  { system, log, host, firstAnswerMs, active, onSick }: HealthWatchOptions,
  check: NonNullable<HealthSettings['http']>,
  port: number,
): () => void {
  const stopping = new AbortController();
  const beganMs = system.clock.monotonicMs();
  const rules = { failuresMax: check.failuresMax, restart: check.restart, firstAnswerMs };
  let state = initialCheck;
  /** What the host has not been told yet. */
  let untold: Verdict | null = null;

  async function round(): Promise<void> {
    const problem = await probeHttp(system, { port, path: check.path, timeoutMs: check.timeoutMs });
    if (stopping.signal.aborted || !active()) return;
    const sinceStartMs = system.clock.monotonicMs() - beganMs;
    const step = stepCheck(
      state,
      problem === null ? { good: true } : { good: false, problem, sinceStartMs },
      rules,
    );
    ({ state } = step);
    untold = step.verdict ?? untold;
    if (step.restart) return onSick('process-unhealthy', `unhealthy: ${problem}`);
    await tell();
  }

  async function tell(): Promise<void> {
    const verdict = untold;
    if (!verdict) return;
    try {
      await host.request('checked', verdict, check.intervalMs + check.timeoutMs);
      if (untold === verdict) untold = null;
    } catch (error) {
      // It is told again after the next check.
      const away = error instanceof HoldfastError && error.code === 'HF_COORDINATION_UNAVAILABLE';
      if (!away) log.warn({ err: error, processId: host.processId }, 'a host does not take a health verdict');
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      if (active()) await round();
      await system.timers.sleep(check.intervalMs, stopping.signal).catch(() => {}); // stopped: the loop ends
    }
  }
  void run();
  return () => stopping.abort();
}
