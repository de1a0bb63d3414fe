/**
 * What the process store remembers. Two tables, because two things have lives of their own: a *host* is one
 * operating-system process, an *entry* is what somebody asked to run, which outlives the processes that crash under it.
 * A host that no entry points to is a warm spare.
 */
import type { JobRunStatus, ProcessInfo, ProcessState, StartProcessRequest } from '#core';

/** One operating-system process, written before it is spawned (pid null) and again when its pid is known. */
export interface HostRecord {
  processId: string;
  pid: number | null;
  startTime: string | null;
  /** SHA-256 (hex) of the secret that the host proves itself with: enough to check, useless to a thief. */
  secretSha256: string;
  packageName: string;
  packageVersion: string;
  memoryMb: number | null;
  /** Fingerprint of the coordination store that it was launched with; older agents, which knew the embedded one only, wrote none. */
  store?: string;
  /** Milliseconds since boot, see `System.clock.bootMs`. */
  spawnedBootMs: number;
}

/** What shall run. `request` is kept as it was asked: secret references stay references. */
export interface EntryRecord {
  entryId: string;
  /** Of the present or last operating-system process; changes with every restart. */
  processId: string;
  state: ProcessState;
  role: 'host' | 'component';
  packageName: string;
  packageVersion: string;
  /** The host package that it runs in; the package itself for an unconfigured host. */
  hostPackage: { packageName: string; packageVersion: string };
  publisher: { packageName: string; packageVersion: string } | null;
  instanceId: string;
  settingsId: string | null;
  request: StartProcessRequest;
  startedAt: string;
  restarts: number;
  /** When it crashed, milliseconds since boot; what the restart policy looks at. */
  crashes: number[];
  /** Whether it ever ran: a start that never succeeded is not tried again by itself. */
  everRan: boolean;
  lastExit: ProcessInfo['lastExit'];
  /** The port that HTTP checks ask; left out when there are none. */
  healthPort?: number;
  /** What its host said last of the run of a job: that outlives the process. */
  job?: JobRunStatus;
}

/** The highest mark seen of one cluster's leaders. */
export interface LeaderRecord {
  incarnation: string;
  /** Digits: JSON has no bigint. */
  fence: string;
  /** Incarnations that were replaced; they never come back. Newest last. */
  former: string[];
}

export interface StoreDocument {
  format: 1;
  hosts: Record<string, HostRecord>;
  entries: Record<string, EntryRecord>;
  /** Ended processes, oldest first, at most `endedMax`. */
  ended: ProcessInfo[];
  leaders: Record<string, LeaderRecord>;
}

export const endedMax = 100;

export function emptyDocument(): StoreDocument {
  return { format: 1, hosts: {}, entries: {}, ended: [], leaders: {} };
}

/** Whether what a file holds can be worked with: the shape of the tables and what every record needs. */
export function isStoreDocument(value: unknown): value is StoreDocument {
  if (!isObject(value) || value.format !== 1) return false;
  const { hosts, entries, ended, leaders } = value;
  if (!isObject(hosts) || !isObject(entries) || !Array.isArray(ended) || !isObject(leaders)) return false;
  return (
    Object.values(hosts).every(
      host => isObject(host) && typeof host.processId === 'string' && typeof host.secretSha256 === 'string',
    ) &&
    Object.values(entries).every(
      entry => isObject(entry) && typeof entry.processId === 'string' && isObject(entry.request),
    )
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
