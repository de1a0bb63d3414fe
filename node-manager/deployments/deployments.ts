/**
 * Carries the deployments out: lets the machine decide on what was observed, writes what it decided, and only then does it. Nothing of
 * it is lost with this process but what it has measured (`Watch`). The copies themselves are the plan's, which gets the rollouts from here.
 */
import { parse } from 'jsonc-parser';
import {
  HoldfastError,
  isoTime,
  type ApiEvent,
  type DeploymentInfo,
  type DeploymentProgress,
  type Logger,
  type MasterDeployment,
  type System,
} from '#core';
import type { Note, RestartsNote } from '../cluster/notes.ts';
import { desiredInstances } from '../planning/desired.ts';
import type { PlanInput, Rollout } from '../planning/model.ts';
import { progressOf, type InstanceProgress } from '../planning/progress.ts';
import type { CurrentSettings, SettingsKeeper } from '../settings/settings-keeper.ts';
import { applyCommand, askForCanaries, type DeploymentCommand } from './commands.ts';
import type { CanaryRequest, DeploymentRecord, DeploymentsState, Track, Watches } from './model.ts';
import { restoredSettings } from './restore.ts';
import { rolloutsOf } from './rollouts.ts';
import { step, type Restore, type StepFacts, type StepOutcome } from './step.ts';

/** What planning knows before it is told what may change. */
export type PlanFacts = Omit<PlanInput, 'rollouts' | 'jobs'>;

export interface Deployments {
  /** Decides and does what is due; only for a leader. Never rejects: what could not be written is decided again. */
  advance(facts: PlanFacts): Promise<void>;
  /** Nothing is decided at present: this time counts for no deadline. */
  rest(): void;
  /** What a plan may change now. */
  rollouts(facts: PlanFacts): Record<string, Rollout>;
  /** What it might change after an `advance`. */
  preview(facts: PlanFacts): Record<string, Rollout>;
  /** When `advance` is due by time alone; null: it is not. */
  dueInMs(): number | null;
  /** Newest first. */
  list(query: { instance?: string; limit: number }): DeploymentInfo[];
  /** @throws HoldfastError HF_NOT_FOUND */
  get(id: string): DeploymentInfo;
  /** @throws HoldfastError HF_NOT_FOUND, HF_WRONG_STATE, HF_ROLLBACK_IMPOSSIBLE, HF_NOT_LEADER */
  command(id: string, command: DeploymentCommand, by: string): Promise<DeploymentInfo>;
  askForCanaries(instanceIds: readonly string[], version: string, canary: CanaryRequest): Promise<void>;
  /** The deployment of the instance that has not ended. */
  activeOf(instanceId: string): MasterDeployment | null;
  /** Packages that must stay as long as a deployment may go back to them. */
  returns(): { deploymentId: string; packageName: string; packageVersion: string }[];
  state(): DeploymentsState;
}

export function createDeployments(options: {
  note: Note<DeploymentsState>;
  restarts: Note<RestartsNote>;
  settings: SettingsKeeper;
  system: System;
  log: Logger;
  request: (reason: string) => void;
  onEvent: (event: ApiEvent) => void;
}): Deployments {
  const { note, settings, system, log } = options;
  let watches: Watches = {};
  let dueInMs: number | null = null;
  let progress = new Map<string, InstanceProgress>();
  /** Why settings could not be set back, by deployment. */
  const problems = new Map<string, string>();
  let parsed: { etag: string; entries: StepFacts['entries'] } | null = null;

  async function advance(facts: PlanFacts): Promise<void> {
    const current = settings.current();
    if (!current) return;
    const seen = factsOf(facts, current);
    progress = new Map(seen.progress.map(item => [item.instanceId, item]));
    try {
      const outcome = await decided(seen);
      watches = outcome.watches;
      dueInMs = outcome.dueInMs;
      for (const record of outcome.changed) tell(record);
      await restoreAll(outcome.restores, current.etag);
    } catch (error) {
      // Until it is written, no change is made that it does not know of: see `rolloutsOf`.
      log.warn({ error: String(error) }, 'the deployments could not go on');
    }
  }

  async function decided(seen: StepFacts): Promise<StepOutcome> {
    const measured = watches;
    let outcome = step(note.current(), measured, seen);
    if (outcome.state !== note.current()) {
      await note.change(present => {
        outcome = step(present, measured, seen);
        return outcome.state === present ? null : outcome.state;
      });
    }
    return outcome;
  }

  /** Goes on only while the settings are those that were decided on: an operator's edit in between is decided on anew. */
  async function restoreAll(restores: readonly Restore[], etag: string): Promise<void> {
    let known = etag;
    for (const restore of restores) {
      const current = settings.current();
      if (current?.etag !== known) return options.request('the settings changed during a rollback');
      try {
        known = await restoreOne(restore, current);
        problems.delete(restore.deploymentId);
      } catch (cause) {
        const { code, message } =
          cause instanceof HoldfastError ? cause : new HoldfastError('HF_INTERNAL', String(cause), { cause });
        problems.set(restore.deploymentId, `the settings could not be set back: ${code}: ${message}`);
        log.warn({ deployment: restore.deploymentId, code, error: message }, 'a rollback of settings failed');
        if (code === 'HF_SETTINGS_CONFLICT') await settings.reconcile();
        return options.request('a rollback of settings failed');
      }
    }
  }

  async function restoreOne(
    { instanceId, deploymentId, good, target }: Restore,
    current: CurrentSettings,
  ): Promise<string> {
    const { restart } = good.revision;
    if (restart !== target.revision.restart) {
      await options.restarts.change(present => {
        const { [instanceId]: _asked, ...others } = present;
        return restart === null ? others : { ...others, [instanceId]: restart };
      });
    }
    const hostPackageName = current.settings.componentHostPackageName;
    const text = restoredSettings(current.text, good, target, hostPackageName);
    if (text === current.text) return current.etag;
    const { etag } = await settings.put(text, current.etag, 'rollback');
    log.warn({ deployment: deploymentId, instance: instanceId }, 'settings set back by a rollback');
    return etag;
  }

  function factsOf(facts: PlanFacts, current: CurrentSettings): StepFacts {
    return {
      progress: progressOf(facts),
      declared: new Set(desiredInstances(facts).map(instance => instance.settings.id)),
      entries: entriesOf(current),
      by: current.updatedBy,
      pinsHost: facts.settings.nodePackages.some(
        ({ name }) => name === facts.settings.componentHostPackageName,
      ),
      nowMs: facts.nowMs,
      now: facts.now,
    };
  }

  function entriesOf({ text, etag }: CurrentSettings): StepFacts['entries'] {
    if (parsed?.etag !== etag) {
      const document = parse(text, [], { allowTrailingComma: true }) as {
        componentInstances?: { id: string; [key: string]: unknown }[];
      };
      parsed = {
        etag,
        entries: Object.fromEntries((document.componentInstances ?? []).map(entry => [entry.id, entry])),
      };
    }
    return parsed.entries;
  }

  function wanted(facts: PlanFacts) {
    return desiredInstances(facts).map(({ settings: { id }, revisionId }) => ({
      instanceId: id,
      revisionId,
    }));
  }

  function tell(record: DeploymentRecord): void {
    const { id, instanceId, packageName, state, reason, to, from, endedAt } = record;
    if (endedAt !== null) problems.delete(id);
    const facts = { id, instanceId, state, version: to.packageVersion, reason };
    if (state === 'rolling-back' || state === 'failed') log.warn(facts, 'deployment');
    else log.info(facts, 'deployment');
    options.onEvent({
      type: 'deployment',
      at: isoTime(system.clock),
      id,
      instanceId,
      packageName,
      from: from?.packageVersion ?? null,
      to: to.packageVersion,
      state,
      reason,
      ended: endedAt !== null,
    });
  }

  function infoOf(record: DeploymentRecord): DeploymentInfo {
    const problem = problems.get(record.id);
    const reason = [record.reason, problem].filter(text => text !== null && text !== undefined).join('; ');
    return {
      ...record,
      reason: reason === '' ? null : reason,
      progress: record.endedAt === null ? progressIn(record.instanceId) : null,
    };
  }

  function progressIn(instanceId: string): DeploymentProgress | null {
    const seen = progress.get(instanceId);
    if (!seen) return null;
    const { desired, updated, available, outdated } = seen;
    return { desired, updated, available, outdated };
  }

  function all(): DeploymentRecord[] {
    const { instances, ended } = note.current();
    const active = Object.values(instances).flatMap(track => (track.active ? [track.active.record] : []));
    return [...active, ...ended].sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1));
  }

  function get(id: string): DeploymentInfo {
    const record = all().find(item => item.id === id);
    if (record) return infoOf(record);
    throw new HoldfastError(
      'HF_NOT_FOUND',
      `there is no deployment ${id}, or not any more; see: holdfast deployments list`,
    );
  }

  return {
    advance,
    rest: () => void (watches = {}),
    rollouts: facts => rolloutsOf(note.current(), wanted(facts)),
    preview(facts) {
      const current = settings.current();
      const state = current ? step(note.current(), watches, factsOf(facts, current)).state : note.current();
      return rolloutsOf(state, wanted(facts));
    },
    dueInMs: () => dueInMs,
    list: ({ instance, limit }) =>
      all()
        .filter(record => instance === undefined || record.instanceId === instance)
        .slice(0, limit)
        .map(infoOf),
    get,
    async command(id, command, by) {
      let changed: DeploymentRecord | null = null;
      await note.change(present => {
        const asked = { id, command, by, now: isoTime(system.clock) };
        const outcome = applyCommand(present, asked, id => progress.get(id)?.updated ?? 0);
        changed = outcome.changed ? outcome.record : null;
        return outcome.changed ? outcome.state : null;
      });
      if (changed) {
        tell(changed);
        options.request(`${id} was asked to ${command}`);
      }
      return get(id);
    },
    async askForCanaries(instanceIds, version, canary) {
      if (instanceIds.length === 0) return;
      await note.change(present => askForCanaries(present, instanceIds, version, canary));
    },
    activeOf(instanceId) {
      const record = note.current().instances[instanceId]?.active?.record;
      if (!record) return null;
      const { id, state, to, canary, progress: counts, reason } = infoOf(record);
      return { id, state, packageVersion: to.packageVersion, reason, canary, progress: counts };
    },
    returns: () => Object.values(note.current().instances).flatMap(returnsOf),
    state: note.current,
  };
}

function returnsOf({ active, good }: Track) {
  if (!active || !good) return [];
  const deploymentId = active.record.id;
  const { instance, packageVersion, publisherVersion } = good.revision;
  const publisher = instance.messagePublisher?.packageName;
  return [
    { deploymentId, packageName: instance.packageName, packageVersion },
    ...(publisher !== undefined && publisherVersion !== null
      ? [{ deploymentId, packageName: publisher, packageVersion: publisherVersion }]
      : []),
  ];
}
