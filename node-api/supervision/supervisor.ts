/**
 * Keeps entries running: starts them, restarts what crashed, stops what shall stop. Decisions are in
 * `restart-policy.ts` and `process-life.ts`; what was running before this agent is taken over by `recovery.ts`.
 *
 * A process id names one operating-system process (fences and sessions refer to it), so a restart gives the entry a new
 * one; its settingsId stays, `restarts` counts, and the old id is found among the ended.
 */
import {
  DEFAULTS,
  HoldfastError,
  isoTime,
  type HealthSettings,
  type KillOutcome,
  type ProcessInfo,
  type RestartPolicy,
  type StartProcessRequest,
} from '#core';
import type { FastifyBaseLogger } from 'fastify';
import { bringUp, isStoreAway, type BringUpDeps } from './bring-up.ts';
import { requireSameRequest, type Entries, type Entry } from './entries.ts';
import { watchHealth } from '../health/watch-health.ts';
import type { HostExit, HostProcess } from './host-process.ts';
import { isLive } from './process-life.ts';
import { decideRestart, defaultRestartPolicy } from './restart-policy.ts';
import { planStart, type PlannerDeps } from './start-plan.ts';
import { stopHost, within } from './stop-host.ts';

export interface SupervisorDeps extends BringUpDeps {
  entries: Entries;
  planner: PlannerDeps;
  /** Rejects (HF_CAPACITY) when the disk is too full to start anything. */
  requireDisk: () => Promise<void>;
  log: FastifyBaseLogger;
  onStartDuration(ms: number): void;
}

/** After the grace is over: how long SIGKILL may take to be seen. */
const deathMs = 5_000;
/** Between two tries to restart what needs a coordination store that is away. */
const storeAwayMs = 1_000;
const defaultHealth: HealthSettings = { livenessMs: DEFAULTS.livenessMs, http: null };

export class Supervisor {
  readonly #deps: SupervisorDeps;
  #closed = false;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
  }

  /**
   * Starts a host, or a component in a host. The same request with the same settingsId gives the same process.
   * @throws HoldfastError see `planStart`; HF_START_FAILED, HF_SETTINGS_ID_CONFLICT, HF_CAPACITY, HF_UNAVAILABLE
   */
  async start(packageName: string, request: StartProcessRequest): Promise<ProcessInfo> {
    const before = await this.#existing(packageName, request);
    if (before) return before;
    await this.#deps.requireDisk();
    const plan = await planStart(this.#deps.planner, packageName, request);
    const meanwhile = await this.#existing(packageName, request);
    if (meanwhile) return meanwhile;
    if (this.#closed) throw stopping();
    // Nothing is awaited between the look and the entry: of equal requests one makes it, the others find it.
    const entry = this.#deps.entries.add(packageName, request, plan);
    entry.starting = this.#firstStart(entry, plan);
    return entry.starting;
  }

  /** Stops entries, each gracefully first. Never rejects: what could not be stopped is in the answer. */
  async kill(entries: Entry[], graceMs: number = DEFAULTS.stopGraceMs): Promise<KillOutcome> {
    const outcome: KillOutcome = { killed: [], failed: [] };
    await Promise.all(
      entries.map(async entry => {
        const { processId } = entry.record;
        try {
          entry.stopping ??= this.#stop(entry, graceMs).finally(() => (entry.stopping = null));
          await entry.stopping;
          if (entry.record.processId !== '') outcome.killed.push(entry.record.processId);
        } catch (error) {
          outcome.failed.push({ processId, message: (error as Error).message });
        }
      }),
    );
    return outcome;
  }

  /** Looks after the health of the entry's process, and takes care of its end when nobody asked for that. */
  watch(entry: Entry, host: HostProcess): void {
    entry.endWatch?.();
    entry.endWatch = watchHealth({
      system: this.#deps.system,
      log: this.#deps.log,
      host,
      health: entry.record.request.health ?? defaultHealth,
      port: entry.record.healthPort ?? null,
      firstAnswerMs: this.#deps.startTimeoutMs,
      active: () => entry.host === host && entry.record.state === 'Running',
      onSick: (type, reason) => {
        if (host.ended || host.endExpected) return;
        this.#deps.entries.publish(entry, type, { reason });
        host.kill(reason);
      },
    });
    void host.gone.then(exit => {
      if (this.#closed || entry.host !== host || !isLive(entry.record.state)) return;
      if (entry.record.state === 'Stopping') this.#deps.entries.finish(entry, exit, 'process-stopped');
      else if (endedInOrder(host, exit)) this.#deps.entries.finish(entry, exit, 'process-stopped');
      else this.crashed(entry, exit);
    });
  }

  /** Decides what becomes of an entry whose process is gone. */
  crashed(entry: Entry, exit: HostExit): void {
    const { system, entries } = this.#deps;
    const { record } = entry;
    const decision = decideRestart({
      policy: policyOf(entry),
      crashes: record.crashes,
      nowMs: system.clock.bootMs(),
      jitter: system.random.fraction(),
    });
    record.crashes = decision.crashes;
    record.lastExit = exit;
    const facts = { reason: exit.reason, code: exit.code, signal: exit.signal };
    if (decision.action === 'give-up') {
      entries.publish(entry, 'process-crashed', facts);
      entries.advance(entry, 'gave-up', 'process-crash-loop', { ...facts, crashes: decision.crashes.length });
      entry.host = null;
    } else if (
      entries.advance(entry, 'restarting', 'process-crashed', { ...facts, restartInMs: decision.afterMs })
    ) {
      entry.host = null;
      this.restartAfter(entry, decision.afterMs);
    }
  }

  restartAfter(entry: Entry, ms: number): void {
    const cancel = this.#deps.system.timers.after(ms, () => {
      if (this.#closed || entry.abort.signal.aborted) return;
      entry.bringUp = this.#restart(entry).finally(() => (entry.bringUp = null));
    });
    entry.abort.signal.addEventListener('abort', cancel, { once: true });
  }

  /** No start and no restart from now on. */
  close(): void {
    this.#closed = true;
    for (const entry of this.#deps.entries.all()) {
      entry.endWatch?.();
      entry.abort.abort(stopping());
    }
  }

  /** The live entry of this settingsId, as soon as it can be answered; null when a start is due. */
  async #existing(packageName: string, request: StartProcessRequest): Promise<ProcessInfo | null> {
    const { entries, system } = this.#deps;
    if (this.#closed) throw stopping();
    while (request.settingsId !== undefined) {
      const entry = entries.bySettingsId(request.settingsId);
      if (!entry) return null;
      if (entry.stopping) {
        await entry.stopping.catch(() => {}); // whoever stops it hears of the failure
        if (entries.bySettingsId(request.settingsId) !== entry) continue;
        throw new HoldfastError('HF_WRONG_STATE', `${entry.record.processId} is stopping and does not end`);
      }
      requireSameRequest(entry, packageName, request);
      if (isLive(entry.record.state)) return entry.starting ?? entries.info(entry);
      // A crash loop is no live process: asking for it again is how it gets another chance.
      const at = isoTime(system.clock);
      const exit = entry.record.lastExit ?? { code: null, signal: null, reason: 'crash loop', at };
      entries.finish(entry, exit, 'process-stopped');
    }
    return null;
  }

  async #firstStart(entry: Entry, plan: Awaited<ReturnType<typeof planStart>>): Promise<ProcessInfo> {
    const { system, entries, store, spares, onStartDuration } = this.#deps;
    const beganMs = system.clock.monotonicMs();
    const startEnds = spares.startBegins();
    try {
      entry.bringUp = bringUp(this.#deps, entry, plan, entry.abort.signal);
      await entry.bringUp;
      entry.record.everRan = true;
      if (!entries.advance(entry, 'ready', 'process-started')) throw startStopped();
      this.watch(entry, entry.host!);
      onStartDuration(system.clock.monotonicMs() - beganMs);
      await store.settled(); // an answered start is on disk
      return entries.info(entry);
    } catch (error) {
      // A stop that came meanwhile puts the host away itself.
      if (entry.record.state === 'Starting' && !this.#closed) {
        await this.#putAway(entry, (error as Error).message);
      }
      throw error;
    } finally {
      entry.bringUp = null;
      entry.starting = null;
      startEnds();
    }
  }

  async #putAway(entry: Entry, reason: string): Promise<void> {
    const { system, entries } = this.#deps;
    const { host } = entry;
    const exit = host ? await stopHost(system, host, { graceMs: 1_000, reason: 'its start failed' }) : null;
    const at = isoTime(system.clock);
    const why = { code: exit?.code ?? null, signal: exit?.signal ?? null, reason, at };
    entries.finish(entry, why, 'process-start-failed');
  }

  async #restart(entry: Entry): Promise<void> {
    const { entries, planner, spares, system } = this.#deps;
    const { record } = entry;
    entries.archiveProcess(entry);
    if (!entries.advance(entry, 'retry')) return;
    record.restarts++;
    record.startedAt = isoTime(system.clock);
    const startEnds = spares.startBegins();
    try {
      const plan = await planStart(planner, record.packageName, pinned(entry));
      await bringUp(this.#deps, entry, plan, entry.abort.signal);
      record.everRan = true;
      if (entries.advance(entry, 'ready', 'process-restarted')) this.watch(entry, entry.host!);
    } catch (error) {
      if (this.#closed || record.state !== 'Starting') return; // whoever stopped it puts the host away
      const stopped = entry.host
        ? await stopHost(system, entry.host, { graceMs: 1_000, reason: 'its restart failed' })
        : null;
      if (record.state !== 'Starting') return;
      const { code = null, signal = null } = stopped ?? {};
      const exit = { code, signal, reason: (error as Error).message, at: isoTime(system.clock) };
      if (isStoreAway(error)) this.#waitForStore(entry, exit);
      else this.crashed(entry, exit);
    } finally {
      startEnds();
    }
  }

  /** Goes on trying, and counts it as no crash: whatever runs without the store must not be given up for want of it. */
  #waitForStore(entry: Entry, exit: HostExit): void {
    entry.record.lastExit = exit;
    const { reason, code, signal } = exit;
    const facts = { reason, code, signal, restartInMs: storeAwayMs };
    if (!this.#deps.entries.advance(entry, 'restarting', 'process-crashed', facts)) return;
    entry.host = null;
    this.restartAfter(entry, storeAwayMs);
  }

  async #stop(entry: Entry, graceMs: number): Promise<void> {
    const { system, entries, store } = this.#deps;
    entries.advance(entry, 'stop');
    // On disk first, so that an agent which dies here is followed by one that goes on stopping.
    await store.settled();
    entry.abort.abort(startStopped());
    await entry.bringUp?.catch(() => {}); // it ends because of the abort, and its caller is told so
    const at = isoTime(system.clock);
    const reason = 'stopped by request';
    if (!entry.host)
      return entries.finish(entry, { code: null, signal: null, reason, at }, 'process-stopped');
    const exit = await within(system, graceMs + deathMs, stopHost(system, entry.host, { graceMs, reason }));
    if (!exit) {
      this.watch(entry, entry.host); // should it end after all
      throw new HoldfastError('HF_INTERNAL', `it did not end within ${graceMs + deathMs} ms`);
    }
    entries.finish(entry, exit, 'process-stopped');
  }
}

/** A run of a job that crashed is not tried again here: whoever asked for it decides that, and counts its attempts. */
function policyOf({ record }: Entry): RestartPolicy {
  const policy = record.request.restart ?? defaultRestartPolicy;
  return record.request.job ? { ...policy, maxAttempts: 0 } : policy;
}

/** A host that was told to shut down by its own API is not started again. */
function endedInOrder(host: HostProcess, exit: HostExit): boolean {
  const state = host.status?.state;
  return exit.code === 0 && (state === 'Stopping' || state === 'Stopped' || state === 'Destroyed');
}

/** A restart runs the versions that were running, whatever is current meanwhile. */
function pinned({ record }: Entry): StartProcessRequest {
  const { request, publisher } = record;
  return {
    ...request,
    instanceId: record.instanceId,
    version: record.packageVersion,
    ...(publisher && request.messagePublisher
      ? { messagePublisher: { ...request.messagePublisher, packageVersion: publisher.packageVersion } }
      : {}),
  };
}

function stopping(): HoldfastError {
  return new HoldfastError('HF_UNAVAILABLE', 'the node agent is stopping');
}

function startStopped(): HoldfastError {
  return new HoldfastError('HF_START_FAILED', 'it was stopped while it started');
}
