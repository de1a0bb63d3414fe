/** What travels over the HTTP APIs. Types only; the contract is docs/api.md. All times are ISO 8601 UTC. */
import type { MasterDeployment } from './deployment-types.ts';
import type { HostState, HostStatus, JobRunStatus } from './host-protocol.ts';
import type { Manifest } from './manifest/schema.ts';
import type { HealthSettings } from './settings/model.ts';

/** One stored version of a package, as `…/packages/configuration` lists it. */
export interface PackageInfo {
  packageName: string;
  packageVersion: string;
  kind: Manifest['kind'];
  description: string;
  sha256: string;
  sizeBytes: number;
  /** The version that starts use when they name none. */
  current: boolean;
  installedAt: string;
  /** `corrupt`: the installed files no longer match; details in `problem`. Nothing starts from it. */
  status: 'ok' | 'corrupt';
  problem?: string;
  manifest: Manifest;
}

/** Body of `PUT /api/node/processes/{packageName}/start`. Everything may be left out. */
export interface StartProcessRequest {
  /** Makes the start idempotent: a live process with the same id is answered instead of a second one. */
  settingsId?: string;
  /** Default: the part of the settingsId before the first `/`, or the package's name. */
  instanceId?: string;
  settings?: Record<string, unknown>;
  messagePublisher?: { packageName: string; packageVersion?: string; settings?: Record<string, unknown> };
  /** Version of the component (or host) package; default: the current one. */
  version?: string;
  /** Version of the host package that a component runs in; default: the current one. */
  hostVersion?: string;
  env?: Record<string, string | { secretRef: string }>;
  restart?: RestartPolicy;
  memoryMb?: number;
  capacity?: number;
  concurrency?: number;
  /** A key without requests for so long is closed and given back; 0, the default: never. */
  idleMs?: number;
  /** Default `stop`, see `HostConfiguration`. */
  onAuthorityLoss?: 'stop' | 'serveFenced';
  sessionTtlMs?: number;
  /** How the agent looks after its health; default: see the settings schema. */
  health?: HealthSettings;
  /** The component runs this to completion, see `Component.run`. */
  job?: JobRunRequest;
}

/** One run of a job, as whoever starts it names it. */
export interface JobRunRequest {
  /** Counts the runs of the job from 1: a host refuses one that is not newer than every run begun before. */
  number: number;
  runId: string;
  /** The time that it was due, ISO 8601. */
  scheduledAt: string;
  /** 1 for the first try. */
  attempt: number;
  timeoutMs: number;
}

/** Restart at most `maxAttempts` times within `windowMs`, waiting `backoffMs`, doubled each time up to `backoffMaxMs`. */
export interface RestartPolicy {
  maxAttempts: number;
  windowMs: number;
  backoffMs: number;
  backoffMaxMs: number;
}

/**
 * Life of a supervised process as its agent sees it. `Starting` until the host says hello, `BackingOff` between a crash
 * and the next start, `CrashLoop` when the restart policy gave up, `Exited` when it ended and shall not run again.
 */
export type ProcessState = 'Starting' | 'Running' | 'Stopping' | 'BackingOff' | 'CrashLoop' | 'Exited';

export interface ProcessInfo {
  processId: string;
  /** Null while no operating-system process stands behind the entry. */
  pid: number | null;
  packageName: string;
  packageVersion: string;
  settingsId: string | null;
  component: { packageName: string; packageVersion: string; instanceId: string; state: HostState } | null;
  state: ProcessState;
  hostUri: string | null;
  startedAt: string;
  /** How often this entry was restarted after a crash. */
  restarts: number;
  /** The host's own view, null until its hello. */
  host: Pick<HostStatus, 'state' | 'health' | 'ownedKeys' | 'errors' | 'publisher'> | null;
  /** What its host said last of the run of a job; stays when the process has ended. Left out for what is no job. */
  job?: JobRunStatus;
  /** How and why the last operating-system process ended, null if none did. */
  lastExit: { code: number | null; signal: string | null; reason: string; at: string } | null;
}

export interface KillOutcome {
  killed: string[];
  failed: { processId: string; message: string }[];
}

/** One event of `GET /api/node/events` and `GET /api/master/events`: SSE with `event: <type>`, `id:`, and this as `data:`. */
export interface ApiEvent {
  type: string;
  at: string;
  [fact: string]: unknown;
}

export interface NodeStats {
  nodeName: string;
  version: string;
  startedAt: string;
  environment: {
    platform: string;
    arch: string;
    nodeVersion: string;
    hostname: string;
    cpus: number;
    loadAverage: number[];
    totalMemoryBytes: number;
    freeMemoryBytes: number;
    freeDiskBytes: number;
  };
  networkInterfaces: { name: string; address: string; family: string; internal: boolean }[];
  processes: ProcessStats[];
  coordination: NodeCoordination;
}

/** Which coordination store a node belongs to. Holds no secrets. */
export interface NodeStore {
  kind: 'embedded' | 'redis';
  /** `host:port/database`, the directory's first; the path of a socket for the embedded one. */
  endpoints: string[];
  /**
   * Where its address came from: `file` (the node was started with it), `assigned` (handed to the node), `shared` (the state folder of
   * its machine), `default` (nobody said anything: the node uses an embedded store, and may be assigned another as long as it runs nothing).
   */
  source: 'file' | 'assigned' | 'shared' | 'default';
}

/** The coordination store as one node sees it just now. */
export interface NodeCoordination extends NodeStore {
  /** Whether the directory answers. */
  reachable: boolean;
  /** Why not, or what makes this store unfit; null: nothing. */
  problem: string | null;
  /** What its operator should know and may accept. */
  warnings: string[];
  /** Processes that are dead, but whose sessions could not be ended yet. */
  sessionsToEnd: number;
}

export interface ProcessStats {
  processId: string;
  packageName: string;
  componentPackageName: string | null;
  settingsId: string | null;
  pid: number;
  /** CPU since its start, milliseconds, and share of one core over the last interval (0 to n). */
  cpuMs: number;
  cpuShare: number;
  rssBytes: number;
  uptimeMs: number;
}

/**
 * `unknown`: never seen by this manager. `suspect`: it missed a look, and what runs there still counts. `dead`: it was away for so long
 * that its instances are replaced elsewhere.
 */
export type NodeReachability = 'ready' | 'suspect' | 'dead' | 'unknown';

/** What a node is short of. While it is, it gets no more copies. */
export interface NodePressure {
  kind: 'disk' | 'memory' | 'ports';
  message: string;
}

/** An operator has paused reconciliation: nothing is started, stopped or moved by the node manager. */
export interface ReconciliationPause {
  /** ISO 8601. */
  since: string;
  by: string;
  reason: string | null;
}

/** What an operator has said of a node. `cordoned`: it gets no more copies. `draining`: those it has go, too. */
export interface NodeMaintenance {
  state: 'cordoned' | 'draining';
  /** ISO 8601. */
  since: string;
  by: string;
  reason: string | null;
  /** When copies that have not gone by then are stopped all the same; ISO 8601, null: never. */
  deadlineAt: string | null;
}

export interface MasterNode {
  networkName: string;
  nodeApiUri: string;
  state: NodeReachability;
  lastSeen: string | null;
  /** Why it is not ready. */
  problem: string | null;
  capacity: number;
  labels: Record<string, string>;
  processes: number;
  maintenance: NodeMaintenance | null;
  /** Copies of instances that run there; node managers are not counted. */
  copies: number;
  /** It drains, and no copy is left on it. */
  drained: boolean;
  pressure: NodePressure[];
  /** It came and went several times lately: it gets no more copies until it has been steady for a while. */
  flapping: boolean;
  /** Pielou's J' of the component types running there, 0 to 1. */
  evenness: number;
}

export interface MasterInstance {
  id: string;
  packageName: string;
  packageVersion: string | null;
  desired: number;
  /** Started copies of the desired version and settings. */
  running: number;
  /** All live copies, older versions too. */
  live: number;
  /** Versions of live copies and how many run each. */
  versions: Record<string, number>;
  nodes: string[];
  /** Copies that crash-loop or cannot be placed, in words. */
  problems: string[];
  /** The change that is under way; null: none. */
  deployment: MasterDeployment | null;
}

/** Why an instance's copies are where they are, and where the next one would go. */
export interface InstanceExplanation {
  instanceId: string;
  packageName: string;
  packageVersion: string | null;
  revisionId: string | null;
  slots: ExplainedSlot[];
  /** In the order of the placement rule: the first one without an obstacle gets the next copy. */
  nodes: ExplainedNode[];
  problems: string[];
}

export interface ExplainedSlot {
  slot: string;
  copies: {
    node: string;
    version: string;
    condition: 'healthy' | 'starting' | 'failing' | 'stopping';
    decision: 'stays' | 'goes';
    reason: string;
  }[];
  /** What the next sync starts for it. */
  starts: { node: string; version: string | null; reason: string } | null;
}

export interface ExplainedNode {
  node: string;
  /** Why it cannot take the next copy, in words that follow its name; null: it can. */
  obstacle: string | null;
  /** The spread label's value there, and the copies in that group; null without a spread. */
  group: { name: string; copies: number } | null;
  copies: number;
  copiesPerCapacity: number;
  /** Weights and other processes per capacity. */
  load: number;
  /** Pielou's J' of the node's component types once it had the copy. */
  evennessAfter: number;
}

export interface MasterStatus {
  clusterName: string;
  version: string;
  leader: { processId: string; nodeName: string; fence: string } | null;
  isLeader: boolean;
  /** Those that run, as this one knows them, with where they answer. */
  managers: { processId: string; nodeName: string; address: string; leads: boolean }[];
  settings: { etag: string; revision: number; updatedAt: string; updatedBy: string } | null;
  /** Null: it goes on. */
  reconciliationPaused: ReconciliationPause | null;
  /** The document that was refused last, if the running one is older. */
  settingsError: { at: string; source: string; message: string; problems: unknown[] } | null;
  warnings: string[];
  lastSync: {
    at: string;
    durationMs: number;
    actions: number;
    failed: { action: string; message: string }[];
  } | null;
  /** Mean of the nodes that answer. */
  evenness: number;
  /** What no placement of the same copies exceeds that is fair to every node; at least `evenness`. */
  evennessBest: number;
  /** `evenness` / `evennessBest`. */
  evennessScore: number;
  nodes: MasterNode[];
  instances: MasterInstance[];
  routes: { pathPrefix: string; componentInstanceId: string }[];
  routers: string[];
}

/** A settings document that was accepted, as the history lists it. */
export interface SettingsRevision {
  revision: number;
  etag: string;
  updatedAt: string;
  /** Who, as told: `file`, `api: ada@laptop (admin)`, `undo: …`. */
  updatedBy: string;
  sizeBytes: number;
}

/** An action of the present run, or of an earlier one that has not ended. */
export interface ActionProgress extends PlanAction {
  /** `skipped`: something it needs did not succeed, or not in time. */
  state: 'waiting' | 'running' | 'done' | 'failed' | 'skipped';
  /** ISO 8601; null: not yet. */
  startedAt: string | null;
  error: string | null;
}

export interface SyncStatus {
  /** The run under way; null: none. */
  running: { reason: string; startedAt: string } | null;
  actions: ActionProgress[];
}

/** One host in the cluster: a live process of a node, with its session. */
export interface MasterHost extends ProcessInfo {
  nodeName: string;
  nodeApiUri: string;
}

export interface ResourceInfo {
  key: string;
  instanceId: string;
  owner: { processId: string; nodeName: string; hostUri: string };
  sessionId: string;
  fence: string;
}

export interface PlanAction {
  type: string;
  target: string;
  reason: string;
}
