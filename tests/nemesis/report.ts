/** The figures of a campaign, and their words. Pure. */
import { longestUnavailability } from './check-availability.ts';
import type { Content, History, Operation } from './history.ts';

export interface Figures {
  operations: Record<Operation['outcome'], number>;
  acknowledgedAppends: number;
  /** Elements in all registers in the end. */
  elements: number;
  moves: number;
  /** Openings after the first of each key, as far as registers note them. */
  takeovers: number;
  highestFence: bigint;
  /** By name of fault. */
  faults: { name: string; count: number; unavailableMs: number }[];
  /** The 99th percentile and the longest of good answers, milliseconds. */
  latencyMs: { p99: number; longest: number };
}

export function figuresOf(
  history: History,
  { contents, moves }: { contents: ReadonlyMap<string, Content>; moves: number },
): Figures {
  const count = (outcome: Operation['outcome']) =>
    history.operations.filter(operation => operation.outcome === outcome).length;
  const good = history.operations.filter(operation => operation.outcome === 'ok');
  const latencies = good.map(({ startMs, endMs }) => endMs - startMs).sort((a, b) => a - b);
  const openings = [...contents.values()].map(content => content.openings ?? []);
  const away = longestUnavailability(history);
  const names = [...new Set(history.faults.map(({ name }) => name))].sort();
  return {
    operations: { ok: count('ok'), failed: count('failed'), unknown: count('unknown') },
    acknowledgedAppends: good.filter(({ kind }) => kind === 'append').length,
    elements: [...contents.values()].reduce((sum, { entries }) => sum + entries.length, 0),
    moves,
    takeovers: openings.reduce((sum, list) => sum + Math.max(0, list.length - 1), 0),
    highestFence: openings.flat().reduce((highest, { fence }) => (fence > highest ? fence : highest), 0n),
    faults: names.map(name => ({
      name,
      count: history.faults.filter(fault => fault.name === name).length,
      unavailableMs: Math.round(away.get(name) ?? 0),
    })),
    latencyMs: {
      p99: Math.round(latencies[Math.floor(latencies.length * 0.99)] ?? 0),
      longest: Math.round(latencies.at(-1) ?? 0),
    },
  };
}

export function describeResult(figures: Figures): string[] {
  const { operations, faults, latencyMs } = figures;
  const total = operations.ok + operations.failed + operations.unknown;
  return [
    `${total} requests: ${operations.ok} served, ${operations.failed} not executed, ${operations.unknown} with unknown outcome`,
    `${figures.acknowledgedAppends} acknowledged appends, ${figures.elements} elements in the end`,
    `${figures.moves} planned moves, ${figures.takeovers} takeovers, highest fence ${figures.highestFence}`,
    `good answers: 99 % within ${latencyMs.p99} ms, the longest took ${latencyMs.longest} ms`,
    'longest unavailability of one key by fault (count):',
    ...faults.map(({ name, count, unavailableMs }) => `  ${unavailableMs} ms  ${name} (${count})`),
  ];
}

/** What was not served, by kind and by what the answer said. */
export function describeFailures(operations: readonly Operation[]): string {
  const counts = new Map<string, number>();
  for (const { failure, kind } of operations) {
    if (failure === null) continue;
    const why = failure.status === null ? failure.message : (failure.code ?? String(failure.status));
    const name = `${kind} ${why}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  if (counts.size === 0) return 'all served';
  return `not served: ${[...counts].map(([name, count]) => `${count} × ${name}`).join(', ')}`;
}
