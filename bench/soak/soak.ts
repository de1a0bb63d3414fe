/**
 * A cluster under load for a long time, while hosts are killed, keys moved and versions deployed. What must hold: no idempotent request
 * fails, every answer is that of its key under a fence that never falls, and no process that lives on grows.
 */
import { readFileSync } from 'node:fs';
import { startKeepers } from '../keepers.ts';
import type { LoadPlan } from '../load/generator.ts';
import { measurePeak, startLoadProcess, type LoadTotals } from '../load/load.ts';
import { allProcesses } from '../peers/bare-process.ts';
import type { Cluster } from '../../tests/support/cluster.ts';
import { disturb, type Disturbances, type Pace } from './disturbances.ts';
import { judgeMemory, type MemorySample, type MemoryVerdict } from './memory.ts';

export interface SoakOptions {
  /** It takes longer where `pace.times` have not all happened, or one of them did not end. */
  durationMs: number;
  /** Measured for so long, of which `share` is the load; or a rate. */
  load: { peakSeconds: number; share: number } | { perSecond: number };
  pace: Pace;
  sampleEveryMs: number;
  nodes: number;
  /** How long a request may wait for an owner; default: the product's. */
  holdMs?: number;
  say(line: string): void;
}

export interface SoakReport {
  seconds: number;
  peakPerSecond: number | null;
  perSecond: number;
  load: Omit<LoadTotals, 'windows'>;
  disturbances: Disturbances;
  memory: (MemoryVerdict & { name: string; pid: number })[];
  /** p99 of the seconds in the first and the last third after the warm-up: their medians, and the longest request of all. */
  latency: { firstP99Ms: number; lastP99Ms: number; longestMs: number };
  /** What did not hold; empty: all did. */
  violations: string[];
}

const keyCount = 1_000;
const copies = 3;
const warmUpShare = 1 / 3;

export async function soak(options: SoakOptions): Promise<SoakReport> {
  const cluster = await startKeepers(copies, document => {
    document.nodeServers.splice(options.nodes);
    if (options.holdMs) document.holdMs = options.holdMs;
    document.componentInstances = document.componentInstances.filter(({ id }) => id !== 'databases');
    document.routes = document.routes.filter(
      ({ componentInstanceId }) => componentInstanceId !== 'databases',
    );
    const keepers = document.componentInstances.find(({ id }) => id === 'keepers')!;
    keepers.update = { healthyAfterMs: 500, autoRollback: false };
  });
  try {
    return await underLoad(cluster, options);
  } finally {
    await cluster.dispose();
  }
}

async function underLoad(cluster: Cluster, options: SoakOptions): Promise<SoakReport> {
  const { load: wanted, say } = options;
  const keys = Array.from({ length: keyCount }, (_, index) => `/keep/soak-${index}`);
  const plan: LoadPlan = {
    ports: cluster.routerUris.map(uri => Number(new URL(uri).port)),
    keys,
    connections: 64,
    perSecond: null,
    postEvery: 20,
    keepers: true,
  };
  const peakPerSecond = 'share' in wanted ? await measurePeak(plan, wanted.peakSeconds) : null;
  const perSecond = 'share' in wanted ? Math.floor(peakPerSecond! * wanted.share) : wanted.perSecond;
  say(`load: ${perSecond} requests a second${peakPerSecond ? `, peak ${Math.round(peakPerSecond)}` : ''}`);

  const load = startLoadProcess({ ...plan, perSecond });
  const disturbances = disturb(cluster, { keys, copies, pace: options.pace });
  const startMs = performance.now();
  const memory = new Map<number, { name: string; samples: MemorySample[] }>();
  let told = 0;
  for (;;) {
    await new Promise(resolve => setTimeout(resolve, options.sampleEveryMs));
    const atMs = performance.now() - startMs;
    await sampleMemory(cluster, memory, atMs);
    const { answered, failedIdempotent, wrong } = load.totals;
    const { kills, moves, deployments, problems } = disturbances.counts;
    const minute = Math.floor(atMs / 60_000);
    if (minute > told) {
      told = minute;
      say(
        `${minute} min: ${answered} answered, ${failedIdempotent} failed, ${wrong} wrong; ${kills} kills, ${moves} moves, ${deployments} deployments`,
      );
    }
    const { times } = options.pace;
    const enough =
      !times ||
      problems.length > 0 ||
      (kills >= times.kills && moves >= times.moves && deployments >= times.deployments);
    if (atMs >= options.durationMs && enough) break;
  }
  const seconds = (performance.now() - startMs) / 1_000;
  const done = await disturbances.stop();
  const { windows, ...totals } = await load.stop();

  const verdicts = [...memory].flatMap(([pid, { name, samples }]) => {
    const verdict = judgeMemory(samples, seconds * 1_000 * warmUpShare);
    return verdict ? [{ name, pid, ...verdict }] : [];
  });
  const after = windows.slice(Math.floor(windows.length * warmUpShare), -1);
  const third = Math.ceil(after.length / 3);
  const typical = (some: typeof after) =>
    some.map(({ p99Ms }) => p99Ms).sort((a, b) => a - b)[Math.floor(some.length / 2)] ?? 0;
  return {
    seconds,
    peakPerSecond,
    perSecond,
    load: totals,
    disturbances: done,
    memory: verdicts,
    latency: {
      firstP99Ms: typical(after.slice(0, third)),
      lastP99Ms: typical(after.slice(-third)),
      longestMs: Math.max(...windows.map(({ maxMs }) => maxMs)),
    },
    violations: [
      ...(totals.failedIdempotent > 0 ? [`${totals.failedIdempotent} idempotent requests failed`] : []),
      ...(totals.wrong > 0 ? [`${totals.wrong} answers were wrong`] : []),
      ...done.problems,
      ...verdicts
        .filter(({ flat }) => flat === false)
        .map(
          ({ name, pid, growthBytes }) => `${name} (${pid}) grew by ${Math.round(growthBytes / 2 ** 20)} MiB`,
        ),
    ],
  };
}

/** Private memory of every process of the cluster: what `up` started, and the hosts. */
async function sampleMemory(
  cluster: Cluster,
  memory: Map<number, { name: string; samples: MemorySample[] }>,
  atMs: number,
): Promise<void> {
  const names = new Map<number, string>();
  for (const { pid, parentPid } of allProcesses()) {
    if (pid === cluster.process.pid || parentPid === cluster.process.pid) names.set(pid, 'up');
    else if (names.get(parentPid) === 'up') names.set(pid, commandOf(pid));
  }
  try {
    for (const { pid, component } of await cluster.processes()) {
      if (pid) names.set(pid, component?.instanceId ?? 'spare host');
    }
  } catch {
    // Asked again at the next sample; an agent that stays away shows itself in what cannot be done.
  }
  for (const [pid, name] of names) {
    const bytes = anonymousBytes(pid);
    if (bytes === null) continue;
    const entry = memory.get(pid) ?? { name, samples: [] };
    // A spare becomes the host of a component.
    if (entry.name === 'spare host') entry.name = name;
    entry.samples.push({ atMs, bytes });
    memory.set(pid, entry);
  }
}

function commandOf(pid: number): string {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const script = words.find(word => /\.[jt]s$/.test(word)) ?? words[0]!;
    return script.split('/').slice(-2).join('/');
  } catch {
    return 'ended';
  }
}

/** Heap, stacks and whatever else is the process's own, bytes; null: it has ended. Cheap to read, unlike the proportional size. */
function anonymousBytes(pid: number): number | null {
  try {
    const found = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return found ? Number(found[1]) * 1024 : null;
  } catch {
    return null;
  }
}
