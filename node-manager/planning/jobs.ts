/**
 * Runs of jobs in the plan: what is demanded (`jobs/`) is started once, and every other process of a job is stopped. Whether a run has ended,
 * and whether there is another, is not decided here. Pure.
 *
 * A run keeps the version that it began with, and stays where it is, also on a node that is being drained, until its time there is over.
 */
import type { MasterInstance } from '#core';
import type { JobDemand } from '../jobs/model.ts';
import type { PlanContext } from './context.ts';
import type { Copy } from './copies.ts';
import type { DesiredInstance } from './desired.ts';
import type { PlanNode } from './nodes.ts';
import { occupy, place, type PlacementRequest } from './placement.ts';
import type { DesiredRevision } from './revision.ts';

export interface PlannedJob {
  instance: DesiredInstance;
  request: PlacementRequest;
  copies: readonly Copy[];
}

/** Processes of jobs take their room before anything is placed. */
export function occupyForJobs(jobs: readonly PlannedJob[], { nodes }: PlanContext): void {
  for (const { copies, request } of jobs) {
    for (const copy of copies) {
      const node = nodes.byName.get(copy.node);
      if (node) occupy(node, request);
    }
  }
}

export function planJob({ instance, request, copies }: PlannedJob, context: PlanContext): MasterInstance {
  const { input, nodes, packages, list } = context;
  const { id } = instance.settings;
  const problems: string[] = instance.problem === null ? [] : [instance.problem];
  const demand = input.jobs?.[id];
  const runs: Copy[] = [];
  if (demand !== undefined) {
    for (const copy of copies) {
      const departure = nodes.departures.get(copy.node);
      if (copy.slot !== demand?.slot) list.stop(copy, 'it is not, or no longer, to run');
      else if (departure?.overdue) list.stop(copy, departure.reason);
      else runs.push(copy);
    }
  }
  const starts = demand && !demand.begun && runs.length === 0 && instance.current !== null;
  if (starts) start(demand, instance.current!);
  return report();

  function start(demand: JobDemand, current: DesiredRevision): void {
    const target = running(current, demand);
    const failure = list.failureOf(target, demand.slot);
    const waits = failure !== undefined && failure.retryAtMs > input.nowMs;
    if (failure) {
      problems.push(
        `run ${demand.slot} did not start on ${failure.node}: ${failure.code}: ${failure.message}`,
      );
      if (waits) list.due(failure.retryAtMs - input.nowMs);
      if (waits && failure.code !== 'HF_CAPACITY') return;
    }
    const outcome = place(request, nodes.all, (node: PlanNode) => {
      if (node.closed !== null) return node.closed;
      if (waits && failure.node === node.name) return `refused it: ${failure.message}`;
      return packages.unfit(node.name, target.packages);
    });
    if (outcome.node === null) {
      problems.push(`run ${demand.slot} cannot be placed: ${outcome.reason}`);
      return;
    }
    occupy(outcome.node, request);
    const needs = packages.needsOf(outcome.node.name, target.packages);
    list.start({
      instance,
      target,
      slot: demand.slot,
      node: outcome.node.name,
      reason: 'its run is due',
      needs,
    });
  }

  function report(): MasterInstance {
    const versions: Record<string, number> = {};
    for (const { packageVersion } of copies) versions[packageVersion] = (versions[packageVersion] ?? 0) + 1;
    return {
      id,
      packageName: instance.settings.packageName,
      packageVersion: instance.packages?.component.packageVersion ?? instance.settings.packageVersion,
      // A run that has begun is all that there is to want.
      desired: runs.length,
      running: runs.length,
      live: copies.length,
      versions,
      nodes: [...new Set(copies.map(copy => copy.node))].sort(),
      problems,
      deployment: null,
    };
  }
}

/** The revision, told which run it is. */
function running(current: DesiredRevision, { request: job }: JobDemand): DesiredRevision {
  return {
    ...current,
    start(slot) {
      const { settingsId, request } = current.start(slot);
      return { settingsId, request: { ...request, job } };
    },
  };
}
