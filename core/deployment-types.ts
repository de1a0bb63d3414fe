/** What the master API shows of deployments. Types only; the contract is docs/api.md. All times are ISO 8601 UTC. */

/**
 * `rolling`: copies are replaced. `canary`: some are, the others wait for a promotion. `paused`: nothing is replaced until an operator
 * resumes or aborts it. `rolling-back`: the copies return to what was before. The others are ends.
 */
export type DeploymentState =
  | 'rolling'
  | 'canary'
  | 'paused'
  | 'rolling-back'
  | 'succeeded'
  | 'rolled-back'
  | 'aborted'
  | 'failed'
  | 'superseded';

/** What a copy is made of, in short. */
export interface DeploymentRevision {
  revisionId: string;
  packageName: string;
  packageVersion: string;
  publisherVersion: string | null;
  hostVersion: string | null;
}

export interface DeploymentCanary {
  /** How many copies change before the promotion. */
  instances: number;
  /** Null: promoted by hand only. */
  promoteAfterMs: number | null;
  promotedAt: string | null;
  /** `timer`, or who did it. */
  promotedBy: string | null;
}

export interface DeploymentProgress {
  desired: number;
  /** Copies of the new revision. */
  updated: number;
  /** Those of them that have been healthy for `update.healthyAfterMs`. */
  available: number;
  /** Copies of other revisions. */
  outdated: number;
}

/** The change of one instance from one revision to another. */
export interface DeploymentInfo {
  id: string;
  instanceId: string;
  packageName: string;
  /** Null: the first revision of the instance. */
  from: DeploymentRevision | null;
  to: DeploymentRevision;
  /** What differs, in words. */
  changes: string[];
  /** Who changed it: `file`, `api`, `rollback`, `upload` for an instance that takes the newest version, … */
  by: string;
  strategy: 'rolling' | 'canary';
  canary: DeploymentCanary | null;
  state: DeploymentState;
  /** Why it is in this state, where that is not what was asked for. */
  reason: string | null;
  startedAt: string;
  /** When the state was entered. */
  changedAt: string;
  endedAt: string | null;
  /** How far it is; null once it has ended. */
  progress: DeploymentProgress | null;
}

/** The deployment of an instance that has not ended, in the status of the cluster. */
export interface MasterDeployment {
  id: string;
  state: DeploymentState;
  /** The version that it leads to. */
  packageVersion: string;
  reason: string | null;
  canary: DeploymentCanary | null;
  progress: DeploymentProgress | null;
}

/** What `POST /api/master/packages/{packageName}/rollback` did. */
export interface PackageRollback {
  packageName: string;
  /** Null: its instances ran several versions. */
  from: string | null;
  to: string;
  /** Ids of the instances that go back. */
  instances: string[];
  /** The ETag of the settings after it; null: they said so already. */
  settingsEtag: string | null;
}
