/**
 * What a cluster's evenness is compared with: the share that each node has of what runs. A node's share of an instance is by its capacity,
 * among the nodes that answer, are not being drained and have the labels. What is bound to its node counts where it is: copies of
 * `perNode`, what is no copy (a node manager), and copies of instances that are on no such node. Pure.
 */
import type { ClusterSettings, InstanceSettings } from '#core';
import type { ObservedNode } from '../planning/model.ts';
import { missingLabel } from '../planning/placement.ts';
import { isNoCopy } from '../planning/copies.ts';
import type { NodeClass } from './bound.ts';

export interface Shares {
  classes: NodeClass[];
  /** Copies by kind. */
  supply: Map<string, number>;
}

type NodeServer = ClusterSettings['nodeServers'][number];

/** A node that answers, with what is bound to it by kind. */
interface Place {
  /** Null: it has no share of what could be elsewhere. */
  server: NodeServer | null;
  bound: Map<string, number>;
}

/** Copies of an instance of one kind that could be elsewhere. */
interface Movable {
  instanceId: string;
  kind: string;
  count: number;
}

export function sharesOf(
  settings: ClusterSettings,
  observed: readonly ObservedNode[],
  isDrained: (node: string) => boolean,
): Shares {
  const instances = new Map(settings.componentInstances.map(instance => [instance.id, instance]));
  const servers = new Map(settings.nodeServers.map(server => [server.networkName, server]));
  const places: Place[] = [];
  const movable = new Map<string, Movable>();
  const supply = new Map<string, number>();
  for (const node of observed) {
    if (node.state !== 'ready') continue;
    const server = servers.get(node.name);
    const receives = server !== undefined && !isDrained(node.name);
    const place: Place = { server: receives ? server : null, bound: new Map() };
    places.push(place);
    for (const process of node.processes) {
      const { component } = process;
      if (!component || process.state === 'Exited') continue;
      const { packageName: kind, instanceId } = component;
      add(supply, kind, 1);
      if (isNoCopy(process) || instances.get(instanceId)?.instances === 'perNode') add(place.bound, kind, 1);
      else {
        const key = `${instanceId}\n${kind}`;
        const found = movable.get(key);
        if (found) found.count++;
        else movable.set(key, { instanceId, kind, count: 1 });
      }
    }
  }
  return { classes: classesOf(places, [...movable.values()], instances), supply };
}

function classesOf(
  places: readonly Place[],
  movable: readonly Movable[],
  instances: ReadonlyMap<string, InstanceSettings>,
): NodeClass[] {
  const alike = new Map<string, { place: Place; nodes: number }>();
  const labels = [
    ...new Set(
      movable.flatMap(({ instanceId }) => Object.keys(instances.get(instanceId)?.constraints.labels ?? {})),
    ),
  ];
  for (const place of places) {
    const { server, bound } = place;
    const key = JSON.stringify([
      server && [server.capacity, labels.map(label => server.labels[label] ?? null)],
      [...bound].sort(([a], [b]) => (a < b ? -1 : 1)),
    ]);
    const found = alike.get(key);
    if (found) found.nodes++;
    else alike.set(key, { place, nodes: 1 });
  }
  const groups = [...alike.values()];
  const made = groups.map(({ place, nodes }) => ({
    nodes,
    shares: new Map(place.bound),
  }));
  for (const { instanceId, kind, count } of movable) {
    const wanted = instances.get(instanceId)?.constraints.labels ?? {};
    const capacities = groups.map(({ place: { server } }) =>
      server && missingLabel(wanted, server.labels) === null ? server.capacity : 0,
    );
    const all = capacities.reduce((sum, capacity, index) => sum + capacity * groups[index]!.nodes, 0);
    if (all === 0) continue;
    capacities.forEach((capacity, index) => {
      if (capacity > 0) add(made[index]!.shares, kind, (count * capacity) / all);
    });
  }
  return made;
}

function add(counts: Map<string, number>, kind: string, by: number): void {
  counts.set(kind, (counts.get(kind) ?? 0) + by);
}
