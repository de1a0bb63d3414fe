/** What an agent is started with, and the defaults of what may be left out. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { FastifyBaseLogger } from 'fastify';
import { DEFAULTS, type System } from '#core';

export interface NodeAgentOptions {
  /** The node's `networkName`; process ids begin with it. */
  nodeName: string;
  /** Address of the REST API; hosts listen on the same one. Port 0 takes a free port. */
  listen: { host: string; port: number };
  /** This agent's own folder: packages, process store, logs of hosts. Locked while the agent runs. */
  dataDirectory: string;
  /** What the agents of one machine share: coordination, `secrets/`, `data/<instanceId>/`. */
  stateRoot: string;
  /** The cluster secret (admin token). */
  secret: string;
  system: System;
  log: FastifyBaseLogger;
  /** File with the address of the coordination store. Null: `coordination.json` in either folder, else the embedded store. */
  coordinationFile?: string | null;
  /** Told to hosts; they take it into their log. Default `holdfast`. */
  clusterName?: string;
  /** How long a host lives on without an agent. Default 30,000. */
  orphanGraceMs?: number;
  /** First port that a host tries. Default 5200. */
  firstHostPort?: number;
  /** Unconfigured hosts kept ready of each launch profile in use, so that a start does not wait for a process. Default 1. */
  warmSpares?: number;
  /** What they may take together, MiB. Default 128. */
  spareMemoryMb?: number;
  /** How many hosts are launched at once. Default: two for each processor. */
  launchesMax?: number;
  /** Which package of kind `host` runs components. Default `component-host`. */
  hostPackageName?: string;
  /** How long a start may take. Default 30,000. */
  startTimeoutMs?: number;
  /** How long a host of an earlier agent gets to say hello again before it counts as lost. Default 10,000. */
  adoptionTimeoutMs?: number;
  /** Disk that must stay free, or the node takes no packages and starts nothing, bytes. Default: 2 %, at least 256 MiB. */
  diskFreeBytesMin?: number | null;
  /** Memory that must be available, or the node says that it is short of it, bytes. Default: 2 %, at least 128 MiB. */
  memoryFreeBytesMin?: number | null;
  /** Log level of hosts. Default `info`. */
  hostLogLevel?: string;
  /** Shown in the statistics. Default: that of this package. */
  version?: string;
}

export type ResolvedOptions = Required<NodeAgentOptions>;

export function resolveOptions(options: NodeAgentOptions): ResolvedOptions {
  return {
    coordinationFile: null,
    clusterName: 'holdfast',
    orphanGraceMs: DEFAULTS.orphanGraceMs,
    firstHostPort: DEFAULTS.firstHostPort,
    warmSpares: 1,
    spareMemoryMb: DEFAULTS.spareMemoryMb,
    launchesMax: 2 * availableParallelism(),
    hostPackageName: 'component-host',
    startTimeoutMs: 30_000,
    adoptionTimeoutMs: 10_000,
    diskFreeBytesMin: null,
    memoryFreeBytesMin: null,
    hostLogLevel: 'info',
    version: ownVersion(),
    ...options,
  };
}

function ownVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
