/**
 * The evenness of the cluster as it is, the best that it could have, and how near to it that is; told when it changes. A look costs one
 * pass over what runs; the best is computed anew only when what runs, or where it may, has changed.
 */
import { isoTime, type ApiEvent, type ClusterSettings, type System } from '#core';
import type { NodeMaintenances } from '../maintenance/nodes.ts';
import type { ObservedNode, ObservedProcess } from '../planning/model.ts';
import { bestEvenness } from './bound.ts';
import { pielou } from './pielou.ts';
import { sharesOf } from './shares.ts';

export interface ClusterEvenness {
  /** Mean of the nodes that answer, each Pielou's J' of the component types on it; 1 if none answers. */
  evenness: number;
  /** No fair placement of the same copies has more; see `bound.ts`. At least `evenness`. */
  evennessBest: number;
  /** `evenness` / `evennessBest`. */
  evennessScore: number;
}

export interface EvennessWatch {
  current(): ClusterEvenness;
  /** Sends an event if it is another one than told last. */
  tell(): void;
}

export interface EvennessOptions {
  system: System;
  settings: { current(): { settings: ClusterSettings } | null };
  observer: { nodes(): readonly ObservedNode[] };
  maintenance: Pick<NodeMaintenances, 'current'>;
  onEvent: (event: ApiEvent) => void;
}

export function createEvennessWatch(options: EvennessOptions): EvennessWatch {
  const { system, settings, observer, maintenance, onEvent } = options;
  const boundOf = rememberLast();
  let told: ClusterEvenness | null = null;

  function current(): ClusterEvenness {
    const document = settings.current()?.settings;
    if (!document) return { evenness: 1, evennessBest: 1, evennessScore: 1 };
    const notes = maintenance.current();
    const isDrained = (node: string) => notes[node]?.state === 'draining';
    return clusterEvenness(document, observer.nodes(), isDrained, boundOf);
  }

  return {
    current,
    tell() {
      const now = current();
      if (told && keys.every(key => Math.abs(now[key] - told![key]) < worthTelling)) return;
      told = now;
      onEvent({ type: 'evenness', at: isoTime(system.clock), ...now });
    },
  };
}

const keys = ['evenness', 'evennessBest', 'evennessScore'] as const;
const worthTelling = 0.0005;

export function clusterEvenness(
  settings: ClusterSettings,
  observed: readonly ObservedNode[],
  isDrained: (node: string) => boolean,
  boundOf: typeof bestEvenness = bestEvenness,
): ClusterEvenness {
  const ready = observed.filter(node => node.state === 'ready');
  const sum = ready.reduce((before, node) => before + nodeEvenness(node.processes), 0);
  const evenness = ready.length === 0 ? 1 : sum / ready.length;
  const { classes, supply } = sharesOf(settings, observed, isDrained);
  // What is not quite fair may be above it.
  const evennessBest = Math.max(evenness, boundOf(classes, supply));
  return {
    evenness,
    evennessBest,
    evennessScore: evennessBest > 0 ? evenness / evennessBest : 1,
  };
}

/** Pielou's J' of the component types that run on a node. */
export function nodeEvenness(processes: readonly ObservedProcess[]): number {
  const types = new Map<string, number>();
  for (const { component, state } of processes) {
    if (component && state !== 'Exited') {
      types.set(component.packageName, (types.get(component.packageName) ?? 0) + 1);
    }
  }
  return pielou(types.values());
}

function rememberLast(): typeof bestEvenness {
  let last: { key: string; value: number } | null = null;
  return (classes, supply) => {
    const key = JSON.stringify([
      classes.map(({ nodes, shares }) => [nodes, [...shares].sort(byKind)]),
      [...supply].sort(byKind),
    ]);
    if (last?.key !== key) last = { key, value: bestEvenness(classes, supply) };
    return last.value;
  };
}

function byKind([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
