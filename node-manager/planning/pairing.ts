/**
 * Which copy of a slot stays and which one goes, and what the slot shall run. A slot has at most two copies that count: one that is
 * what and where it shall be, and one that is not any more (or is there twice). The second goes when the first is available: make
 * before break. Nothing remembers what was begun: the same rule that moves a copy tells afterwards which of the two has to go.
 * Pure but for the nodes' figures.
 */
import type { Copy } from './copies.ts';
import { createCrowding } from './crowding.ts';
import type { Rollout } from './model.ts';
import type { PlanNodes } from './nodes.ts';
import { leave, missingLabel, occupy, vacate, type PlacementRequest } from './placement.ts';
import type { DesiredRevision } from './revision.ts';
import { isAvailable } from './rolling.ts';
import { isCurrent, order, rank, type Holders } from './slots.ts';

export interface Leaver {
  copy: Copy;
  /** `outdated`: it is not the revision that the slot shall have. `place`: it must not be on that node. `double`: the slot has another. */
  why: 'outdated' | 'place' | 'double';
  reason: string;
  /** It has had its time to go in good order. */
  overdue: boolean;
}

export interface Slot {
  name: string;
  /** What it shall run; null: nothing that could be started is known. */
  target: DesiredRevision | null;
  stays: Copy | null;
  goes: Leaver | null;
}

export interface Slots extends Omit<Holders, 'wanted' | 'holders'> {
  slots: Slot[];
  request: PlacementRequest;
}

/** Decides for all slots. The nodes' figures must count the best copy of each slot; afterwards they count what stays. */
export function pairUp(
  made: Holders,
  context: { nodes: PlanNodes; request: PlacementRequest; rollout: Rollout | undefined; nowMs: number },
): Slots {
  const { nodes, request, rollout, nowMs } = context;
  const { instance, surplus, departing } = made;
  const { labels } = instance.settings.constraints;
  const placeMatters = nodes.departures.size > 0 || Object.keys(labels).length > 0;
  const targetOf = chooseTargets(made, rollout);
  const slots = made.wanted.map((name): Slot => {
    const target = targetOf(name);
    const copies = made.holders.get(name);
    if (!copies) return { name, target, stays: null, goes: null };
    const [only] = copies;
    if (copies.length === 1) {
      const goes = whyLeaves(only!, name, target);
      return goes ? { name, target, stays: null, goes } : { name, target, stays: only!, goes: null };
    }
    return choose(name, target, copies);
  });
  return { instance, slots, surplus, departing, request };

  function whyLeaves(copy: Copy, name: string, target: DesiredRevision | null): Leaver | null {
    const isTarget = target === null || (copy.generation === target.generation(name) && copy.slot === name);
    if (isTarget && !placeMatters) return null;
    const departure = nodes.departures.get(copy.node);
    if (departure) return { copy, why: 'place', ...departure };
    const node = nodes.byName.get(copy.node);
    const missing = node ? missingLabel(labels, node.labels) : null;
    if (missing !== null) return { copy, why: 'place', reason: `${copy.node} ${missing}`, overdue: false };
    if (isTarget) return null;
    const version = target!.packages.component.packageVersion;
    const reason =
      copy.packageVersion === version
        ? 'its settings or its host package changed, or a restart was asked for'
        : `version ${copy.packageVersion} is to become ${version}`;
    return { copy, why: 'outdated', reason, overdue: false };
  }

  function choose(name: string, target: DesiredRevision | null, copies: readonly Copy[]): Slot {
    const best = nodes.byName.get(copies[0]!.node);
    if (best) vacate(best, request);
    let leavers: Leaver[] = [];
    const fitting: Copy[] = [];
    for (const copy of copies) {
      const leaver = whyLeaves(copy, name, target);
      if (leaver) leavers.push(leaver);
      else fitting.push(copy);
    }
    const stays = chooseStaying(fitting);
    for (const copy of fitting) {
      if (copy === stays) continue;
      const reason = `slot ${name} runs on ${stays!.node} as well`;
      leavers.push({ copy, why: 'double', reason, overdue: false });
    }
    leavers.sort(
      (a, b) =>
        Number(b.copy.condition === 'healthy') - Number(a.copy.condition === 'healthy') ||
        Number(a.overdue) - Number(b.overdue) ||
        rank(instance, a.copy, b.copy),
    );
    const settled = stays !== null && isAvailable(stays, true, instance.settings.update, nowMs);
    const held = (leaver: Leaver) => leaver.why === 'outdated' && (rollout?.paused ?? null) !== null;
    // One that serves, or may serve where it is not seen, is waited for; what is left over takes nothing away.
    const goes =
      leavers.find(({ copy }) => stays === null || copy.condition === 'healthy' || !copy.reachable) ?? null;
    const keeps = goes !== null && (!settled || held(goes) || !goes.copy.reachable);
    leavers = leavers.filter(leaver => !keeps || leaver !== goes);
    for (const { copy, reason, why } of leavers) {
      surplus.push({ copy, reason, ...(why === 'double' && settled ? { double: true } : {}) });
    }
    if (keeps) count(goes.copy, stays === null);
    return { name, target, stays, goes: keeps ? goes : null };
  }

  /** Of several that could stay, the one where it is least crowded: so a move ends where it was meant to. Counts it on its node. */
  function chooseStaying(fitting: readonly Copy[]): Copy | null {
    if (fitting.length < 2) {
      if (fitting[0]) count(fitting[0], true);
      return fitting[0] ?? null;
    }
    const crowding = createCrowding(request, nodes.all);
    const places = (copy: Copy) => nodes.byName.get(copy.node)!;
    for (const copy of fitting) crowding.occupy(places(copy));
    const left = [...fitting];
    while (left.length > 1) {
      const victim = left.reduce((first, copy) => (leavesFirst(copy, first) < 0 ? copy : first));
      left.splice(left.indexOf(victim), 1);
      crowding.vacate(places(victim));
    }
    return left[0]!;

    function leavesFirst(a: Copy, b: Copy): number {
      return (
        Number(a.reachable) - Number(b.reachable) ||
        Number(comesUp(a)) - Number(comesUp(b)) ||
        crowding.compare(places(a), places(b)) ||
        rank(instance, b, a) ||
        order(a.node, b.node)
      );
    }
  }

  function count(copy: Copy, counts: boolean): void {
    const node = nodes.byName.get(copy.node);
    if (!node) return;
    if (counts) occupy(node, request);
    else leave(node, request);
  }
}

function comesUp(copy: Copy): boolean {
  return copy.condition === 'healthy' || copy.condition === 'starting';
}

/**
 * What each slot shall run. While a rollout is limited, so many slots have the new revision: those that have it already, those that
 * have nothing, those whose copy is neither the new one nor the one before, and then the others in order.
 */
function chooseTargets(
  { instance, wanted, holders }: Holders,
  rollout: Rollout | undefined,
): (slot: string) => DesiredRevision | null {
  const { current, previous, previousProblem } = instance;
  const limit = rollout?.limit ?? null;
  if (current === null || limit === null || (previous === null && previousProblem === null))
    return () => current;
  const ranked = wanted.map(name => ({ name, rank: rankOf(name) })).sort((a, b) => a.rank - b.rank);
  const renewed = new Set(ranked.slice(0, limit).map(({ name }) => name));
  return name => (renewed.has(name) ? current : previous);

  function rankOf(name: string): number {
    const copies = holders.get(name);
    if (!copies) return 1;
    if (copies.some(copy => isCurrent(instance, name, copy))) return 0;
    const before = (copy: Copy) => copy.slot === name && copy.generation === previous?.generation(name);
    return copies.some(before) ? 3 : 2;
  }
}
