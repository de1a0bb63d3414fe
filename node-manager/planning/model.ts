/** The facts that planning works on, and the actions that it yields. All times are of this process's monotonic clock. */
import type {
  ClusterSettings,
  ErrorCode,
  InstanceSettings,
  MasterInstance,
  NodeMaintenance,
  NodePressure,
  NodeReachability,
  PackageInfo,
  ProcessInfo,
  StartProcessRequest,
} from '#core';

import type { JobDemands } from '../jobs/model.ts';

/** One version of a package whose bytes the manager can get. */
export interface CatalogEntry {
  packageName: string;
  packageVersion: string;
  /** Null until a node has read it. */
  kind: PackageInfo['kind'] | null;
  sha256: string;
  /** Why it must not be used: a node refused it, or its file has other bytes than what is stored. */
  problem: string | null;
}

export type Catalog = readonly CatalogEntry[];

export type ObservedPackage = Pick<
  PackageInfo,
  'packageName' | 'packageVersion' | 'sha256' | 'current' | 'status' | 'kind'
> &
  Partial<Pick<PackageInfo, 'manifest'>>;

export interface ObservedProcess extends ProcessInfo {
  /** Since when this manager has seen it Started and ready without a break; null while it is not. */
  healthySinceMs: number | null;
}

/** What was seen last of a node. An unreachable node keeps what it showed before. */
export interface ObservedNode {
  name: string;
  state: NodeReachability;
  /** Null: never. */
  lastSeenMs: number | null;
  problem: string | null;
  packages: readonly ObservedPackage[];
  processes: readonly ObservedProcess[];
  /** What it is short of: it gets no more copies. */
  pressure: readonly NodePressure[];
  /** It came and went several times lately: it gets no more copies for a while. */
  flapping: boolean;
}

/** All that makes one copy differ from another but its slot; copies of one revision are interchangeable. */
export interface Revision {
  /** The instance as the settings had it, with the versions that were meant. */
  instance: InstanceSettings;
  packageVersion: string;
  publisherVersion: string | null;
  hostVersion: string | null;
  restart: string | null;
}

/** How far an instance may change from one revision to the next; made by `deployments/`. */
export interface Rollout {
  /** What copies beyond `limit` keep, and are started from; null: the first revision of this instance. */
  previous: Revision | null;
  /** How many slots may have the new revision now; null: all. */
  limit: number | null;
  /** Why nothing is replaced at present; null: go on. */
  paused: string | null;
}

/** An action that failed before, so that it is not tried again at once. */
export interface Failure {
  node: string;
  code: ErrorCode;
  message: string;
  attempts: number;
  retryAtMs: number;
}

export interface PlanInput {
  settings: ClusterSettings;
  catalog: Catalog;
  observed: readonly ObservedNode[];
  /** By action id. */
  failures: ReadonlyMap<string, Failure>;
  /** Nonces of asked-for restarts, by instance id. */
  restarts: Readonly<Record<string, string>>;
  /** What operators have said of nodes, by name. */
  maintenance: Readonly<Record<string, NodeMaintenance>>;
  /** By instance id; one that is not in it changes without being held up. */
  rollouts: Readonly<Record<string, Rollout>>;
  /** Packages that belong on every node though nothing may run from them: uploads. */
  everywhere?: readonly Pick<CatalogEntry, 'packageName' | 'packageVersion'>[];
  /** What jobs shall run now; left out, like a job that is not in it: not known yet, and not to be touched. */
  jobs?: JobDemands;
  /** Copies that may be moved now for the sake of evenness. */
  movesLeft: number;
  /** The manager that plans: it does not stop itself. Null: none does. */
  managerId: string | null;
  nowMs: number;
  /** ISO 8601, for deadlines that operators have given. */
  now: string;
  /** How long a node may be unreachable before its instances are replaced elsewhere. */
  deadAfterMs: number;
}

interface ActionBase {
  /** Names the action across plans: the same action planned again has the same id. */
  id: string;
  node: string;
  reason: string;
  /** Ids of actions of this plan that must have succeeded before. */
  needs: string[];
}

export type Action =
  | (ActionBase & {
      type: 'upload-package';
      packageName: string;
      packageVersion: string;
      makeCurrent: boolean;
      /** The digest of bytes that the node has already: only to be made current, or mended. */
      sha256?: string;
    })
  | (ActionBase & {
      type: 'stop';
      packageName: string;
      processId: string;
      settingsId: string;
    })
  | (ActionBase & {
      type: 'start';
      instanceId: string;
      slot: string;
      settingsId: string;
      packageName: string;
      request: StartProcessRequest;
      deadlineMs: number;
    })
  /** The manager that leads leaves that to another one, so that it can be replaced; `node` is its own. */
  | (ActionBase & { type: 'resign' });

export interface Plan {
  actions: Action[];
  /** What the status shows of each instance. */
  instances: MasterInstance[];
  /** What keeps a node from being as it should be, by its name. */
  nodeProblems: Record<string, string[]>;
  /** Ids of the starts that move a copy for the sake of evenness only: they are counted. */
  moves: readonly string[];
  /** Planning again is due after this time even if nothing is heard; null: nothing is pending. */
  dueInMs: number | null;
}
