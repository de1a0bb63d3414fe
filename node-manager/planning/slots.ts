/**
 * Which of an instance's copies stay, and in which slot. A count has the slots 0, 1, 2 …; which numbers are in use does
 * not matter, unless the slots have ports, so that scaling down can take copies where most are. `perNode` has one slot
 * for each node, named like it. Every copy that is not kept is surplus, with the reason. Pure.
 */
import type { Copy } from './copies.ts';
import type { DesiredInstance } from './desired.ts';
import { vacate, type PlacementNode } from './placement.ts';

export interface Slots {
  instance: DesiredInstance;
  /** Slots that shall have a copy, in order. */
  wanted: string[];
  /** The copy that holds the slot. */
  kept: Map<string, Copy>;
  surplus: { copy: Copy; reason: string }[];
}

/** Pairs copies with slots; a count may still hold more than wanted, see `scaleDown`. */
export function assignSlots(
  instance: DesiredInstance,
  copies: readonly Copy[],
  eligibleNodes: readonly string[],
): Slots {
  const slots: Slots = { instance, wanted: [], kept: new Map(), surplus: [] };
  const ranked = [...copies].sort((a, b) => rank(instance, a, b));
  const { instances, ports } = instance.settings;
  const strays: Copy[] = [];

  if (instances === 'perNode') {
    slots.wanted = [...eligibleNodes];
    for (const copy of ranked) {
      if (!eligibleNodes.includes(copy.node)) surplus(copy, 'its node is not one for this instance');
      else if (slots.kept.has(copy.node)) surplus(copy, 'another copy runs on this node');
      else slots.kept.set(copy.node, copy);
    }
    return slots;
  }

  for (const copy of ranked) {
    const fits = isNumber(copy.slot) && (ports.length === 0 || Number(copy.slot) < instances);
    if (!fits) strays.push(copy);
    else if (slots.kept.has(copy.slot)) surplus(copy, `another copy has slot ${copy.slot}`);
    else slots.kept.set(copy.slot, copy);
  }
  // The lowest free numbers fill up what is missing; copies with unusable slots take them until they are replaced.
  const names = [...slots.kept.keys()];
  for (let number = 0; names.length < instances; number++) {
    if (!slots.kept.has(String(number))) names.push(String(number));
  }
  slots.wanted = names.sort((a, b) => Number(a) - Number(b));
  const free = slots.wanted.filter(slot => !slots.kept.has(slot));
  for (const copy of strays) {
    // One that serves takes the place of one that does not, rather than go.
    const slot =
      free.shift() ??
      slots.wanted.find(
        taken =>
          copy.condition === 'healthy' && slots.kept.get(taken)!.condition !== 'healthy' && copy.reachable,
      );
    if (slot === undefined) {
      surplus(copy, `slot ${copy.slot} is not wanted`);
      continue;
    }
    const displaced = slots.kept.get(slot);
    if (displaced) surplus(displaced, `another copy takes slot ${slot}`);
    slots.kept.set(slot, copy);
  }
  return slots;

  function surplus(copy: Copy, reason: string): void {
    slots.surplus.push({ copy, reason });
  }
}

/**
 * Takes copies away until the count is right: first those on nodes that do not answer and those that do not serve, then
 * where the most copies of this instance are per capacity, then on the most loaded node; there the highest slot.
 */
export function scaleDown(slots: Slots, nodes: ReadonlyMap<string, PlacementNode>): void {
  const { settings } = slots.instance;
  if (settings.instances === 'perNode') return;
  while (slots.wanted.length > settings.instances) {
    const [victim] = slots.wanted
      .map(slot => ({ slot, copy: slots.kept.get(slot)! }))
      .sort((a, b) => leavesFirst(a, b));
    slots.wanted.splice(slots.wanted.indexOf(victim!.slot), 1);
    slots.kept.delete(victim!.slot);
    const node = nodes.get(victim!.copy.node);
    if (node) vacate(node, { ...settings, instanceId: settings.id, weight: settings.resources.weight });
    slots.surplus.push({ copy: victim!.copy, reason: `${settings.instances} copies are wanted` });
  }

  function leavesFirst(a: { slot: string; copy: Copy }, b: { slot: string; copy: Copy }): number {
    const [nodeA, nodeB] = [nodes.get(a.copy.node), nodes.get(b.copy.node)];
    return (
      Number(a.copy.reachable) - Number(b.copy.reachable) ||
      Number(a.copy.condition === 'healthy') - Number(b.copy.condition === 'healthy') ||
      Number(nodeA !== undefined) - Number(nodeB !== undefined) ||
      share(nodeB) - share(nodeA) ||
      load(nodeB) - load(nodeA) ||
      order(a.copy.node, b.copy.node) ||
      Number(b.slot) - Number(a.slot)
    );
  }
  function share(node: PlacementNode | undefined): number {
    return node ? (node.copies.get(settings.id) ?? 0) / node.capacity : 0;
  }
}

/** Whether the copy is the one that the slot shall have. Unknown packages make no copy outdated. */
export function isCurrent(instance: DesiredInstance, slot: string, copy: Copy): boolean {
  return instance.packages === null || copy.settingsId === instance.start(slot).settingsId;
}

/** Better copies first: reachable, serving, up to date, in good condition, longest healthy. */
function rank(instance: DesiredInstance, a: Copy, b: Copy): number {
  const conditions = ['healthy', 'starting', 'failing', 'stopping'];
  return (
    Number(b.reachable) - Number(a.reachable) ||
    Number(b.condition === 'healthy') - Number(a.condition === 'healthy') ||
    Number(isCurrent(instance, b.slot, b)) - Number(isCurrent(instance, a.slot, a)) ||
    conditions.indexOf(a.condition) - conditions.indexOf(b.condition) ||
    (a.process.healthySinceMs ?? Infinity) - (b.process.healthySinceMs ?? Infinity) || // NaN for two Infinities: falsy
    order(a.process.processId, b.process.processId)
  );
}

function load(node: PlacementNode | undefined): number {
  return node ? node.weight / node.capacity : 0;
}

function isNumber(slot: string): boolean {
  return /^(?:0|[1-9][0-9]{0,5})$/.test(slot);
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
