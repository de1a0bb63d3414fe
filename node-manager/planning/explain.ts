/**
 * Why an instance's copies are where they are, what becomes of each, and where the next one would go: every node with what keeps it from
 * taking a copy, or with its figures in the order in which they count. Made from the very plan that a sync would carry out. Pure.
 */
import type { ExplainedNode, ExplainedSlot, InstanceExplanation } from '#core';
import type { Copy } from './copies.ts';
import type { Action, PlanInput } from './model.ts';
import type { PlanNode } from './nodes.ts';
import type { Slot, Slots } from './pairing.ts';
import { compareNodes, evennessWith, fits, groupCopies, groupOf, loadOf, obstacle } from './placement.ts';
import { deliberate, type Deliberation } from './plan.ts';
import { healthyForMs, isAvailable } from './rolling.ts';

/** Null: there is no such instance, or it is not placed like others (a job, the node manager). */
export function explain(input: PlanInput, instanceId: string): InstanceExplanation | null {
  const whole = deliberate(input);
  const made = whole.slots.find(({ instance }) => instance.settings.id === instanceId);
  if (!made) return null;
  const { instance } = made;
  const shown = whole.plan.instances.find(({ id }) => id === instanceId)!;
  return {
    instanceId,
    packageName: instance.settings.packageName,
    packageVersion: instance.revision?.packageVersion ?? null,
    revisionId: instance.revisionId,
    slots: [
      ...made.slots.map(slot => explainSlot(slot, made, whole)),
      ...made.surplus.map(({ copy, reason }) => surplus(copy, reason)),
      ...made.departing.map(copy => surplus(copy, whole.context.nodes.departures.get(copy.node)!.reason)),
    ],
    nodes: explainNodes(made, whole),
    problems: shown.problems,
  };
}

function explainSlot(
  { name, target, stays, goes }: Slot,
  { instance }: Slots,
  whole: Deliberation,
): ExplainedSlot {
  const id = target && `start ${target.start(name).settingsId}`;
  const start = whole.plan.actions.find(
    (action): action is Action & { type: 'start' } => action.type === 'start' && action.id === id,
  );
  const { nowMs } = whole.context.input;
  return {
    slot: name,
    copies: [
      ...(stays ? [{ ...figures(stays), decision: 'stays' as const, reason: whyStays(stays) }] : []),
      ...(goes ? [{ ...figures(goes.copy), decision: 'goes' as const, reason: goes.reason }] : []),
    ],
    starts: start ? { node: start.node, version: start.request.version ?? null, reason: start.reason } : null,
  };

  function whyStays(copy: Copy): string {
    if (copy.condition === 'failing') return 'it is the one that is wanted here, but it does not come up';
    const { healthyAfterMs } = instance.settings.update;
    if (isAvailable(copy, true, instance.settings.update, nowMs)) return 'it is what and where it shall be';
    return copy.condition === 'healthy'
      ? `it counts as available in ${Math.ceil(healthyAfterMs - healthyForMs(copy, nowMs))} ms, if it stays well`
      : `it is ${copy.reachable ? copy.condition : 'on a node that does not answer'}`;
  }
}

function surplus(copy: Copy, reason: string): ExplainedSlot {
  return { slot: copy.slot, copies: [{ ...figures(copy), decision: 'goes', reason }], starts: null };
}

function figures({ node, packageVersion, condition }: Copy) {
  return { node, version: packageVersion, condition };
}

/** The best first; those that cannot take a copy last. What this plan is about to start and to stop is counted already. */
function explainNodes({ request, instance }: Slots, { context }: Deliberation): ExplainedNode[] {
  const { nodes, packages } = context;
  const obstacleOf = (node: PlanNode) =>
    node.closed ??
    (instance.packages && packages.unfit(node.name, instance.packages)) ??
    (fits(request, node) ? null : obstacle(request, node));
  const judged = nodes.all.map(node => ({ node, obstacle: obstacleOf(node) }));
  const groups = groupCopies(request, nodes.all, nodes.all);
  const inGroup = (node: PlanNode) => (groups ? groups.get(groupOf(node, request.spread!))! : 0);
  return judged
    .sort(
      (a, b) =>
        Number(a.obstacle !== null) - Number(b.obstacle !== null) ||
        inGroup(a.node) - inGroup(b.node) ||
        compareNodes(request, a.node, b.node),
    )
    .map(({ node, obstacle: why }) => ({
      node: node.name,
      obstacle: why,
      group: request.spread === null ? null : { name: groupOf(node, request.spread), copies: inGroup(node) },
      copies: node.copies.get(request.instanceId) ?? 0,
      copiesPerCapacity: (node.copies.get(request.instanceId) ?? 0) / node.capacity,
      load: loadOf(node),
      evennessAfter: evennessWith(node, request.packageName),
    }));
}
