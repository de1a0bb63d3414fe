/**
 * The nodes as a plan sees them: what runs there, whether they may get more copies, and whether those they have must go. A node
 * that is not in the settings any more is one that copies leave. Pure.
 */
import type { NodeMaintenance } from '#core';
import type { ObservedNode, PlanInput } from './model.ts';
import { createPlacementNode, type PlacementNode } from './placement.ts';

export interface PlanNode extends PlacementNode {
  readonly networkIp: string;
  /** Why it gets no new copies, in words that follow its name; null: it may. */
  readonly closed: string | null;
  /** A copy that is there may be replaced in its place, though the node gets no more. */
  readonly renews: boolean;
}

/** Why the copies of a node go, and whether they have had their time to do so in good order. */
export interface Departure {
  reason: string;
  overdue: boolean;
}

export interface PlanNodes {
  /** Those of the settings, in their order. */
  all: readonly PlanNode[];
  byName: ReadonlyMap<string, PlanNode>;
  /** By the name of the node that copies leave. */
  departures: ReadonlyMap<string, Departure>;
  /** Time until the next departure is overdue; null: none will be. */
  dueInMs: number | null;
}

/** @param others live processes of each node that are no copies */
export function planNodes(input: PlanInput, others: ReadonlyMap<string, number>): PlanNodes {
  const observed = new Map(input.observed.map(node => [node.name, node]));
  const all = input.settings.nodeServers.map(
    ({ networkName: name, capacity, labels, networkIp }): PlanNode => {
      const seen = observed.get(name);
      const maintenance = input.maintenance[name];
      const unsound = whyUnsound(seen);
      return {
        ...createPlacementNode({ name, capacity, labels, others: others.get(name) ?? 0 }),
        networkIp,
        closed: unsound ?? whyClosed(seen!, maintenance),
        renews: unsound === null && maintenance?.state !== 'draining' && seen!.pressure.length === 0,
      };
    },
  );
  const byName = new Map(all.map(node => [node.name, node]));
  const departures = new Map<string, Departure>();
  let dueInMs: number | null = null;
  for (const { name } of input.observed) {
    if (byName.has(name)) continue;
    departures.set(name, { reason: `${name} is not in the settings any more`, overdue: false });
  }
  for (const { name } of all) {
    const maintenance = input.maintenance[name];
    if (maintenance?.state !== 'draining') continue;
    const leftMs =
      maintenance.deadlineAt === null ? null : Date.parse(maintenance.deadlineAt) - Date.parse(input.now);
    const overdue = leftMs !== null && leftMs <= 0;
    const why = maintenance.reason === null ? '' : ` (${maintenance.reason})`;
    departures.set(name, {
      reason: `${name} is being drained${why}${overdue ? ', and its time is over' : ''}`,
      overdue,
    });
    if (leftMs !== null && leftMs > 0) dueInMs = Math.min(dueInMs ?? Infinity, leftMs);
  }
  return { all, byName, departures, dueInMs };
}

function whyUnsound(seen: ObservedNode | undefined): string | null {
  if (seen?.state === 'ready') return null;
  return seen?.state === 'suspect' ? 'does not answer' : `is ${seen?.state ?? 'unknown'}`;
}

function whyClosed(seen: ObservedNode, maintenance: NodeMaintenance | undefined): string | null {
  if (maintenance) {
    const why = maintenance.reason === null ? '' : ` (${maintenance.reason})`;
    return `${maintenance.state === 'draining' ? 'is being drained' : 'is cordoned'}${why}`;
  }
  const [pressure] = seen.pressure;
  if (pressure) return `is short of ${pressure.kind}: ${pressure.message}`;
  if (seen.flapping) return 'came and went several times lately, and has to be steady for a while first';
  return null;
}
