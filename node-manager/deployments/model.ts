/**
 * What the manager remembers of deployments, in one document of the coordination store: whoever leads next goes on from it.
 * What is only measured — since when a deployment makes no progress — is kept by each leader for itself (`Watch`): a new one begins to
 * measure anew, which costs time and never a wrong decision.
 */
import type { DeploymentCanary, DeploymentInfo } from '#core';
import type { Revision } from '../planning/model.ts';

/** A revision with what it takes to go back to it. */
export interface Target {
  revisionId: string;
  revision: Revision;
  /** The instance as its author wrote it; null: it is implied, or its version comes from elsewhere. */
  entry: Readonly<Record<string, unknown>> | null;
}

export type DeploymentRecord = Omit<DeploymentInfo, 'progress'>;

/** A deployment that has not ended. At most one for each instance. */
export interface ActiveDeployment {
  record: DeploymentRecord;
  target: Target;
  /** What it goes on as when it is resumed. */
  onResume: 'rolling' | 'canary';
  /** While it is paused: how many slots keep the new revision. */
  heldAt: number;
  /** How it ends when it is back at what was before. */
  endsAs: 'rolled-back' | 'aborted';
}

/** What is known of one instance. */
export interface Track {
  /** The last revision that all copies ran in good health; null: none yet. */
  good: Target | null;
  /** Versions of the package that were good, oldest first: what a rollback goes back along. */
  versions: string[];
  /** Likewise of the host package. */
  hostVersions: string[];
  active: ActiveDeployment | null;
  /** A revision whose deployment has failed for good: it is not begun again by itself. */
  spent: string | null;
  /** The next deployment, if it is to this version, is a canary; asked for with an upload. */
  canary: { packageVersion: string; instances: number; promoteAfterMs: number | null } | null;
}

export interface DeploymentsState {
  /** Deployments ever begun, for their ids. */
  count: number;
  instances: Readonly<Record<string, Track>>;
  /** Newest first; the oldest are forgotten. */
  ended: readonly DeploymentRecord[];
}

export const NO_DEPLOYMENTS: DeploymentsState = { count: 0, instances: {}, ended: [] };

/** What one leader has measured of an active deployment. Monotonic milliseconds. */
export interface Watch {
  /** Identifies the phase that is measured; another one begins anew. */
  phase: string;
  /** Failures from before do not count. */
  beganMs: number;
  /** The most copies that were available so far, and since when. */
  best: number;
  bestSinceMs: number;
  /** Since when, counted from `bestSinceMs` at the earliest, some copy of the revision is not well; null: all are. */
  unwellSinceMs: number | null;
  /** Since when all canaries are available; null: they are not. */
  steadySinceMs: number | null;
}

export type Watches = Readonly<Record<string, Watch>>;

export type CanaryRequest = Pick<DeploymentCanary, 'instances' | 'promoteAfterMs'>;
