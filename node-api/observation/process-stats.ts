/** CPU and memory of processes. The CPU share is measured between two looks, whoever asked; a first look shows the mean since the start. */
import { processFacts, type ProcessStats, type System } from '#core';
import type { Entry } from '../supervision/entries.ts';

export interface ProcessStatistics {
  /** Of those that have a live process. */
  of(entries: readonly Entry[]): ProcessStats[];
}

interface Sample {
  startTime: string;
  atMs: number;
  cpuMs: number;
  cpuShare: number;
}

/** The kernel counts in steps of 10 ms: over less time than this a share says nothing. */
const intervalMsMin = 500;

export function createProcessStatistics(system: System): ProcessStatistics {
  const samples = new Map<number, Sample>();

  function measure(entry: Entry): ProcessStats[] {
    const { host, record } = entry;
    const identity = host?.identity;
    if (!host || host.ended || !identity) return [];
    const facts = processFacts(identity.pid);
    if (!facts || facts.zombie || facts.startTime !== identity.startTime) return [];
    const uptimeMs = Math.max(0, system.clock.bootMs() - host.record.spawnedBootMs);
    const cpuShare = share(identity.pid, facts.startTime, facts.cpuMs, uptimeMs);
    return [
      {
        processId: record.processId,
        packageName: record.packageName,
        componentPackageName: record.role === 'component' ? record.packageName : null,
        settingsId: record.settingsId,
        pid: identity.pid,
        cpuMs: facts.cpuMs,
        cpuShare,
        rssBytes: facts.rssBytes,
        uptimeMs,
      },
    ];
  }

  function share(pid: number, startTime: string, cpuMs: number, uptimeMs: number): number {
    const atMs = system.clock.monotonicMs();
    const before = samples.get(pid);
    const known = before?.startTime === startTime ? before : null;
    if (known && atMs - known.atMs < intervalMsMin) return known.cpuShare;
    const [usedMs, passedMs] = known ? [cpuMs - known.cpuMs, atMs - known.atMs] : [cpuMs, uptimeMs];
    const cpuShare = passedMs > 0 ? Math.round((usedMs / passedMs) * 1000) / 1000 : 0;
    samples.set(pid, { startTime, atMs, cpuMs, cpuShare });
    return cpuShare;
  }

  return {
    of(entries) {
      const stats = entries.flatMap(measure);
      if (samples.size > 2_000) samples.clear(); // of processes long gone; the next look measures anew
      return stats;
    },
  };
}
