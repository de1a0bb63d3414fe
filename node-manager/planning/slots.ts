/**
 * Which of an instance's copies hold which slot. A count has the slots 0, 1, 2 …; which numbers are in use does not matter, unless
 * the slots have ports, so that scaling down can take copies where most are. `perNode` has one slot for each node, named like it.
 * Several copies may claim one slot: while one replaces another, and when a node comes back that was given up. Copies
 * that hold none are surplus, with the reason. Which of a slot's copies stays: `pairing.ts`. Pure.
 */
import type { Copy } from './copies.ts';
import type { DesiredInstance } from './desired.ts';
import { isAvailable } from './rolling.ts';

export interface Surplus {
  copy: Copy;
  reason: string;
  /** Its slot has another copy that is available: the end of a move. */
  double?: true;
}

export interface Holders {
  instance: DesiredInstance;
  /** Slots that shall have a copy, in order. */
  wanted: string[];
  /** The copies of each slot, the best first; a slot without any is not in it. */
  holders: Map<string, Copy[]>;
  surplus: Surplus[];
  /** Those of `perNode` on nodes that copies leave. */
  departing: Copy[];
}

/** Pairs copies with slots; a count may have more slots than wanted, see `scaleDown`. */
export function findHolders(
  instance: DesiredInstance,
  copies: readonly Copy[],
  nodes: { eligible: ReadonlySet<string>; departing: ReadonlyMap<string, unknown> },
  nowMs: number,
): Holders {
  const { instances, ports } = instance.settings;
  const made: Holders = { instance, wanted: [], holders: new Map(), surplus: [], departing: [] };
  const { holders, surplus } = made;
  const shared = new Set<string>();
  const strays: Copy[] = [];

  for (const copy of copies) {
    if (instances === 'perNode') {
      if (nodes.departing.has(copy.node)) made.departing.push(copy);
      else if (nodes.eligible.has(copy.node)) hold(copy.node, copy);
      else surplus.push({ copy, reason: 'its node is not one for this instance' });
    } else if (isNumber(copy.slot) && (ports.length === 0 || Number(copy.slot) < instances)) {
      hold(copy.slot, copy);
    } else strays.push(copy);
  }
  for (const slot of shared) holders.get(slot)!.sort((a, b) => rank(instance, a, b));
  if (instances === 'perNode') made.wanted = [...nodes.eligible];
  else nameSlots(made, instances, strays, nowMs);
  return made;

  function hold(slot: string, copy: Copy): void {
    const present = holders.get(slot);
    if (!present) holders.set(slot, [copy]);
    else {
      present.push(copy);
      shared.add(slot);
    }
  }
}

/** The lowest free numbers fill up what is missing; copies with unusable slots take them until they are replaced. */
function nameSlots(made: Holders, count: number, strays: Copy[], nowMs: number): void {
  const { instance, holders, surplus, wanted } = made;
  const numbers = [...holders.keys()].map(Number);
  const free: string[] = [];
  for (let number = 0; numbers.length < count; number++) {
    if (holders.has(String(number))) continue;
    numbers.push(number);
    free.push(String(number));
  }
  numbers.sort((a, b) => a - b);
  for (const number of numbers) wanted.push(String(number));
  strays.sort((a, b) => rank(instance, a, b));
  for (const copy of strays) {
    // One that serves stays beside one that does not yet, rather than go before it can be spared.
    const slot = free.shift() ?? wanted.find(name => copy.condition === 'healthy' && needsHelp(name));
    if (slot === undefined) {
      surplus.push({ copy, reason: `slot ${copy.slot} is not wanted` });
      continue;
    }
    const present = holders.get(slot);
    if (!present) holders.set(slot, [copy]);
    else present.splice(rank(instance, copy, present[0]!) < 0 ? 0 : 1, 0, copy);
  }

  function needsHelp(slot: string): boolean {
    const [only, ...more] = holders.get(slot)!;
    return (
      more.length === 0 &&
      !isAvailable(only!, isCurrent(instance, slot, only!), instance.settings.update, nowMs)
    );
  }
}

/** Better copies first: reachable, serving, up to date, in good condition, longest healthy. */
export function rank(instance: DesiredInstance, a: Copy, b: Copy): number {
  return (
    Number(b.reachable) - Number(a.reachable) ||
    Number(b.condition === 'healthy') - Number(a.condition === 'healthy') ||
    Number(isCurrent(instance, b.slot, b)) - Number(isCurrent(instance, a.slot, a)) ||
    conditions.indexOf(a.condition) - conditions.indexOf(b.condition) ||
    (a.process.healthySinceMs ?? Infinity) - (b.process.healthySinceMs ?? Infinity) || // NaN for two Infinities: falsy
    order(a.process.processId, b.process.processId)
  );
}

const conditions = ['healthy', 'starting', 'failing', 'stopping'];

/** Whether the copy is the one that the slot shall have at last. Unknown packages make no copy outdated. */
export function isCurrent(instance: DesiredInstance, slot: string, copy: Copy): boolean {
  return (
    instance.current === null || (copy.slot === slot && copy.generation === instance.current.generation(slot))
  );
}

/** Up to six digits, without leading zeros. By hand: it is asked of every copy. */
function isNumber(slot: string): boolean {
  const { length } = slot;
  if (length === 0 || length > 6 || (length > 1 && slot.startsWith('0'))) return false;
  for (let index = 0; index < length; index++) {
    const code = slot.charCodeAt(index);
    if (code < 48 || code > 57) return false;
  }
  return true;
}

export function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
