/** Ownership of resources: sessions, claims, fences, and the guard that makes a host keep to them. */
/** Placement of a key without owner among the sessions of its pool. Pure. */
export { chooseOwner, type Candidate } from './placement.ts';
/** Which hosts of a pool should hand how many keys to which others. Pure. */
export { planKeyMoves, type KeyMove, type RebalanceRule, type Shareholder } from './rebalance.ts';
/** The embedded store's server, as a function; `ensureCoordinator` runs it as a process of its own. */
export { startCoordinator, type Coordinator, type CoordinatorOptions } from './embedded/coordinator.ts';
/** Finds or starts the coordinator of a state root. Errors: HF_STATE_UNUSABLE, HF_COORDINATION_UNAVAILABLE. */
export { ensureCoordinator } from './embedded/ensure.ts';
/** Ends a coordinator that nobody uses any more. Never rejects. */
export { endCoordinator } from './embedded/end.ts';
/** Where the coordinator of a state root listens, whether it runs or not. */
export { coordinationAddress } from './embedded/state-folder.ts';
/** Leases, directory and documents of the cluster's store, whatever its kind, reconnecting. Errors: HF_COORDINATION_UNAVAILABLE. */
export { connectCoordination, type ConnectOptions } from './connect.ts';
/** Asks the servers of a Redis address whether they are fit to hold who owns what. Never rejects. */
export { checkCoordinationStore, type StoreCheck } from './store-check.ts';
/** Makes a host serve a key only while it owns it: session, deadline, opening, draining. */
export { createOwnershipGuard } from './guard/guard.ts';
export type { GuardMetrics, OwnershipGuard, OwnershipGuardOptions } from './guard/contract.ts';
/** Canonical form of a request target, a path, a settings text, a key, a header's bytes. All but the last throw HF_KEY_INVALID. */
export {
  canonicalKeyOfText,
  canonicalPath,
  canonicalPathOfText,
  canonicalTarget,
  encodeSegment,
  type CanonicalTarget,
} from './owners/canonical-path.ts';
/** For who sends requests to owners: what is known of them, finding them, connections, waiting, and when to try again. */
export { createOwners, type Owners, type OwnersDeps } from './owners/owners.ts';
/** `notFound` makes the error to tell: HF_NO_OWNER, HF_KEY_PAUSED, HF_COORDINATION_UNAVAILABLE. */
export {
  createOwnerSearch,
  notFound,
  type Finding,
  type OwnerSearch,
  type Target,
} from './owners/owner-search.ts';
export { createUpstreams, type Upstream, type Upstreams } from './owners/upstreams.ts';
/** Sends a streaming body with back-pressure. */
export { sendBody } from './owners/send-body.ts';
export { createWaitingRoom, type Place, type WaitingRoom } from './owners/waiting-room.ts';
/** When a request may be sent again. Pure. */
export { decide, failureOf, isIdempotent, type Decision, type Failure } from './owners/retry-rule.ts';
