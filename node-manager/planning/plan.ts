/**
 * The brain: from settings, catalog and what was observed to a list of actions with reasons. Pure and deterministic.
 *
 * What must hold: nothing undesired is started; a plan whose actions all came true is followed by an empty one; the leader
 * and processes that no manager started are never stopped; copies on a node that stopped answering count as there until the
 * node is given up. How copies are replaced: `instance-plan.ts`.
 */
import { createActionList } from './action-list.ts';
import type { PlanContext } from './context.ts';
import { copiesByInstance, graceLeftMs, isManager, type Copy } from './copies.ts';
import { desiredInstances, type DesiredInstance } from './desired.ts';
import { createFixedPorts } from './fixed-ports.ts';
import { planInstance } from './instance-plan.ts';
import { occupyForJobs, planJob, type PlannedJob } from './jobs.ts';
import { managerPackages, planManagers, type Manager } from './managers.ts';
import type { Plan, PlanInput } from './model.ts';
import { planNodes, type PlanNodes } from './nodes.ts';
import { planPackages } from './packages.ts';
import { pairUp, type Slots } from './pairing.ts';
import { missingLabel, occupy, type PlacementRequest } from './placement.ts';
import { planMoves } from './rebalance.ts';
import { scaleDown } from './scale-down.ts';
import { findHolders, order } from './slots.ts';

/** A plan, and what it was made from. */
export interface Deliberation {
  plan: Plan;
  slots: readonly Slots[];
  context: PlanContext;
}

export function plan(input: PlanInput): Plan {
  return deliberate(input).plan;
}

/** After it, the nodes' figures count what the plan is about to start, and no more what it is about to stop. */
export function deliberate(input: PlanInput): Deliberation {
  const { nowMs, deadAfterMs } = input;
  const all = desiredInstances(input);
  // Jobs are not kept running: `jobs/` says when they run.
  const desired = all.filter(instance => instance.settings.job === null);
  const others = new Map<string, number>();
  const managers: Manager[] = [];
  const copies = copiesByInstance(input.observed, nowMs, deadAfterMs, (node, process) => {
    others.set(node.name, (others.get(node.name) ?? 0) + 1);
    const counts = node.state !== 'unknown' && graceLeftMs(node, nowMs, deadAfterMs) > 0;
    if (counts && isManager(process)) managers.push({ node, process });
  });
  const nodes = planNodes(input, others);
  const wanted = managerPackages(input);
  const packages = planPackages(input, all, wanted);
  const list = createActionList(input);
  const context: PlanContext = {
    input,
    nodes,
    packages,
    list,
    ports: createFixedPorts(input.observed),
    guests: guestsOf(copies, desired, nodes),
  };
  list.due(packages.dueInMs);
  list.due(nodes.dueInMs);
  for (const node of input.observed) {
    const left = graceLeftMs(node, nowMs, deadAfterMs);
    if (node.state === 'suspect' && node.processes.length > 0 && left > 0) list.due(left);
  }

  const wantedIds = new Set(all.map(instance => instance.settings.id));
  for (const [instanceId, orphans] of [...copies].sort(([a], [b]) => order(a, b))) {
    if (wantedIds.has(instanceId)) continue;
    for (const copy of orphans) list.stop(copy, `${instanceId} is not in the settings`);
  }
  const jobs = jobsOf(all, copies);
  occupyForJobs(jobs, context);
  const slots = slotsOf(desired, copies, context);
  const services = slots.map(made => planInstance(made, context));
  const instances = [...services, ...jobs.map(job => planJob(job, context))];
  const office = planManagers(input, { nodes, packages, managers, wanted });
  list.due(office.dueInMs);
  const moves = office.actions.length > 0 ? [] : planMoves(slots, context);
  const made: Plan = {
    actions: [...packages.actions, ...list.actions(), ...office.actions],
    instances: office.instance ? [...instances, office.instance] : instances,
    moves,
    nodeProblems: problemsOf(input, context),
    dueInMs: list.dueInMs(),
  };
  return { plan: made, slots, context };
}

function jobsOf(all: readonly DesiredInstance[], copies: ReadonlyMap<string, Copy[]>): PlannedJob[] {
  const jobs = all.filter(instance => instance.settings.job !== null);
  if (jobs.length === 0) return [];
  const conflicts = conflictsOf(all);
  return jobs.map(instance => ({
    instance,
    request: requestOf(instance, conflicts),
    copies: copies.get(instance.settings.id) ?? [],
  }));
}

/** Which copy holds which slot, and how full the nodes are, for all instances before any is planned. */
function slotsOf(
  desired: readonly DesiredInstance[],
  copies: ReadonlyMap<string, Copy[]>,
  { input, nodes }: PlanContext,
) {
  const conflicts = conflictsOf(desired);
  const found = desired.map(instance => {
    const request = requestOf(instance, conflicts);
    const where = { eligible: eligibleNodes(instance, nodes), departing: nodes.departures };
    const made = findHolders(instance, copies.get(instance.settings.id) ?? [], where, input.nowMs);
    for (const [best] of made.holders.values()) {
      const node = nodes.byName.get(best!.node);
      if (node) occupy(node, request);
    }
    return { made, request };
  });
  for (const { made, request } of found) scaleDown(made, nodes, request);
  return found.map(({ made, request }) =>
    pairUp(made, { nodes, request, rollout: input.rollouts[made.instance.settings.id], nowMs: input.nowMs }),
  );
}

function requestOf(
  { settings: instance }: DesiredInstance,
  conflicts: ReadonlyMap<string, ReadonlySet<string>>,
): PlacementRequest {
  return {
    instanceId: instance.id,
    packageName: instance.packageName,
    weight: instance.resources.weight,
    labels: instance.constraints.labels,
    spread: instance.constraints.spread,
    conflicts: conflicts.get(instance.id)!,
  };
}

/** Nodes that have, or shall have, a copy of a `perNode` instance. */
function eligibleNodes({ settings }: DesiredInstance, nodes: PlanNodes): Set<string> {
  if (settings.instances !== 'perNode') return new Set();
  return new Set(
    nodes.all
      .filter(
        ({ name, labels }) =>
          !nodes.departures.has(name) && missingLabel(settings.constraints.labels, labels) === null,
      )
      .map(node => node.name),
  );
}

/** Anti-affinity holds both ways, whoever declared it. */
function conflictsOf(desired: readonly DesiredInstance[]): Map<string, Set<string>> {
  const conflicts = new Map(desired.map(({ settings }) => [settings.id, new Set<string>()]));
  for (const { settings } of desired) {
    for (const other of settings.constraints.antiAffinity) {
      conflicts.get(settings.id)!.add(other);
      conflicts.get(other)?.add(settings.id);
    }
  }
  return conflicts;
}

function guestsOf(
  copies: ReadonlyMap<string, Copy[]>,
  desired: readonly DesiredInstance[],
  { departures }: PlanNodes,
): Set<string> {
  const guests = new Set<string>();
  if (departures.size === 0) return guests;
  const perNode = new Set(
    desired.filter(({ settings }) => settings.instances === 'perNode').map(({ settings }) => settings.id),
  );
  for (const [instanceId, found] of copies) {
    if (perNode.has(instanceId)) continue;
    for (const { node } of found) if (departures.has(node)) guests.add(node);
  }
  return guests;
}

/** What packages lack, and why a node gets no more though nobody said so. */
function problemsOf({ observed }: PlanInput, { packages }: PlanContext): Record<string, string[]> {
  const problems: Record<string, string[]> = { ...packages.nodeProblems };
  for (const { name, pressure, flapping } of observed) {
    const reasons = [
      ...pressure.map(({ kind, message }) => `it gets no more copies, being short of ${kind}: ${message}`),
      ...(flapping ? ['it gets no more copies until it has been steady for a while'] : []),
    ];
    if (reasons.length > 0) problems[name] = [...(problems[name] ?? []), ...reasons];
  }
  return problems;
}
