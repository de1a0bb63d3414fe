/** Typed calls to the master API (node manager). */
import type {
  ApiEvent,
  DeploymentInfo,
  InstanceExplanation,
  JobDetail,
  JobInfo,
  MasterHost,
  MasterInstance,
  MasterNode,
  MasterStatus,
  NodeMaintenance,
  PackageInfo,
  PackageRollback,
  PlanAction,
  ReconciliationPause,
  ResourceInfo,
  SettingsChange,
  SettingsRevision,
  SyncStatus,
} from '#core';
import { path, type ConnectionOptions } from './http.ts';
import { uploadUnlessKnown, type Zip } from './upload.ts';
import { createLeaderConnection } from './leader-connection.ts';
import { readEvents } from './server-sent-events.ts';

/** One version of a package as the master knows it. */
export interface MasterPackage {
  packageName: string;
  packageVersion: string;
  /** Null until a node has read it. */
  kind: PackageInfo['kind'] | null;
  sha256: string;
  /** Where its bytes are: `upload`, `settings`, or names of nodes. */
  sources: string[];
  /** Nodes that have it installed. */
  nodes: string[];
  /** Ids of instances that run, or shall run, this version. */
  instances: string[];
  /** Why it cannot be used, if so. */
  problem: string | null;
}

/** What an upload to the master did. */
export interface MasterUpload {
  created: boolean;
  package: PackageInfo;
  /** Per node: null when it has the package, else why not. */
  nodes: Record<string, string | null>;
  /** PUT only: ids of the instances that were set to this version. */
  instances: string[];
  /** The ETag of the settings after it, if they changed. */
  settingsEtag: string | null;
}

export interface SyncOutcome {
  at: string;
  durationMs: number;
  actions: PlanAction[];
  failed: { action: string; message: string }[];
}

export interface SettingsDiff {
  from: SettingsRevision;
  to: SettingsRevision;
  changes: SettingsChange[];
}

/** What restoring a backup did. */
export interface RestoreOutcome {
  /** Of the cluster that the backup is of. */
  clusterName: string;
  createdAt: string;
  counts: { revisions: number; packages: number; keys: number; documents: number };
  /** Packages that the cluster runs from and has with other bytes than the backup; those here were kept. */
  kept: string[];
  /** The settings after it. */
  revision: number;
  etag: string;
}

/** What became of pausing or resuming a key. */
export interface KeyPause {
  key: string;
  instanceId: string;
  paused: boolean;
}

interface NodeMaintenanceAnswer {
  networkName: string;
  maintenance: NodeMaintenance | null;
}

interface ReconciliationAnswer {
  paused: ReconciliationPause | null;
}

export interface MasterClient {
  readonly uri: string;
  status(): Promise<MasterStatus>;
  nodes(): Promise<MasterNode[]>;
  instances(): Promise<MasterInstance[]>;
  packages(): Promise<MasterPackage[]>;
  hosts(): Promise<MasterHost[]>;
  /** A page of owned keys; `cursor` is null at the end. */
  resources(query?: {
    prefix?: string;
    limit?: number;
    cursor?: string;
    instance?: string;
  }): Promise<{ resources: ResourceInfo[]; cursor: string | null }>;
  resource(key: string, options?: { instance?: string }): Promise<ResourceInfo>;
  /** `makeCurrent`: PUT, which also sets `packageVersion` of the package's instances and so rolls them. */
  uploadPackage(
    zip: Zip,
    options: {
      makeCurrent: boolean;
      /** Of the ZIP, hex: what the cluster has already is not sent again. */
      sha256?: string;
      timeoutMs?: number;
      /** With `makeCurrent`: so many copies first, the others after a promotion. */
      canary?: number;
      promoteAfterMs?: number;
    },
  ): Promise<MasterUpload>;
  removePackage(packageName: string, options?: { version?: string }): Promise<void>;
  /** Back to the version before, everywhere. */
  rollback(packageName: string): Promise<PackageRollback>;
  /** Newest first. */
  jobs(): Promise<JobInfo[]>;
  job(id: string): Promise<JobDetail>;
  /** @throws HoldfastError HF_JOB_RUNNING while a run is under way */
  runJob(id: string): Promise<JobInfo>;
  cancelJob(id: string): Promise<JobInfo>;
  deployments(query?: { instance?: string; limit?: number }): Promise<DeploymentInfo[]>;
  deployment(id: string): Promise<DeploymentInfo>;
  commandDeployment(id: string, command: 'promote' | 'pause' | 'resume' | 'abort'): Promise<DeploymentInfo>;
  /** What a sync would do now. */
  plan(): Promise<{ actions: PlanAction[] }>;
  /** Why an instance's copies are where they are. */
  explain(instanceId: string): Promise<InstanceExplanation>;
  sync(): Promise<SyncOutcome>;
  /** The run under way, with the state of each action. */
  syncStatus(): Promise<SyncStatus>;
  /** The settings document as it was written, comments and all. */
  settings(): Promise<{ text: string; etag: string }>;
  /** `ifMatch`: the ETag that the text was made from; without it the last writer wins. */
  putSettings(text: string, options?: { ifMatch?: string }): Promise<{ etag: string }>;
  /** Newest first. */
  settingsHistory(): Promise<SettingsRevision[]>;
  settingsRevision(revision: number): Promise<{ text: string; etag: string }>;
  /** By default the newest revision and the one before. */
  settingsDiff(revisions?: { from?: number; to?: number }): Promise<SettingsDiff>;
  /** `to`: the revision that shall be the newest again, by default the one before. */
  undoSettings(options?: { to?: number; ifMatch?: string }): Promise<SettingsRevision>;
  /** No more copies for the node; those it has stay. */
  cordon(networkName: string, options?: { reason?: string }): Promise<NodeMaintenanceAnswer>;
  /** Copies move away, too. `deadlineMs`: those that have not by then are stopped. Resolves at once: see `nodes()` for how far it is. */
  /** The ZIP of the cluster's state as it comes; an error while it is read means that it is none. */
  backup(): Promise<{ name: string; zip: ReadableStream<Uint8Array> }>;
  restore(file: { path: string }, options?: { withNodes?: boolean }): Promise<RestoreOutcome>;
  drain(
    networkName: string,
    options?: { reason?: string; deadlineMs?: number },
  ): Promise<NodeMaintenanceAnswer>;
  /** Lifts both. */
  undrain(networkName: string): Promise<NodeMaintenanceAnswer>;
  pauseReconciliation(options?: { reason?: string }): Promise<ReconciliationAnswer>;
  resumeReconciliation(): Promise<ReconciliationAnswer>;
  /** Rolling restart of all copies. */
  restart(instanceId: string): Promise<{ instanceId: string; restart: string }>;
  /** Hands a key to another host. `to`: a processId or the name of a node; without it to the host with the least keys. */
  move(
    key: string,
    options?: { instance?: string; to?: string },
  ): Promise<{ moved: boolean; resource: ResourceInfo | null }>;
  /** Makes the owner give the key back. */
  release(key: string, options?: { instance?: string }): Promise<{ released: boolean }>;
  /** Lets nobody own the key until it is resumed. */
  pause(key: string, options?: { instance?: string }): Promise<KeyPause>;
  resume(key: string, options?: { instance?: string }): Promise<KeyPause>;
  events(signal: AbortSignal): AsyncIterable<ApiEvent>;
  /** Whether the API is ready; false also when nobody answers. */
  ready(): Promise<boolean>;
}

const syncTimeoutMs = 120_000;
/** Packages of many gigabytes, over a slow line. */
const backupTimeoutMs = 3_600_000;
/** A key leaves its host when its requests are through, or their time is. */
const keyTimeoutMs = 20_000;

/**
 * Every call has a deadline and throws HoldfastError: the master's own, or HF_NODE_UNREACHABLE. What a manager that stands by refuses
 * is sent to the leader that it names.
 */
export function createMasterClient(options: ConnectionOptions): MasterClient {
  const connection = createLeaderConnection(options);
  const { json, send, read } = connection;
  const master = (...segments: string[]) => path('api', 'master', ...segments);

  async function settingsDocument(at: string): Promise<{ text: string; etag: string }> {
    const response = await send('GET', at, { headers: { accept: 'application/jsonc, application/json' } });
    return { text: await read(response.text()), etag: response.headers.get('etag') ?? '' };
  }

  return {
    get uri() {
      return connection.uri;
    },
    status: () => json('GET', master()),
    nodes: () => json('GET', master('nodes')),
    instances: () => json('GET', master('instances')),
    packages: () => json('GET', master('packages')),
    hosts: () => json('GET', master('hosts')),
    async resources(query = {}) {
      const response = await send('GET', master('resources'), { query });
      return {
        resources: (await read(response.json())) as ResourceInfo[],
        cursor: response.headers.get('x-holdfast-cursor'),
      };
    },
    resource: (key, { instance } = {}) => json('GET', master('resources', key), { query: { instance } }),
    uploadPackage: (zip, { makeCurrent, sha256, timeoutMs = syncTimeoutMs, canary, promoteAfterMs }) =>
      uploadUnlessKnown(zip, sha256, upload =>
        json(makeCurrent ? 'PUT' : 'POST', master('packages'), {
          ...upload,
          query: { canary, promoteAfterMs, ...upload.query },
          timeoutMs,
        }),
      ),
    removePackage: (packageName, { version } = {}) =>
      json('DELETE', master('packages', packageName), { query: { version } }),
    rollback: packageName => json('POST', master('packages', packageName, 'rollback')),
    jobs: () => json('GET', master('jobs')),
    job: id => json('GET', master('jobs', id)),
    runJob: id => json('POST', master('jobs', id, 'run')),
    cancelJob: id => json('POST', master('jobs', id, 'cancel')),
    deployments: (query = {}) => json('GET', master('deployments'), { query }),
    deployment: id => json('GET', master('deployments', id)),
    commandDeployment: (id, command) => json('POST', master('deployments', id, command)),
    plan: () => json('GET', master('plan')),
    explain: instanceId => json('GET', master('instances', instanceId, 'explain')),
    syncStatus: () => json('GET', master('sync')),
    sync: () => json('POST', master('sync'), { timeoutMs: syncTimeoutMs }),
    settings: () => settingsDocument(master('settings')),
    async putSettings(text, { ifMatch } = {}) {
      const response = await send('PUT', master('settings'), {
        body: text,
        ...(ifMatch === undefined ? {} : { headers: { 'if-match': ifMatch } }),
      });
      await read(response.text());
      return { etag: response.headers.get('etag') ?? '' };
    },
    settingsHistory: () => json('GET', master('settings', 'history')),
    settingsRevision: revision => settingsDocument(master('settings', 'history', String(revision))),
    settingsDiff: (revisions = {}) => json('GET', master('settings', 'diff'), { query: revisions }),
    undoSettings: ({ to, ifMatch } = {}) =>
      json('POST', master('settings', 'undo'), {
        json: { to },
        ...(ifMatch === undefined ? {} : { headers: { 'if-match': ifMatch } }),
      }),
    cordon: (networkName, asked = {}) =>
      json('POST', master('nodes', networkName, 'cordon'), { json: asked }),
    async backup() {
      const response = await send('GET', master('backup'), { timeoutMs: backupTimeoutMs });
      const [, name] = /filename="([\w.@-]+)"/.exec(response.headers.get('content-disposition') ?? '') ?? [];
      return { name: name ?? 'backup.zip', zip: response.body! };
    },
    restore: async (file, { withNodes } = {}) =>
      json('POST', master('restore'), {
        query: { withNodes },
        zip: file,
        timeoutMs: backupTimeoutMs,
      }),
    drain: (networkName, asked = {}) => json('POST', master('nodes', networkName, 'drain'), { json: asked }),
    undrain: networkName => json('POST', master('nodes', networkName, 'undrain')),
    pauseReconciliation: (asked = {}) => json('POST', master('reconciliation', 'pause'), { json: asked }),
    resumeReconciliation: () => json('POST', master('reconciliation', 'resume')),
    restart: instanceId => json('POST', master('instances', instanceId, 'restart')),
    move: (key, { instance, to } = {}) =>
      json('POST', master('resources', key, 'move'), {
        query: { instance },
        json: { to },
        timeoutMs: keyTimeoutMs,
      }),
    release: (key, { instance } = {}) =>
      json('POST', master('resources', key, 'release'), { query: { instance }, timeoutMs: keyTimeoutMs }),
    pause: (key, { instance } = {}) =>
      json('POST', master('resources', key, 'pause'), { query: { instance }, timeoutMs: keyTimeoutMs }),
    resume: (key, { instance } = {}) =>
      json('POST', master('resources', key, 'resume'), { query: { instance } }),
    events: signal => readEvents(connection, master('events'), signal),
    ready: connection.ready,
  };
}
