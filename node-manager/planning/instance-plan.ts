/**
 * What is done about one instance: surplus goes, what is missing is started, and copies that must go are replaced.
 *
 * What must hold: a copy that serves is stopped only when another is available in its slot, or, where none can run beside it
 * (`beside`), while fewer than `maxUnavailable` slots are without one; no more than `maxSurge` slots have two copies by the plan's
 * doing; a version that does not come up takes nothing with it. Order of replacement: what does not serve, what is overdue, what must
 * leave its node, what is outdated.
 */
import type { MasterInstance } from '#core';
import { failureOf, type Copy } from './copies.ts';
import type { PlanContext } from './context.ts';
import type { PlanNode } from './nodes.ts';
import type { Slot, Slots } from './pairing.ts';
import { fits, leave, occupy, place, vacate, whyNowhere } from './placement.ts';
import { createRanking } from './ranking.ts';
import { reportOf } from './report.ts';
import type { DesiredRevision } from './revision.ts';
import { isAvailable, uncertainMs } from './rolling.ts';

/** So many slots without a place are told one by one. */
const unplacedShown = 10;
/** So many starts are worth a ranking of all nodes. */
const manyStarts = 4;

export function planInstance(made: Slots, context: PlanContext): MasterInstance {
  const { input, nodes, packages, list } = context;
  const { instance, slots, request } = made;
  const { settings } = instance;
  const { maxSurge, maxUnavailable } = settings.update;
  const problems: string[] = [];
  const taken = new Map<number, Set<string>>();
  let unplaced = 0;

  if (instance.problem !== null) problems.push(instance.problem);
  const stopped = made.surplus.flatMap(({ copy, reason }) => list.stop(copy, reason));
  stopDeparting();
  const surging = settlePairs();
  const missing = slots.filter(slot => !slot.stays && !slot.goes);
  const unstarted = startMissing();
  replaceLeavers();
  if (unplaced > unplacedShown) problems.push(`${unplaced - unplacedShown} more slots cannot be placed`);
  return reportOf(made, problems);

  /** Copies of `perNode` serve those that are on the node: they go when the others have gone. */
  function stopDeparting(): void {
    for (const copy of made.departing) {
      const { reason, overdue } = nodes.departures.get(copy.node)!;
      if (overdue || !context.guests.has(copy.node)) list.stop(copy, reason);
    }
  }

  /** Slots with two copies wait for the one that stays. How many there are by the plan's doing. */
  function settlePairs(): number {
    let pairs = 0;
    for (const { stays, goes } of slots) {
      if (stays) look(stays);
      if (goes) look(goes.copy);
      if (!stays || !goes) continue;
      if (goes.overdue) list.stop(goes.copy, goes.reason);
      else if (goes.copy.reachable) pairs++;
    }
    return pairs;

    function look(copy: Copy): void {
      if (copy.condition === 'failing') problems.push(failureOf(copy));
      list.due(uncertainMs(instance, copy, input.nowMs));
    }
  }

  /** Slots that nothing could be started for. */
  function startMissing(): Set<Slot> {
    const left = new Set<Slot>();
    const many =
      missing.length >= manyStarts && settings.instances !== 'perNode' && input.failures.size === 0;
    const rankings = new Map<DesiredRevision, () => PlanNode | null>();
    for (const slot of missing) {
      const { target } = slot;
      if (!target) {
        if (instance.previousProblem !== null && instance.problem === null) {
          noPlace(`slot ${slot.name} waits for the rollout`, instance.previousProblem);
        }
        left.add(slot);
        continue;
      }
      if (waitsAfterFailure(slot, target)) {
        left.add(slot);
        continue;
      }
      let node: PlanNode | null;
      if (many) {
        let take = rankings.get(target);
        if (!take) rankings.set(target, (take = ranking(target)));
        node = take();
        if (!node)
          noPlace(
            `slot ${slot.name} cannot be placed`,
            whyNowhere(request, nodes.all, unfitFor(slot, target)),
          );
      } else {
        const outcome = choose(slot, target, null);
        ({ node } = outcome);
        if (outcome.node) occupy(outcome.node, request);
        else noPlace(`slot ${slot.name} cannot be placed`, outcome.reason);
      }
      if (node) start(slot, target, node, 'it is missing', stopped);
      else left.add(slot);
    }
    return left;
  }

  function ranking(target: DesiredRevision): () => PlanNode | null {
    const unfit = unfitFor(missing[0]!, target);
    const { take } = createRanking(request, nodes.all, node => unfit(node) === null);
    return take;
  }

  function noPlace(what: string, reason: string): void {
    if (++unplaced <= unplacedShown) problems.push(`${what}: ${reason}`);
  }

  function replaceLeavers(): void {
    const halted = haltedBy();
    const paused = input.rollouts[settings.id]?.paused ?? null;
    const leavers = slots.filter(slot => slot.goes && !slot.stays);
    const outdated = leavers.filter(slot => slot.goes!.why === 'outdated');
    if (halted !== null && outdated.length > 0) problems.push(`the update is halted: ${halted.reason}`);
    else if (paused !== null && outdated.length > 0) problems.push(`the update is paused: ${paused}`);
    // Slots that no node takes are no reason to hold the others back; those that fail to start are.
    let unavailable = slots.filter(
      slot =>
        !serves(slot) && !(unstarted.has(slot) && !(slot.target && list.failureOf(slot.target, slot.name))),
    ).length;
    let surge = surging;
    const impossible = new Set<DesiredRevision>();
    for (const slot of inOrder(leavers)) {
      const { copy, why, overdue, reason } = slot.goes!;
      // The start that failed is tried again now and then, as long as that takes nothing away.
      const again = why === 'outdated' && halted?.slot === slot;
      if (why === 'outdated' && !again && (paused !== null || halted !== null)) continue;
      if (!copy.reachable || copy.condition === 'stopping') continue;
      const { target } = slot;
      if (!target) {
        if (overdue) list.stop(copy, reason);
        continue;
      }
      if (waitsAfterFailure(slot, target)) continue;
      if (copy.condition !== 'healthy') replace(slot, target);
      else if (overdue) {
        if (!replace(slot, target)) list.stop(copy, reason);
        unavailable++;
      } else if (surge < maxSurge && !impossible.has(target) && beside(slot, target)) surge++;
      else if (surge < maxSurge || maxSurge === 0) {
        if (settings.ports.length === 0 && settings.instances !== 'perNode') impossible.add(target);
        if (!again && unavailable < maxUnavailable && replace(slot, target)) unavailable++;
      }
    }
  }

  /** Why the new revision takes no more copies' places, and the slot that did not start, if that is why. */
  function haltedBy(): { reason: string; slot: Slot | null } | null {
    let failed: { reason: string; slot: Slot } | null = null;
    for (const slot of slots) {
      const { name, target, stays } = slot;
      if (target === null || target !== instance.current) continue;
      if (stays) {
        if (stays.condition === 'failing') return { reason: failureOf(stays), slot: null };
        continue; // it came up, whatever was said of its start
      }
      const failure = list.failureOf(target, name);
      if (failure && failure.code !== 'HF_CAPACITY') {
        failed ??= { reason: `slot ${name} did not start: ${failure.message}`, slot };
      }
    }
    return failed;
  }

  function serves({ stays, goes }: Slot): boolean {
    return (
      (stays !== null && isAvailable(stays, true, settings.update, input.nowMs)) ||
      (goes !== null &&
        !(stays && goes.overdue) &&
        isAvailable(goes.copy, false, settings.update, input.nowMs))
    );
  }

  /** A start that failed is not tried again at once, except elsewhere where only the node was too small. */
  function waitsAfterFailure({ name }: Slot, target: DesiredRevision): boolean {
    const failure = list.failureOf(target, name);
    if (!failure) return false;
    const waits = failure.retryAtMs > input.nowMs;
    if (failure.code === 'HF_CAPACITY') {
      if (waits) list.due(failure.retryAtMs - input.nowMs);
      return false;
    }
    problems.push(`slot ${name} did not start on ${failure.node}: ${failure.code}: ${failure.message}`);
    if (waits) list.due(failure.retryAtMs - input.nowMs);
    return waits;
  }

  /** Starts the new copy while the old one runs on. False: it cannot run beside it. */
  function beside(slot: Slot, target: DesiredRevision): boolean {
    const { copy, reason } = slot.goes!;
    const port = context.ports.portOf(target, slot.name);
    const old = nodes.byName.get(copy.node);
    // It does not count where the new one is placed, but takes its room.
    if (old) {
      vacate(old, request);
      leave(old, request);
    }
    const addresses = port === null ? null : addressesOf(port);
    const outcome = choose(slot, target, copy.node, node =>
      addresses && (addresses.has(node.networkIp) || addresses.has(''))
        ? `has a copy that listens on port ${port} already`
        : null,
    );
    if (outcome.node === null) {
      if (old) {
        leave(old, request, -1);
        occupy(old, request);
      }
      return false;
    }
    occupy(outcome.node, request);
    addresses?.add(outcome.node.networkIp);
    start(slot, target, outcome.node, reason, stopped);
    return true;
  }

  /** Stops the old copy and starts the new one, in the old one's place if it may. False: nothing was done. */
  function replace(slot: Slot, target: DesiredRevision): boolean {
    const { copy, reason } = slot.goes!;
    const old = nodes.byName.get(copy.node);
    if (old) vacate(old, request);
    const outcome = choose(slot, target, copy.node);
    const ended =
      outcome.node === null
        ? []
        : list.stop(copy, reason, packages.needsOf(outcome.node.name, target.packages));
    if (outcome.node === null || ended.length === 0) {
      if (old) occupy(old, request);
      if (outcome.node === null) noPlace(`slot ${slot.name} cannot be replaced (${reason})`, outcome.reason);
      return false;
    }
    occupy(outcome.node, request);
    start(slot, target, outcome.node, reason, [...stopped, ...ended]);
    return true;
  }

  /** @param needs all stops of the instance come first: its copies may share a port or a lock on this machine */
  function start(slot: Slot, target: DesiredRevision, node: PlanNode, reason: string, needs: string[]): void {
    const uploads = packages.needsOf(node.name, target.packages);
    list.start({
      instance,
      target,
      slot: slot.name,
      node: node.name,
      reason,
      needs: uploads.length === 0 ? needs : [...uploads, ...needs],
    });
  }

  /** The node that the slot was on if it can have it back, the fixed one of `perNode`, or the best. */
  function choose(
    slot: Slot,
    target: DesiredRevision,
    before: string | null,
    alsoUnfit: (node: PlanNode) => string | null = () => null,
  ) {
    const unfitHere = unfitFor(slot, target);
    const unfit = (node: PlanNode) => unfitHere(node) ?? alsoUnfit(node);
    if (settings.instances === 'perNode') return place(request, [nodes.byName.get(slot.name)!], unfit);
    const old = before === null ? undefined : nodes.byName.get(before);
    if (old && fits(request, old) && unfit(old) === null) return { node: old };
    return place(request, nodes.all, unfit);
  }

  function unfitFor(slot: Slot, target: DesiredRevision): (node: PlanNode) => string | null {
    const failure = list.failureOf(target, slot.name);
    const refusing = failure?.code === 'HF_CAPACITY' && failure.retryAtMs > input.nowMs ? failure : null;
    const renewing = settings.instances === 'perNode' && slot.goes !== null;
    return node => {
      const { closed, renews } = node;
      if (closed !== null && !(renewing && renews)) return closed;
      if (refusing?.node === node.name) return `refused it: ${refusing.message}`;
      return packages.unfit(node.name, target.packages);
    };
  }

  /** Where copies listen on the port; the empty one stands for a node whose address is not known any more. */
  function addressesOf(port: number): Set<string> {
    let found = taken.get(port);
    if (found) return found;
    taken.set(port, (found = new Set()));
    for (const { name, target, stays, goes } of slots) {
      if (!target || context.ports.portOf(target, name) !== port) continue;
      for (const copy of [stays, goes?.copy]) {
        if (copy) found.add(nodes.byName.get(copy.node)?.networkIp ?? '');
      }
    }
    return found;
  }
}

function inOrder(leavers: readonly Slot[]): Slot[] {
  const urgency = ({ goes }: Slot) =>
    goes!.copy.condition !== 'healthy' ? 0 : goes!.overdue ? 1 : goes!.why === 'outdated' ? 3 : 2;
  return [...leavers].sort((a, b) => urgency(a) - urgency(b));
}
