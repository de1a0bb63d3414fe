/**
 * The brain: from settings, catalog and what was observed to a list of actions with reasons. Pure and deterministic.
 *
 * What must hold: nothing undesired is started; a plan whose actions all came true is followed by an empty one; managers
 * and processes that no manager started are never touched; copies on a node that stopped answering count as
 * there until the node is given up; a rolling update leaves no more than `maxUnavailable` copies unavailable, of those that
 * could be placed at all, and halts where the new version does not come up. How copies roll: `rolling.ts`.
 */
import type { MasterInstance } from '#core';
import { copiesByInstance, failureOf, graceLeftMs, isNoCopy, type Copy } from './copies.ts';
import { desiredInstances, type DesiredInstance } from './desired.ts';
import type { Action, Plan, PlanInput } from './model.ts';
import { planPackages } from './packages.ts';
import {
  createPlacementNode,
  missingLabel,
  obstacle,
  occupy,
  place,
  vacate,
  type PlacementNode,
  type PlacementRequest,
} from './placement.ts';
import { chooseReplacements, earliest, isAvailable, uncertainMs } from './rolling.ts';
import { assignSlots, isCurrent, scaleDown, type Slots } from './slots.ts';

export function plan(input: PlanInput): Plan {
  const { settings, nowMs, deadAfterMs } = input;
  const desired = desiredInstances(input);
  const observed = new Map(input.observed.map(node => [node.name, node]));
  const packages = planPackages(input, desired);
  const copies = copiesByInstance(input.observed, nowMs, deadAfterMs);
  const nodes = new Map(
    settings.nodeServers.map(({ networkName: name, capacity, labels }) => {
      const others = observed.get(name)?.processes.filter(isNoCopy).length ?? 0;
      return [name, createPlacementNode({ name, capacity, labels, others })];
    }),
  );
  const ready = [...nodes.values()].filter(node => observed.get(node.name)?.state === 'ready');
  const conflicts = conflictsOf(desired);

  const allSlots = desired.map(instance =>
    assignSlots(instance, copies.get(instance.settings.id) ?? [], eligibleNodes(instance)),
  );
  for (const { instance, kept } of allSlots) {
    for (const copy of kept.values()) {
      const node = nodes.get(copy.node);
      if (node) occupy(node, request(instance));
    }
  }
  for (const slots of allSlots) scaleDown(slots, nodes);

  const stops: Action[] = [];
  const stopping = new Set<string>();
  const starts: Action[] = [];
  let dueInMs = earliest([packages.dueInMs, ...graces()]);

  const wantedIds = new Set(desired.map(instance => instance.settings.id));
  for (const [instanceId, orphans] of [...copies].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!wantedIds.has(instanceId))
      for (const copy of orphans) stop(copy, `${instanceId} is not in the settings`);
  }
  const instances = allSlots.map(planInstance);
  return {
    actions: [...packages.actions, ...stops, ...starts],
    instances,
    nodeProblems: packages.nodeProblems,
    dueInMs,
  };

  function planInstance(slots: Slots): MasterInstance {
    const { instance, kept, wanted } = slots;
    const problems: string[] = instance.problem === null ? [] : [instance.problem];
    const stopped = slots.surplus.flatMap(({ copy, reason }) => stop(copy, reason));
    for (const slot of wanted) {
      const copy = kept.get(slot);
      if (copy?.condition === 'failing') problems.push(failureOf(copy));
      dueInMs = earliest([dueInMs, copy ? uncertainMs(instance, copy, nowMs) : null]);
    }
    if (instance.packages) {
      const missing = wanted.filter(slot => !kept.has(slot));
      const unplaced = new Set(
        missing.filter(slot => !start(slots, slot, null, stopped, 'it is missing', problems)),
      );
      const halted = haltedBy(slots);
      const outdated = wanted.filter(
        slot => kept.has(slot) && whyReplace(instance, slot, kept.get(slot)!) !== null,
      );
      if (halted !== null && outdated.length > 0) problems.push(`the update is halted: ${halted}`);
      const chosen = chooseReplacements({
        slots: wanted
          .filter(slot => !unplaced.has(slot) || input.failures.has(startId(instance, slot)))
          .map(slot => {
            const copy = kept.get(slot);
            const gives = outdated.includes(slot);
            return {
              slot,
              outdated: gives,
              replaceable: copy?.reachable === true && copy.condition !== 'stopping',
              available: copy !== undefined && isAvailable(copy, !gives, instance.settings.update, nowMs),
            };
          }),
        maxUnavailable: instance.settings.update.maxUnavailable,
        halted: halted !== null,
      });
      for (const slot of chosen) {
        const copy = kept.get(slot)!;
        start(slots, slot, copy, stopped, whyReplace(instance, slot, copy)!, problems);
      }
    }
    return report(slots, problems);
  }

  /** Plans the start of a slot, after the stop of the copy that it replaces. False if no node takes it now. */
  function start(
    slots: Slots,
    slot: string,
    replaced: Copy | null,
    stopped: string[],
    reason: string,
    problems: string[],
  ): boolean {
    const { instance } = slots;
    const { settingsId, request: startRequest } = instance.start(slot);
    const id = startId(instance, slot);
    const failure = input.failures.get(id);
    if (failure && failure.code !== 'HF_CAPACITY') {
      problems.push(`slot ${slot} did not start on ${failure.node}: ${failure.code}: ${failure.message}`);
      if (failure.retryAtMs > nowMs) {
        dueInMs = earliest([dueInMs, failure.retryAtMs - nowMs]);
        return false;
      }
    }
    const wanted = request(instance);
    const old = replaced && nodes.get(replaced.node);
    if (old) vacate(old, wanted);
    const outcome = choose(instance, slot, replaced, wanted);
    if (outcome.node === null) {
      if (old) occupy(old, wanted);
      problems.push(`slot ${slot} cannot be placed: ${outcome.reason}`);
      if (failure && failure.retryAtMs > nowMs) dueInMs = earliest([dueInMs, failure.retryAtMs - nowMs]);
      return false;
    }
    const { node } = outcome;
    const uploads = packages.needsOf(node.name, instance.packages!);
    if (replaced) {
      const ended = stop(replaced, reason, uploads);
      if (ended.length === 0) {
        if (old) occupy(old, wanted);
        return false;
      }
      stopped = [...stopped, ...ended];
    }
    occupy(node, wanted);
    starts.push({
      type: 'start',
      id,
      node: node.name,
      reason,
      // All stops of the instance come first: its copies may share a port or a lock on this machine.
      needs: [...uploads, ...stopped],
      instanceId: instance.settings.id,
      slot,
      settingsId,
      packageName: instance.settings.packageName,
      request: startRequest,
      deadlineMs: instance.settings.update.deadlineMs,
    });
    return true;
  }

  /** The node that the slot was on if it can have it back, the fixed one of `perNode`, or the best. */
  function choose(instance: DesiredInstance, slot: string, replaced: Copy | null, wanted: PlacementRequest) {
    const perNode = instance.settings.instances === 'perNode' ? nodes.get(slot) : undefined;
    if (perNode) {
      const state = observed.get(slot)?.state ?? 'unknown';
      if (state !== 'ready') return { node: null, reason: `node ${slot} is ${state}` };
      return place(wanted, [perNode], unfit);
    }
    const before = replaced && ready.find(node => node.name === replaced.node);
    if (before && unfit(before) === null && obstacle(wanted, before) === null) return { node: before };
    return place(wanted, ready, unfit);

    function unfit(node: PlacementNode): string | null {
      const failure = input.failures.get(startId(instance, slot));
      if (failure?.node === node.name && failure.code === 'HF_CAPACITY' && failure.retryAtMs > nowMs) {
        return `refused it: ${failure.message}`;
      }
      return packages.unfit(node.name, instance.packages!);
    }
  }

  /** Plans a stop where one can be made. The ids that a start has to wait for. */
  function stop(copy: Copy, reason: string, needs: string[] = []): string[] {
    if (!copy.reachable) return [];
    const id = `stop ${copy.node} ${copy.process.processId}`;
    if (stopping.has(id)) return [id];
    const failure = input.failures.get(id);
    if (copy.condition === 'stopping' && !failure) {
      dueInMs = earliest([dueInMs, 250]); // it is on its way out
      return [];
    }
    if (failure && failure.retryAtMs > nowMs) {
      dueInMs = earliest([dueInMs, failure.retryAtMs - nowMs]);
      return [];
    }
    stopping.add(id);
    stops.push({
      type: 'stop',
      id,
      node: copy.node,
      reason,
      needs,
      packageName: copy.process.packageName,
      processId: copy.process.processId,
      settingsId: copy.settingsId,
    });
    return [id];
  }

  function haltedBy({ instance, kept, wanted }: Slots): string | null {
    for (const slot of wanted) {
      const copy = kept.get(slot);
      if (copy && isCurrent(instance, slot, copy)) {
        if (copy.condition === 'failing') return failureOf(copy);
        continue; // it came up, whatever was said of its start
      }
      const failure = input.failures.get(startId(instance, slot));
      if (failure && failure.code !== 'HF_CAPACITY') return `slot ${slot} did not start: ${failure.message}`;
    }
    return null;
  }

  /** Why a kept copy has to give way, or null. */
  function whyReplace(instance: DesiredInstance, slot: string, copy: Copy): string | null {
    if (!isCurrent(instance, slot, copy)) {
      const version = instance.packages!.component.packageVersion;
      return copy.packageVersion === version
        ? 'its settings changed'
        : `version ${copy.packageVersion} is to become ${version}`;
    }
    const node = nodes.get(copy.node);
    if (!node) return `${copy.node} is not in the settings any more`;
    const missing = missingLabel(instance.settings.constraints.labels, node.labels);
    return missing === null ? null : `${copy.node} ${missing}`;
  }

  function eligibleNodes(instance: DesiredInstance): string[] {
    return [...nodes.values()]
      .filter(node => missingLabel(instance.settings.constraints.labels, node.labels) === null)
      .map(node => node.name);
  }

  function request({ settings: instance }: DesiredInstance): PlacementRequest {
    return {
      instanceId: instance.id,
      packageName: instance.packageName,
      weight: instance.resources.weight,
      labels: instance.constraints.labels,
      spread: instance.constraints.spread,
      conflicts: conflicts.get(instance.id)!,
    };
  }

  /** Times until a node that does not answer, and has copies, is given up. */
  function graces(): number[] {
    return input.observed
      .filter(node => node.state === 'suspect' && node.processes.length > 0)
      .map(node => graceLeftMs(node, nowMs, deadAfterMs))
      .filter(left => left > 0);
  }

  function report({ instance, wanted, kept, surplus }: Slots, problems: string[]): MasterInstance {
    const live = [...kept.values(), ...surplus.map(entry => entry.copy)];
    const versions: Record<string, number> = {};
    for (const copy of live) versions[copy.packageVersion] = (versions[copy.packageVersion] ?? 0) + 1;
    const running = [...kept].filter(
      ([slot, copy]) => copy.reachable && copy.condition === 'healthy' && isCurrent(instance, slot, copy),
    );
    return {
      id: instance.settings.id,
      packageName: instance.settings.packageName,
      packageVersion: instance.packages?.component.packageVersion ?? instance.settings.packageVersion,
      desired: wanted.length,
      running: running.length,
      live: live.length,
      versions,
      nodes: [...new Set(live.map(copy => copy.node))].sort(),
      problems,
      deployment: null,
    };
  }
}

function startId(instance: DesiredInstance, slot: string): string {
  return `start ${instance.start(slot).settingsId}`;
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
