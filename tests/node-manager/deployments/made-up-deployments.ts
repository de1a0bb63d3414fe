/** Revisions, and an instance whose copies do what a plan under the machine's rollouts would make of them. */
import assert from 'node:assert/strict';
import { fillInstance, type HoldfastError } from '#core';
import {
  applyCommand,
  NO_DEPLOYMENTS,
  rolloutsOf,
  stepDeployments,
  type DeploymentCommand,
  type DeploymentsState,
  type InstanceProgress,
  type Revision,
  type StepFacts,
  type StepOutcome,
  type Watches,
} from '#node-manager';

export type Update = Partial<Revision['instance']['update']>;

export function revisionOf(
  packageVersion: string,
  update: Update = {},
  more: Partial<Revision> = {},
): Revision {
  const filled = fillInstance({ id: 'api', packageName: 'app', packageVersion, update: update as object });
  return {
    instance: filled,
    packageVersion,
    publisherVersion: null,
    hostVersion: '1.0.0',
    restart: null,
    ...more,
  };
}

interface MadeUpCopy {
  revisionId: string;
  available: boolean;
}

export interface MadeUpInstance {
  state: DeploymentsState;
  watches: Watches;
  /** The version that the settings want. */
  wanted: string;
  update: Update;
  nowMs: number;
  copies: MadeUpCopy[];
  /** Versions whose copies do not start. */
  bad: Set<string>;
  /** Versions whose copies start, but never get ready. */
  stuck: Set<string>;
  /** Every change that was told, and every restore that was asked for. */
  told: { id: string; state: string; to: string }[];
  restored: { deploymentId: string; from: string; to: string }[];
  /** Starts that failed in the last sync. */
  failedStarts: { version: string; atMs: number }[];
  /** No copy can be placed. */
  full: boolean;
}

export function madeUp(desired: number, update: Update = {}): MadeUpInstance {
  return {
    state: NO_DEPLOYMENTS,
    watches: {},
    wanted: '1.0.0',
    update,
    nowMs: 0,
    copies: Array.from({ length: desired }, () => ({ revisionId: '', available: false })),
    bad: new Set(),
    stuck: new Set(),
    told: [],
    restored: [],
    failedStarts: [],
    full: false,
  };
}

export function progressOf(world: MadeUpInstance): InstanceProgress {
  const of = (copy: MadeUpCopy) => copy.revisionId === world.wanted;
  return {
    instanceId: 'api',
    packageName: 'app',
    revision: revisionOf(world.wanted, world.update),
    revisionId: world.wanted,
    desired: world.copies.length,
    updated: world.copies.filter(of).length,
    available: world.copies.filter(copy => of(copy) && copy.available).length,
    outdated: world.copies.filter(copy => !of(copy) && copy.revisionId !== '').length,
    serving: world.copies.filter(copy => !of(copy) && copy.available).length,
    failures: [
      ...world.copies
        .filter(copy => of(copy) && !copy.available)
        .map(() => failure('not-ready', null, 'it is Started', null)),
      ...world.failedStarts
        .filter(({ version }) => version === world.wanted)
        .map(({ atMs }) => failure('start-failed', 'HF_START_FAILED', 'it does not start', atMs)),
    ],
  };
}

function failure(
  kind: 'not-ready' | 'start-failed',
  code: 'HF_START_FAILED' | null,
  message: string,
  failedAtMs: number | null,
): InstanceProgress['failures'][number] {
  return { slot: '0', node: 'node-1', kind, code, message, failedAtMs };
}

export function factsOf(world: MadeUpInstance, progress = [progressOf(world)]): StepFacts {
  return {
    progress,
    declared: new Set(['api']),
    entries: { api: { id: 'api', packageName: 'app', packageVersion: world.wanted } },
    by: 'somebody',
    pinsHost: true,
    nowMs: world.nowMs,
    now: new Date(world.nowMs).toISOString(),
  };
}

/** One step of the machine; its restores come true when `restores` says so. */
export function stepOnce(world: MadeUpInstance, { restores = true } = {}): StepOutcome {
  const outcome = stepDeployments(world.state, world.watches, factsOf(world));
  world.state = outcome.state;
  world.watches = outcome.watches;
  for (const record of outcome.changed) {
    world.told.push({ id: record.id, state: record.state, to: record.to.revisionId });
  }
  for (const { deploymentId, good } of restores ? outcome.restores : []) {
    world.restored.push({ deploymentId, from: world.wanted, to: good.revisionId });
    world.wanted = good.revisionId;
  }
  return outcome;
}

/** What a sync makes of the copies: missing ones start, one that must go is replaced. */
export function planOnce(world: MadeUpInstance): void {
  const rollout = rolloutsOf(world.state, [{ instanceId: 'api', revisionId: world.wanted }])['api'];
  const previous = rollout?.previous?.packageVersion ?? world.wanted;
  const limit = rollout?.limit ?? world.copies.length;
  world.failedStarts = [];
  const updated = () => world.copies.filter(copy => copy.revisionId === world.wanted).length;
  for (const copy of world.copies) {
    if (copy.revisionId === '') start(copy);
    else if (!copy.available && !world.stuck.has(copy.revisionId)) copy.available = true;
  }
  if (rollout?.paused || world.failedStarts.length > 0) return;
  const allUp = world.copies.every(copy => copy.available);
  const tooMany = updated() > limit;
  const leaving = world.copies.filter(copy =>
    tooMany ? copy.revisionId === world.wanted : copy.revisionId !== world.wanted && copy.revisionId !== '',
  );
  // What is down takes nothing away by going.
  const going = leaving.find(copy => !copy.available) ?? leaving[0];
  if (!going || (!tooMany && updated() >= limit)) return;
  if (!allUp && going.available) return;
  going.revisionId = '';
  going.available = false;
  start(going);

  function start(copy: MadeUpCopy): void {
    const version = updated() < limit ? world.wanted : previous;
    if (world.full) return;
    if (world.bad.has(version)) return void world.failedStarts.push({ version, atMs: world.nowMs });
    copy.revisionId = version;
    copy.available = false;
  }
}

/** Steps and syncs in turn, time passing, until nothing changes for longer than any deadline. */
export function settle(world: MadeUpInstance, ticksMax = 400): void {
  for (let tick = 0, idle = 0; tick < ticksMax && idle < 80; tick++, world.nowMs += 1_000) {
    const before = JSON.stringify([world.state, world.copies, world.wanted]);
    stepOnce(world);
    planOnce(world);
    idle = JSON.stringify([world.state, world.copies, world.wanted]) === before ? idle + 1 : 0;
  }
}

export function command(world: MadeUpInstance, name: DeploymentCommand, id = activeId(world)): string {
  const outcome = applyCommand(
    world.state,
    { id, command: name, by: 'an operator', now: new Date(world.nowMs).toISOString() },
    () => progressOf(world).updated,
  );
  world.state = outcome.state;
  return outcome.record.state;
}

export function refused(world: MadeUpInstance, name: DeploymentCommand, id?: string): string {
  try {
    command(world, name, id);
  } catch (error) {
    return (error as HoldfastError).code;
  }
  return assert.fail(`${name} was not refused`);
}

export function activeOf(world: MadeUpInstance) {
  return world.state.instances['api']?.active?.record ?? null;
}

export function activeId(world: MadeUpInstance): string {
  return activeOf(world)?.id ?? 'none';
}

/** A new leader knows what is stored, and nothing else. */
export function changeLeader(world: MadeUpInstance): void {
  world.state = JSON.parse(JSON.stringify(world.state)) as DeploymentsState;
  world.watches = {};
}

/** How deployments ended, oldest first. */
export function outcomes(world: MadeUpInstance): string[] {
  return world.state.ended.map(record => `${record.to.packageVersion} ${record.state}`).reverse();
}
