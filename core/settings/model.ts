/** The settings as the program reads them: every default filled in. What the user writes is `schema.ts`. */
import type { ClusterSettingsDocument } from './schema.ts';

export interface InstanceSettings {
  id: string;
  packageName: string;
  packageVersion: string | null;
  instances: number | 'perNode';
  settings: Record<string, unknown>;
  messagePublisher: {
    packageName: string;
    packageVersion: string | null;
    settings: Record<string, unknown>;
  } | null;
  constraints: { labels: Record<string, string>; spread: string | null; antiAffinity: string[] };
  resources: { memoryMb: number | null; weight: number };
  restart: { maxAttempts: number; windowMs: number; backoffMs: number; backoffMaxMs: number };
  update: {
    strategy: 'rolling' | 'canary';
    maxUnavailable: number;
    /** Copies beyond the count while copies are replaced or moved. */
    maxSurge: number;
    canary: { instances: number; promoteAfterMs: number | null };
    healthyAfterMs: number;
    deadlineMs: number;
    autoRollback: boolean;
  };
  health: HealthSettings;
  /** Null: it runs for ever. */
  job: JobSettings | null;
  env: Record<string, string | { secretRef: string }>;
  concurrency: number;
  idleMs: number;
  onAuthorityLoss: 'stop' | 'serveFenced';
  ports: number[];
}

/** How a copy's health is seen from outside of it. */
export interface HealthSettings {
  /** 0: its event loop is not watched. */
  livenessMs: number;
  http: {
    path: string;
    /** Null: `settings.port` of the copy. */
    port: number | null;
    intervalMs: number;
    timeoutMs: number;
    failuresMax: number;
    restart: boolean;
  } | null;
}

export interface JobSettings {
  /** Null: once. */
  cron: string | null;
  timeZone: string;
  timeoutMs: number;
  retries: number;
  misfire: 'skip' | 'once';
  historyMax: number;
}

export interface NodeSettings {
  networkName: string;
  networkIp: string;
  /** Without a trailing slash. */
  nodeApiUri: string;
  capacity: number;
  labels: Record<string, string>;
}

export type RouteSettings = {
  pathPrefix: string;
  componentInstanceId: string;
  resourceKey: { from: string; segments: number | null };
};

export type PackageReference = NonNullable<ClusterSettingsDocument['nodePackages']>[number];

/** The settings with every default filled in, frozen. */
export interface ClusterSettings {
  clusterName: string;
  /** A URL may be a secret of the machine that starts the cluster. The first serves the directory, all serve leases. */
  coordination: {
    kind: 'embedded' | 'redis' | 'postgres' | 'etcd';
    urls: (string | { secretRef: string })[];
  };
  managers: number;
  syncIntervalMs: number;
  sessionTtlMs: number;
  holdMs: number;
  orphanGraceMs: number;
  /** Of each launch profile, and for all of them together. */
  warmSpares: { perNode: number; memoryMb: number };
  rebalance: { threshold: number; movesPerHour: number };
  componentHostPackageName: string;
  nodePackages: PackageReference[];
  componentPackages: PackageReference[];
  nodeServers: NodeSettings[];
  componentInstances: InstanceSettings[];
  routes: RouteSettings[];
}
