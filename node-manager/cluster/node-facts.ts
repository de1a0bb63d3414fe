/** What is known of a node after a look at it, or after none for too long. Pure. */
import type { NodePressure, ProcessInfo } from '#core';
import type { ObservedNode, ObservedPackage, ObservedProcess } from '../planning/model.ts';

export interface ObservedNodeFacts extends ObservedNode {
  nodeApiUri: string;
  /** ISO 8601; null: never. */
  lastSeenAt: string | null;
}

/** What a look has brought. */
export interface Seen {
  processes: ProcessInfo[];
  packages: readonly ObservedPackage[];
  pressure: readonly NodePressure[];
}

export interface Moment {
  nowMs: number;
  at: string;
  deadAfterMs: number;
}

export function neverSeen(name: string, nodeApiUri: string): ObservedNodeFacts {
  return {
    name,
    nodeApiUri,
    state: 'unknown',
    lastSeenMs: null,
    lastSeenAt: null,
    problem: null,
    packages: [],
    processes: [],
    pressure: [],
    flapping: false,
  };
}

export function afterAnswer(
  facts: ObservedNodeFacts,
  seen: Seen,
  processes: readonly ObservedProcess[],
  { nowMs, at }: Moment,
): ObservedNodeFacts {
  return {
    ...facts,
    state: 'ready',
    problem: null,
    lastSeenMs: nowMs,
    lastSeenAt: at,
    packages: seen.packages,
    processes,
    pressure: seen.pressure,
  };
}

/** What it showed before stays; whether that still counts is said by its state. */
export function afterMiss(facts: ObservedNodeFacts, problem: string, moment: Moment): ObservedNodeFacts {
  const state = facts.lastSeenMs === null ? 'unknown' : isGivenUp(facts, moment) ? 'dead' : 'suspect';
  return { ...facts, state, problem };
}

export function isGivenUp(
  { lastSeenMs }: Pick<ObservedNodeFacts, 'lastSeenMs'>,
  { nowMs, deadAfterMs }: Pick<Moment, 'nowMs' | 'deadAfterMs'>,
): boolean {
  return lastSeenMs !== null && nowMs - lastSeenMs >= deadAfterMs;
}

/**
 * Since when each life of a process is healthy; a restart within one look is a new life, too.
 * @returns the processes with that time, and what to remember for the next look
 */
export function withHealth(
  before: ReadonlyMap<string, number>,
  processes: readonly ProcessInfo[],
  nowMs: number,
): { processes: ObservedProcess[]; since: Map<string, number> } {
  const since = new Map<string, number>();
  const observed = processes.map(process => {
    const healthy =
      process.state === 'Running' &&
      (process.host?.state ?? process.component?.state) === 'Started' &&
      process.host?.health.ready !== false;
    const life = `${process.processId} ${process.pid} ${process.restarts}`;
    const healthySinceMs = healthy ? (before.get(life) ?? nowMs) : null;
    if (healthySinceMs !== null) since.set(life, healthySinceMs);
    return { ...process, healthySinceMs };
  });
  return { processes: observed, since };
}
