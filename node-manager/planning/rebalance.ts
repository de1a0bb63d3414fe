/**
 * Moves for the sake of evenness, planned only while nothing else is: no start, no stop but those that end earlier moves, no upload, no node
 * that does not answer, no rollout. A move is a second copy of the same slot on another node; `pairing.ts` ends it.
 */
import type { PlanContext } from './context.ts';
import { chooseMoves, type Movable } from './moves.ts';
import type { PlanNode } from './nodes.ts';
import type { Slot, Slots } from './pairing.ts';
import { missingLabel } from './placement.ts';
import { isAvailable } from './rolling.ts';

/** @returns the ids of the starts with which moves begin */
export function planMoves(all: readonly Slots[], context: PlanContext): string[] {
  const { input, nodes, packages, list } = context;
  const { movesLeft } = input;
  if (movesLeft <= 0 || isBusy()) return [];
  const open = nodes.all.filter(node => node.closed === null);
  const movable = new Map<Movable, Slots>();
  for (const made of all) {
    const item = movableOf(made);
    if (item) movable.set(item, made);
  }
  // What was begun is finished, also when the rest is within the threshold.
  const begun = all.some(
    ({ slots, surplus }) => surplus.length > 0 || slots.some(({ stays, goes }) => stays && goes),
  );
  const threshold = begun ? 0 : input.settings.rebalance.threshold;
  const chosen = chooseMoves([...movable.keys()], open, nodes.all, { movesLeft, threshold });
  const byInstance = new Map([...movable.values()].map(made => [made.instance.settings.id, made]));
  const moved = new Set<Slot>();
  return chosen.map(({ instanceId, from, to }) => {
    const made = byInstance.get(instanceId)!;
    const slot = slotOn(made, from, moved)!;
    moved.add(slot);
    const reason = `it moves from ${from.name} to ${to.name}, so that nodes have their share`;
    const stopped = made.instance.settings.update.maxSurge === 0 ? list.stop(slot.stays!, reason) : [];
    const target = slot.target!;
    const needs = [...packages.needsOf(to.name, target.packages), ...stopped];
    return list.start({ instance: made.instance, target, slot: slot.name, node: to.name, reason, needs });
  });

  function isBusy(): boolean {
    return (
      packages.actions.length > 0 ||
      list.counts().starts > 0 ||
      list.counts().stops >
        all.reduce((sum, { surplus }) => sum + surplus.filter(({ double }) => double).length, 0) ||
      input.observed.some(
        ({ name, state }) => nodes.byName.has(name) && (state === 'suspect' || state === 'unknown'),
      ) ||
      Object.values(input.rollouts).some(({ limit, paused }) => limit !== null || paused !== null) ||
      all.some(({ instance, slots }) =>
        slots.some(
          ({ stays, goes }) =>
            stays !== null &&
            (goes === null
              ? stays.condition !== 'failing' &&
                !isAvailable(stays, true, instance.settings.update, input.nowMs)
              : goes.why !== 'double'),
        ),
      )
    );
  }

  /** Null: its copies stay where they are for now. */
  function movableOf(made: Slots): Movable | null {
    const { instance, slots, request } = made;
    const { instances, update, constraints } = instance.settings;
    if (instances === 'perNode') return null;
    let pairs = 0;
    const copiesOn = new Map<string, number>();
    for (const { stays, goes, target } of slots) {
      if (!stays || target !== instance.current || stays.condition === 'failing') return null;
      if (goes && goes.why !== 'double') return null;
      if (goes) pairs++;
      else copiesOn.set(stays.node, (copiesOn.get(stays.node) ?? 0) + 1);
    }
    for (const { name, closed } of nodes.all) if (closed !== null) copiesOn.delete(name);
    return {
      request,
      copiesOn,
      movesMax: update.maxSurge === 0 ? 1 : update.maxSurge - pairs,
      takes: node => missingLabel(constraints.labels, node.labels) === null,
      allows: (from, to) => {
        const slot = slotOn(made, from, new Set());
        return (
          slot !== null &&
          packages.unfit(to.name, slot.target!.packages) === null &&
          !sharesPort(made, slot, from, to)
        );
      },
    };
  }

  /** The highest slot that can go from there. */
  function slotOn({ slots }: Slots, { name }: PlanNode, without: ReadonlySet<Slot>): Slot | null {
    return (
      slots.findLast(
        slot =>
          slot.stays?.node === name &&
          !slot.goes &&
          !without.has(slot) &&
          list.failureOf(slot.target!, slot.name) === undefined,
      ) ?? null
    );
  }

  /** Whether a copy listens on its port already where it would go; what it leaves behind itself is stopped first where it has to be. */
  function sharesPort({ instance, slots }: Slots, slot: Slot, from: PlanNode, to: PlanNode): boolean {
    const port = context.ports.portOf(slot.target!, slot.name);
    if (port === null) return false;
    if (to.networkIp === from.networkIp && instance.settings.update.maxSurge > 0) return true;
    return slots.some(
      other =>
        other !== slot &&
        other.target !== null &&
        context.ports.portOf(other.target, other.name) === port &&
        [other.stays, other.goes?.copy].some(
          copy => copy && nodes.byName.get(copy.node)?.networkIp === to.networkIp,
        ),
    );
  }
}
