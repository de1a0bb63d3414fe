/**
 * The node manager: observe → plan → apply. It runs as the packed component `main.ts`; what is exported here serves tests
 * and benches, which run the production planning on made-up clusters.
 */
export { createNodeManager, type ManagerContext, type NodeManager } from './manager.ts';
export type { ManagerSettings } from './manager-settings.ts';
export { bestEvenness } from './evenness/bound.ts';
export { sharesOf } from './evenness/shares.ts';
export { clusterEvenness, createEvennessWatch } from './evenness/evenness.ts';
export { pielou, shannon } from './evenness/pielou.ts';
export {
  createPlacementNode,
  evennessWith,
  leave,
  obstacle,
  occupy,
  place,
  vacate,
  type PlacementNode,
  type PlacementOutcome,
  type PlacementRequest,
} from './planning/placement.ts';
export { createRanking } from './planning/ranking.ts';
export { explain } from './planning/explain.ts';
export { plan } from './planning/plan.ts';
export type {
  Action,
  Catalog,
  CatalogEntry,
  Failure,
  ObservedNode,
  ObservedPackage,
  ObservedProcess,
  Plan,
  PlanInput,
  Revision,
  Rollout,
} from './planning/model.ts';
export {
  desiredInstances,
  effectiveInstances,
  parseSettingsId,
  type DesiredInstance,
} from './planning/desired.ts';
export type { DesiredRevision } from './planning/revision.ts';
export { resolvePackage, versionsOf } from './planning/catalog.ts';
export { nextFailure } from './planning/failures.ts';
export { nextAttemptMs, step, type LeadershipEvent, type LeadershipState } from './leadership/machine.ts';
export { decideSettings, sha256Of, type FileFacts, type SettingsDecision } from './settings/decision.ts';
export { asPlainJson, setPackageVersion } from './settings/edit.ts';
export { packageProblems } from './settings/package-checks.ts';
export { createNotes, type Note, type Notes } from './cluster/notes.ts';
export { createLocks, type Locks } from './leadership/locks.ts';
export { addressWarnings, advertisedUri } from './leadership/address.ts';
export { progressOf, type InstanceProgress } from './planning/progress.ts';
export { applyCommand, askForCanaries, type DeploymentCommand } from './deployments/commands.ts';
export { NO_DEPLOYMENTS, type DeploymentsState, type Target, type Watches } from './deployments/model.ts';
export { restoredSettings } from './deployments/restore.ts';
export { rolloutsOf } from './deployments/rollouts.ts';
export { step as stepDeployments, type StepFacts, type StepOutcome } from './deployments/step.ts';
export { countMoves, movesLeft } from './maintenance/moves-budget.ts';
export { cordoned, drained } from './maintenance/nodes.ts';
export { steady, stepFlapping, type FlappingRule, type FlappingState } from './cluster/flapping.ts';
export { createOutlook } from './leadership/outlook.ts';
export { createLeadership, type Leadership } from './leadership/leadership.ts';
