/**
 * The private channel between an agent (node API) and its hosts. Types only.
 *
 * The agent starts a host with nothing secret in argv or environment and writes one `HostLaunch` as a line of JSON to
 * its standard input. The host then connects to the agent's Unix socket, says `hello`, and both sides speak JSON-RPC
 * over it (`#channel`). The connection is the host's lifeline: while it is gone the host reconnects, and after
 * `orphanGraceMs` without an agent it stops by itself. A restarted agent adopts its hosts by their `hello`.
 */
import type { JobRunRequest } from './api-types.ts';
import type { Settings } from './component.ts';
import type { InstanceId, NodeName, ProcessId } from './identifiers.ts';

export interface HostLaunch {
  processId: ProcessId;
  /** Random, known to this agent and this host only: proves the host to the agent. */
  hostSecret: string;
  nodeName: NodeName;
  clusterName: string;
  /** The cluster secret (admin token); also signs the router's channel. */
  clusterSecret: string;
  /** Unix socket of the agent. */
  agentSocket: string;
  coordination: CoordinationAddress;
  /** Address that the host listens on, and the first port it tries. */
  listenHost: string;
  firstPort: number;
  /** This host's own folder (0700): logs, uploaded packages. */
  hostDirectory: string;
  /** The folder above all `dataDirectory`s: `<dataRoot>/<instanceId>`. */
  dataRoot: string;
  orphanGraceMs: number;
  logLevel: string;
}

/** Where the coordination store is, as a host must know it. */
export type CoordinationAddress =
  | { kind: 'embedded'; socketPath: string }
  | {
      kind: 'redis';
      /** `redis[s]://[user:password@]host:port/db`. The first serves the directory, all serve the leases. Secret: never log them. */
      urls: string[];
      /** Before every key in Redis: what tells clusters on one Redis apart. */
      prefix: string;
      /** The longest time to live of a session: for so long nothing new is given out after Redis has forgotten. */
      sessionTtlMs: number;
    };

/** Which installed package, and where its verified files are. */
export interface InstalledPackage {
  packageName: string;
  packageVersion: string;
  /** Absolute folder that holds `manifest.json`. */
  directory: string;
}

/** What the agent hands to a host that shall run a component. Secrets in settings and env are resolved already. */
export interface HostConfiguration {
  settingsId: string;
  instanceId: InstanceId;
  component: InstalledPackage;
  settings: Settings;
  publisher: (InstalledPackage & { settings: Settings }) | null;
  /** The agent has filled in what the packages' schemas have as defaults, and checked the settings: the host need not. */
  settingsChecked?: true;
  env: Record<string, string>;
  sessionTtlMs: number;
  /** Relative share of keys, at least 1. */
  capacity: number;
  /** Requests served at once per key; 0 means no bound. */
  concurrency: number;
  /** A key without requests for so long is closed and given back; 0 means never. */
  idleMs: number;
  /** At the session's deadline, while the store cannot be asked: stop serving, or go on, because every commit is fenced. */
  onAuthorityLoss: 'stop' | 'serveFenced';
  /** The agent checks the component over HTTP: it is not ready before the first `checked` that says so. */
  awaitsCheck?: true;
  /** The run of a job to complete; left out for what runs for ever. */
  job?: JobRunRequest;
}

export type HostState =
  'AwaitingConfiguration' | 'Configured' | 'Started' | 'Stopping' | 'Stopped' | 'Errored' | 'Destroyed';

/** `lost`: the lease that makes it the only run ended in the middle, so that the work was told to stop. */
export interface JobRunStatus {
  runId: string;
  state: 'waiting' | 'running' | 'succeeded' | 'failed' | 'lost';
  /** Strictly higher than that of every earlier run of this job; null until it runs. */
  fence: string | null;
  startedAt: string | null;
  endedAt: string | null;
  /** What `run` resolved to, as JSON text of at most 4 KiB; null: nothing. */
  result: string | null;
  error: { code: string; message: string } | null;
}

/** What a host tells its agent at `hello` and at every change. */
export interface HostStatus {
  state: HostState;
  /** `http://ip:port` of its REST API and of the router's channel. */
  hostUri: string;
  component: { packageName: string; packageVersion: string; instanceId: string; state: HostState } | null;
  publisher: { packageName: string; packageVersion: string; state: string } | null;
  health: { ready: boolean; message?: string };
  ownedKeys: number;
  /** The run of a job that the host was configured for; left out for any other. */
  job?: JobRunStatus;
  /** Newest last; at most 10. */
  errors: { code: string; message: string; at: string }[];
}

/** Methods that the agent answers. */
export interface AgentMethods {
  hello(params: { processId: ProcessId; hostSecret: string; pid: number; status: HostStatus }): {
    accepted: boolean;
  };
  /** Notification: any change of the status. */
  status(params: HostStatus): void;
}

/** Methods that the host answers. Errors travel as `ErrorBody` in the JSON-RPC error's data. */
export interface HostMethods {
  /** Loads and configures; allowed in AwaitingConfiguration, Configured, Stopped and Errored. */
  configure(params: HostConfiguration): HostStatus;
  /** Starts publisher, component, subscriptions, session; rolls back and rejects on failure. */
  start(): HostStatus;
  stop(): HostStatus;
  /** Answers when nothing is open any more of a session that was lost. A frozen host does not answer, and is ended. */
  letGo(): HostStatus;
  /** A sign of life: answered by the same event loop that the component runs on. */
  ping(): HostStatus;
  /** What the agent's HTTP checks say of the component; it is ready when both it and they say so. */
  checked(params: { ok: boolean; message?: string }): HostStatus;
  /** Stops gracefully within the time, then the process exits with 0. Resolves when stopped, before the exit. */
  shutdown(params: { graceMs: number }): HostStatus;
}

/** In a response: which process answered. Whatever else begins with `x-holdfast-` never leaves Holdfast, nor comes in from outside. */
export const OWNER_HEADER = 'x-holdfast-owner';
