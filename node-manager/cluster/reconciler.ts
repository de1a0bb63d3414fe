/**
 * The loop: observe → plan → apply, one run at a time and at most one waiting. Runs when something changed, when the last
 * plan said that something falls due, every `syncIntervalMs`, and again after every run that acted, until the plan is
 * empty. What takes long goes on while other runs follow. A manager that does not lead observes and plans, so that it can
 * answer, but never applies.
 */
import type { SyncOutcome } from '#client';
import {
  HoldfastError,
  isoTime,
  type ApiEvent,
  type InstanceExplanation,
  type Logger,
  type PlanAction,
  type SyncStatus,
  type System,
} from '#core';
import { nextFailure, pruneFailures } from '../planning/failures.ts';
import type { Deployments, PlanFacts } from '../deployments/deployments.ts';
import type { Action, Failure, Plan, PlanInput } from '../planning/model.ts';
import { explain } from '../planning/explain.ts';
import { plan } from '../planning/plan.ts';
import type { MaintenanceNote } from '../maintenance/nodes.ts';
import { earliest } from '../planning/rolling.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { SettingsKeeper } from '../settings/settings-keeper.ts';
import { apply, type ActionOutcome } from './apply.ts';
import type { Observer } from './observer.ts';
import type { PackageCatalog } from './package-catalog.ts';
import { toPlanAction } from './plan-action.ts';
import { createSyncProgress } from './sync-progress.ts';

export interface ReconcilerOptions {
  /** The processId of this manager. */
  managerId: string;
  system: System;
  log: Logger;
  settings: SettingsKeeper;
  observer: Observer;
  catalog: PackageCatalog;
  restarts: () => Readonly<Record<string, string>>;
  /** Packages that belong on every node. */
  everywhere: () => NonNullable<PlanInput['everywhere']>;
  /** Says what may change of each instance. */
  deployments: Pick<Deployments, 'advance' | 'rest' | 'rollouts' | 'preview' | 'dueInMs'>;
  maintenance: () => MaintenanceNote;
  /** Reads the notes anew, and writes back what the store has forgotten. */
  refreshNotes: () => Promise<void>;
  /** Nothing is done while it is; plans are made all the same. */
  paused: () => boolean;
  jobs: Pick<Jobs, 'advance' | 'look' | 'demands' | 'preview' | 'dueInMs'>;
  /** Copies that may be moved for evenness now. */
  movesLeft: () => number;
  /** Counts moves that are about to begin. */
  countMoves: (moves: number) => Promise<void>;
  /** Leaves the lead to another manager. */
  resign: () => Promise<void>;
  leads: () => boolean;
  deposed: () => void;
  deadAfterMs: number;
  livenessMs: number;
  /** How long the first run waits for nodes that did not answer yet, so that they get their share. */
  startupGraceMs: number;
  onEvent: (event: ApiEvent) => void;
  /** The nodes were looked at and the catalog is known. */
  onObserved: () => void;
}

export interface Reconciler {
  /** Asks for a run soon. */
  request(reason: string): void;
  /** A whole run that begins after this call. */
  sync(reason: string): Promise<SyncOutcome>;
  /** Looks and plans, but does nothing. */
  dryRun(): Promise<PlanAction[]>;
  /** Looks, and says why an instance's copies are where they are; null: there is no such instance, or it is not placed. */
  explain(instanceId: string): Promise<InstanceExplanation | null>;
  plan(): Plan | null;
  lastSync(): SyncOutcome | null;
  progress(): SyncStatus;
  /** A leader begins: what an earlier one learnt of failures does not hold. */
  begin(): void;
  /** Waits a moment for a run under way; what it began is idempotent. */
  stop(): Promise<void>;
}

const followUpMs = 100;
const coalesceMs = 20;
const stopPatienceMs = 2_000;
/** How long a run waits for its actions; most starts take a fraction of it. */
const actPatienceMs = 2_000;

export function createReconciler(options: ReconcilerOptions): Reconciler {
  const { system, log, settings, observer, catalog, deployments, jobs } = options;
  const failures = new Map<string, Failure>();
  /** Ids of actions that have begun and not ended, maybe in an earlier run. */
  const underWay = new Set<string>();
  /** Errors of actions that were not begun because this manager may not act: no fault of theirs. */
  const notAllowed = new WeakSet<HoldfastError>();
  const progress = createSyncProgress();
  let present: Plan | null = null;
  let shownRun: { reason: string; startedAt: string } | null = null;
  let last: SyncOutcome | null = null;
  let running: Promise<SyncOutcome> | null = null;
  let queued: Promise<SyncOutcome> | null = null;
  let stopped = false;
  let graceEndsMs = 0;
  let cancelTimer = () => {};
  let timerDueMs = Infinity;
  let looking = false;

  const cancelLiveness = system.timers.every(options.livenessMs, () => void checkLiveness());
  const now = () => system.clock.monotonicMs();

  function sync(reason: string): Promise<SyncOutcome> {
    if (!running) return begin(reason);
    // Whoever asks while a run is under way gets the next one, all the same one.
    queued ??= running
      .catch(() => {}) // told to those who asked for that run
      .then(() => {
        queued = null;
        return begin(reason);
      });
    return queued;
  }

  function begin(reason: string): Promise<SyncOutcome> {
    cancelTimer();
    timerDueMs = Infinity;
    const current = run(reason).finally(() => {
      if (running === current) running = null;
    });
    running = current;
    return current;
  }

  async function run(reason: string): Promise<SyncOutcome> {
    const startedMs = now();
    const at = isoTime(system.clock);
    let acted = 0;
    shownRun = { reason, startedAt: at };
    try {
      await observe();
      let outcomes: ActionOutcome[] = [];
      const facts = planFacts();
      if (facts && options.leads() && !options.paused() && !stopped) {
        await deployments.advance(facts);
        await jobs.advance(facts);
      } else if (facts) jobs.look(facts);
      const actions = notHeldUp(makePlan()?.actions ?? []);
      if (options.leads() && !options.paused() && !stopped && actions.length > 0) {
        log.info({ reason, actions: actions.length }, 'sync acts');
        outcomes = await act(actions);
        acted = outcomes.length;
      }
      const failed = outcomes
        .filter(outcome => outcome.error !== null)
        .map(({ action, error }) => ({ action: action.id, message: `${error!.code}: ${error!.message}` }));
      last = { at, durationMs: now() - startedMs, actions: actions.map(toPlanAction), failed };
      options.onEvent({
        type: 'sync',
        at,
        reason,
        durationMs: last.durationMs,
        actions: actions.length,
        failed: failed.length,
      });
      return last;
    } finally {
      shownRun = null;
      schedule(acted > 0);
    }
  }

  async function observe(): Promise<void> {
    const current = settings.current();
    if (!current) return;
    observer.setNodes(current.settings);
    await observer.refresh({ packages: true });
    while (options.leads() && !stopped && now() < graceEndsMs && someUnknown()) {
      await system.timers.sleep(followUpMs);
      await observer.refresh({ packages: true });
    }
    await catalog.refresh(current.settings, observer.nodes());
    options.onObserved();
    if (options.leads()) await options.refreshNotes();
    // What was refused for a package that nobody knew may be right by now.
    if (settings.unsettled()) await settings.reconcile();
  }

  function someUnknown(): boolean {
    return observer.nodes().some(node => node.state === 'unknown');
  }

  function planFacts(): PlanFacts | null {
    const current = settings.current();
    return (
      current && {
        settings: current.settings,
        catalog: catalog.entries(),
        observed: observer.nodes(),
        failures,
        restarts: options.restarts(),
        maintenance: options.maintenance(),
        everywhere: options.everywhere(),
        movesLeft: options.movesLeft(),
        managerId: options.managerId,
        nowMs: now(),
        now: isoTime(system.clock),
        deadAfterMs: options.deadAfterMs,
      }
    );
  }

  function makePlan(): Plan | null {
    const facts = planFacts();
    return (present =
      facts && plan({ ...facts, rollouts: deployments.rollouts(facts), jobs: jobs.demands() }));
  }

  /** What a sync would plan from, with the decisions that it would take before. */
  function preview(): PlanInput | null {
    const facts = planFacts();
    if (!facts) return null;
    return options.leads()
      ? { ...facts, rollouts: deployments.preview(facts), jobs: jobs.preview(facts) }
      : { ...facts, rollouts: deployments.rollouts(facts), jobs: jobs.demands() };
  }

  /** Without those that are under way, and those that have to wait for them. A plan lists what is needed first. */
  function notHeldUp(actions: readonly Action[]): Action[] {
    const held = new Set(underWay);
    return actions.filter(({ id, needs }) => {
      const waits = held.has(id) || needs.some(needed => held.has(needed));
      if (waits) held.add(id);
      return !waits;
    });
  }

  async function act(actions: Action[]): Promise<ActionOutcome[]> {
    let late = false;
    const begun = new Set(actions.map(({ id }) => id));
    const moves = (present?.moves ?? []).filter(id => begun.has(id)).length;
    if (moves > 0) await options.countMoves(moves);
    progress.plan(actions);
    const outcomes = await apply(actions, {
      system,
      log,
      client: observer.client,
      bytes: catalog.bytes,
      answers: observer.answers,
      assertLeading() {
        const error =
          stopped || !options.leads()
            ? new HoldfastError('HF_NOT_LEADER', 'leadership was lost')
            : options.paused() && new HoldfastError('HF_WRONG_STATE', 'reconciliation was paused');
        if (!error) return;
        notAllowed.add(error);
        throw error;
      },
      patienceMs: actPatienceMs,
      resign: options.resign,
      onBegin(action) {
        underWay.add(action.id);
        progress.begin(action, isoTime(system.clock));
      },
      onOutcome(outcome) {
        underWay.delete(outcome.action.id);
        progress.end(outcome);
        note(outcome);
        if (late) request(`${outcome.action.id} has ended`);
      },
    });
    late = true;
    pruneFailures(failures, now());
    return outcomes;
  }

  function note({ action, result, error }: ActionOutcome): void {
    if (result === 'done') failures.delete(action.id);
    if (error?.code === 'HF_LEADER_STALE') options.deposed();
    else if (error && error.code !== 'HF_NOT_LEADER' && !notAllowed.has(error)) {
      failures.set(action.id, nextFailure(failures.get(action.id), action, error, now()));
      const refused = error.code === 'HF_PACKAGE_INVALID' || error.code === 'HF_PACKAGE_TOO_LARGE';
      if (action.type === 'upload-package' && refused) {
        catalog.reject(action.packageName, action.packageVersion, error.message);
      }
    }
    if (result === 'skipped') return;
    options.onEvent({
      type: 'action',
      at: isoTime(system.clock),
      action: action.type,
      target: toPlanAction(action).target,
      reason: action.reason,
      result,
      ...(error ? { error: `${error.code}: ${error.message}` } : {}),
    });
  }

  /** Between runs: nodes that stop answering, come back or are given up are noticed without asking for everything. */
  async function checkLiveness(): Promise<void> {
    if (looking || stopped || !settings.current()) return;
    looking = true;
    try {
      await observer.refresh({ packages: false });
      if (running) return;
      const acts = notHeldUp(makePlan()?.actions ?? []).length > 0 && options.leads() && !options.paused();
      if (acts) request('a look at the nodes');
    } catch (error) {
      log.error({ error: String(error) }, 'looking at the nodes failed');
    } finally {
      looking = false;
    }
  }

  function schedule(acted: boolean): void {
    const intervalMs = settings.current()?.settings.syncIntervalMs ?? 1_000;
    const decides = options.leads() && !options.paused();
    const dueMs = earliest([
      present?.dueInMs ?? null,
      ...(decides ? [deployments.dueInMs(), jobs.dueInMs()] : []),
    ]);
    const nextMs = acted
      ? followUpMs
      : earliest([intervalMs, dueMs === null ? null : Math.max(followUpMs, dueMs)])!;
    wake(nextMs, acted ? 'follow-up' : 'timer');
  }

  function wake(afterMs: number, reason: string): void {
    if (stopped || now() + afterMs >= timerDueMs) return;
    cancelTimer();
    timerDueMs = now() + afterMs;
    cancelTimer = system.timers.after(afterMs, () => {
      sync(reason).catch((error: unknown) => log.error({ error: String(error) }, 'sync failed'));
    });
  }

  function request(reason: string): void {
    if (!running) return wake(coalesceMs, reason);
    sync(reason).catch((error: unknown) => log.error({ error: String(error) }, 'sync failed'));
  }

  return {
    request,
    sync,
    async dryRun() {
      await observe();
      const input = preview();
      present = input && plan(input);
      return (present?.actions ?? []).map(toPlanAction);
    },
    async explain(instanceId) {
      await observe();
      const input = preview();
      return input && explain(input, instanceId);
    },
    plan: () => present,
    lastSync: () => last,
    progress: () => ({ running: shownRun, actions: progress.actions() }),
    begin() {
      failures.clear();
      deployments.rest();
      graceEndsMs = now() + options.startupGraceMs;
    },
    async stop() {
      stopped = true;
      cancelLiveness();
      cancelTimer();
      const ended = running?.catch(() => {}); // told to those who asked for it
      await Promise.race([ended, system.timers.sleep(stopPatienceMs)]);
      cancelTimer();
    },
  };
}
