/**
 * The deployments of all instances, decided: from what is remembered, what is measured and what was observed to what is remembered next
 * and what is to be done. Pure; who carries it out writes the new state first, so that a leader that dies in between is
 * followed by one that does the same again.
 *
 *   the settings want another revision than the good one
 *      │
 *      ▼            promoted
 *   canary ────────────────────▶ rolling ──── all copies available ───▶ succeeded
 *      │ ╲                     ╱    │
 *      │  ╲ pause ▶ paused ◀ pause  │     (a failure without autoRollback pauses, too)
 *      │           ╱ resume         │
 *      ▼          ▼ abort           ▼
 *   rolling-back ── all copies are back ──▶ rolled-back, or aborted when an operator asked
 *
 * What must hold: one active deployment for each instance; a revision that was rolled back is not begun again unless the settings
 * ask for it again; `good` is a revision that all copies ran in good health (the first one: that some did); what goes back goes to `good`.
 */
import type { InstanceProgress } from '../planning/progress.ts';
import { earliest } from '../planning/rolling.ts';
import { canGoBack, changesInWords } from './differences.ts';
import { judge, type Verdict } from './judge.ts';
import type {
  ActiveDeployment,
  DeploymentRecord,
  DeploymentsState,
  Target,
  Track,
  Watch,
  Watches,
} from './model.ts';

export interface StepFacts {
  /** Of every instance that the settings have and whose packages are known. */
  progress: readonly InstanceProgress[];
  /** Ids of all instances that the settings have, also those whose packages are not known. */
  declared: ReadonlySet<string>;
  /** The entries of the settings as they were written, by instance id. */
  entries: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Who changed the settings last. */
  by: string;
  /** Whether the settings say which version of the host package it is, or leave it to the newest. */
  pinsHost: boolean;
  /** Monotonic. */
  nowMs: number;
  /** ISO 8601. */
  now: string;
}

/** The settings are to be edited so that the instance becomes again what `good` says. Idempotent. */
export interface Restore {
  instanceId: string;
  deploymentId: string;
  good: Target;
  target: Target;
}

export interface StepOutcome {
  /** The same object if nothing changed. */
  state: DeploymentsState;
  watches: Watches;
  restores: Restore[];
  /** Deployments that began, or changed their state. */
  changed: DeploymentRecord[];
  /** When time alone may change something; null: never. */
  dueInMs: number | null;
}

export const ENDED_MAX = 100;
const versionsMax = 10;

export function step(state: DeploymentsState, watches: Watches, facts: StepFacts): StepOutcome {
  const restores: Restore[] = [];
  const changed: DeploymentRecord[] = [];
  const nextWatches: Record<string, Watch> = {};
  const instances: Record<string, Track> = {};
  const ended: DeploymentRecord[] = [];
  let { count } = state;
  let differs = false;
  let dueInMs: number | null = null;

  for (const [id, track] of Object.entries(state.instances)) {
    if (facts.declared.has(id)) instances[id] = track;
    else {
      differs = true;
      if (track.active) end(track.active, 'superseded', 'the instance was taken out of the settings');
    }
  }
  for (const progress of facts.progress) {
    const { instanceId } = progress;
    const before = instances[instanceId] ?? emptyTrack;
    const after = stepInstance(before, progress);
    if (after !== before) {
      differs = true;
      instances[instanceId] = after;
    }
  }
  return {
    state: differs
      ? { count, instances, ended: [...ended.reverse(), ...state.ended].slice(0, ENDED_MAX) }
      : state,
    watches: nextWatches,
    restores,
    changed,
    dueInMs,
  };

  function stepInstance(track: Track, progress: InstanceProgress): Track {
    const target = targetOf(progress);
    const { active, good } = track;
    if (active) return stepActive(track, active, target, progress);
    if (target.revisionId === good?.revisionId) return track;
    if (target.revisionId === track.spent) {
      // It was given up, and came to life after all.
      return judge(progress, 'all', null, facts.nowMs).verdict.kind === 'reached'
        ? becomesGood(track, target)
        : track;
    }
    return begin(track, target, progress);
  }

  function begin(track: Track, target: Target, progress: InstanceProgress): Track {
    const { instanceId, packageName } = progress;
    const { good } = track;
    const asked = track.canary?.packageVersion === target.revision.packageVersion ? track.canary : null;
    const { update } = target.revision.instance;
    const canary = good === null ? null : (asked ?? (update.strategy === 'canary' ? update.canary : null));
    const state = canary ? 'canary' : 'rolling';
    const unpinned = facts.entries[instanceId]?.packageVersion === undefined;
    const [was, becomes] = [good?.revision, target.revision];
    // Nobody edited the settings: the newest version became another one.
    const byUpload =
      was !== undefined &&
      ((unpinned && was.packageVersion !== becomes.packageVersion) ||
        (!facts.pinsHost && was.hostVersion !== becomes.hostVersion));
    const record: DeploymentRecord = {
      id: `${instanceId}-${++count}`,
      instanceId,
      packageName,
      from: good && shortly(good),
      to: shortly(target),
      changes: good ? changesInWords(good, target) : ['its first revision'],
      by: byUpload ? 'upload' : facts.by,
      strategy: state,
      canary: canary && {
        instances: canary.instances,
        promoteAfterMs: canary.promoteAfterMs,
        promotedAt: null,
        promotedBy: null,
      },
      state,
      reason: null,
      startedAt: facts.now,
      changedAt: facts.now,
      endedAt: null,
    };
    changed.push(record);
    const active: ActiveDeployment = { record, target, onResume: state, heldAt: 0, endsAs: 'rolled-back' };
    return stepActive({ ...track, active, spent: null, canary: null }, active, target, progress);
  }

  function stepActive(
    track: Track,
    active: ActiveDeployment,
    target: Target,
    progress: InstanceProgress,
  ): Track {
    const { state } = active.record;
    const wanted = target.revisionId;
    if (wanted === active.target.revisionId) {
      if (state === 'rolling-back') {
        restore(track, active);
        return track;
      }
      return state === 'paused' ? track : goOn(track, active, target, progress);
    }
    if (wanted === track.good?.revisionId) return goBack(track, active, target, progress);
    // Something else is wanted now. What was on its way back is not needed back any more.
    if (state === 'rolling-back') end(active, active.endsAs, active.record.reason);
    else end(active, 'superseded', 'the settings changed again');
    // A first revision that serves already is worth going back to, though it was not there everywhere yet.
    const isUsable = track.good === null && progress.serving > 0;
    return begin(isUsable ? becomesGood(track, active.target) : track, target, progress);
  }

  function goOn(track: Track, active: ActiveDeployment, target: Target, progress: InstanceProgress): Track {
    const { record } = active;
    const { update } = target.revision.instance;
    const canaries = record.state === 'canary' ? (record.canary?.instances ?? 1) : null;
    const verdict = measure(active, progress, canaries ?? 'all');
    switch (verdict.kind) {
      case 'failed':
        return fail(track, active, verdict.reason, progress);
      case 'waiting':
        return noted(track, active, verdict.reason);
      case 'going':
        return noted(track, active, null);
      case 'reached':
        break;
    }
    if (canaries === null) {
      return { ...becomesGood(track, target), active: endedNull(active, 'succeeded', verdict.reason) };
    }
    const { promoteAfterMs } = record.canary!;
    if (promoteAfterMs === null) return noted(track, active, null);
    const leftMs = promoteAfterMs - verdict.steadyMs;
    if (leftMs > 0) {
      dueInMs = earliest([dueInMs, leftMs]);
      return noted(track, active, null);
    }
    const promoted = promote(active, 'timer', facts.now);
    changed.push(promoted.record);
    return stepActive({ ...track, active: promoted }, promoted, target, progress);

    function noted(of: Track, present: ActiveDeployment, reason: string | null): Track {
      if (present.record.reason === reason) return of;
      return { ...of, active: { ...present, record: { ...present.record, reason } } };
    }
    function fail(of: Track, present: ActiveDeployment, reason: string, seen: InstanceProgress): Track {
      if (of.good === null) {
        return { ...of, active: endedNull(present, 'failed', reason), spent: present.target.revisionId };
      }
      const back = update.autoRollback && canGoBack(of.good, present.target);
      const next: ActiveDeployment = {
        ...present,
        heldAt: seen.updated,
        onResume: present.record.state === 'canary' ? 'canary' : 'rolling',
        endsAs: 'rolled-back',
        record: {
          ...present.record,
          state: back ? 'rolling-back' : 'paused',
          reason: back ? reason : `halted: ${reason}`,
          changedAt: facts.now,
        },
      };
      changed.push(next.record);
      if (back) restore(of, next);
      return { ...of, active: next };
    }
  }

  /** The settings want what was before: by our own edit, or by an operator's. */
  function goBack(track: Track, active: ActiveDeployment, target: Target, progress: InstanceProgress): Track {
    let present = active;
    if (active.record.state !== 'rolling-back') {
      const reason = `the settings went back to what they were (${facts.by})`;
      present = {
        ...active,
        record: { ...active.record, state: 'rolling-back', reason, changedAt: facts.now },
      };
      changed.push(present.record);
    }
    const verdict = measure(present, progress, 'all');
    if (verdict.kind === 'reached') {
      return { ...track, good: target, active: endedNull(present, present.endsAs, present.record.reason) };
    }
    if (verdict.kind === 'failed' && verdict.byDeadline) {
      const reason = [present.record.reason, `what was before does not come up either: ${verdict.reason}`];
      return { ...track, active: endedNull(present, 'failed', reason.filter(Boolean).join('; ')) };
    }
    return present === active ? track : { ...track, active: present };
  }

  function measure(active: ActiveDeployment, progress: InstanceProgress, count: number | 'all'): Verdict {
    const { id, state, changedAt } = active.record;
    // Going back is measured from when the settings have gone back.
    const phase = `${state} ${changedAt} ${progress.revisionId}`;
    const watch = watches[id]?.phase === phase ? watches[id] : null;
    const outcome = judge(progress, count, watch, facts.nowMs);
    nextWatches[id] = { ...outcome.watch, phase };
    dueInMs = earliest([dueInMs, outcome.dueInMs]);
    return outcome.verdict;
  }

  function restore(track: Track, active: ActiveDeployment): void {
    const { instanceId, id: deploymentId } = active.record;
    if (track.good) restores.push({ instanceId, deploymentId, good: track.good, target: active.target });
  }

  function endedNull(
    active: ActiveDeployment,
    state: DeploymentRecord['state'],
    reason: string | null,
  ): null {
    end(active, state, reason);
    return null;
  }

  function end(active: ActiveDeployment, state: DeploymentRecord['state'], reason: string | null): void {
    const record = { ...active.record, state, reason, changedAt: facts.now, endedAt: facts.now };
    ended.push(record);
    changed.push(record);
  }

  function targetOf({ instanceId, revisionId, revision }: InstanceProgress): Target {
    return { revisionId, revision, entry: facts.entries[instanceId] ?? null };
  }
}

/** Lets a canary go on to all copies. */
export function promote(active: ActiveDeployment, by: string, now: string): ActiveDeployment {
  const { record } = active;
  return {
    ...active,
    onResume: 'rolling',
    record: {
      ...record,
      state: 'rolling',
      reason: null,
      changedAt: now,
      canary: record.canary && { ...record.canary, promotedAt: now, promotedBy: by },
    },
  };
}

export const emptyTrack: Track = {
  good: null,
  versions: [],
  hostVersions: [],
  active: null,
  spent: null,
  canary: null,
};

function becomesGood(track: Track, target: Target): Track {
  const { packageVersion, hostVersion } = target.revision;
  return {
    ...track,
    good: target,
    versions: walked(track.versions, packageVersion),
    hostVersions: hostVersion === null ? track.hostVersions : walked(track.hostVersions, hostVersion),
    spent: null,
  };
}

/** Versions are a path: going back to one that is on it ends it there, so that the next rollback goes further back. */
function walked(path: readonly string[], version: string): string[] {
  const known = path.indexOf(version);
  return known === -1 ? [...path, version].slice(-versionsMax) : path.slice(0, known + 1);
}

function shortly({ revisionId, revision }: Target): NonNullable<DeploymentRecord['from']> {
  return {
    revisionId,
    packageName: revision.instance.packageName,
    packageVersion: revision.packageVersion,
    publisherVersion: revision.publisherVersion,
    hostVersion: revision.hostVersion,
  };
}
