/** Ownership of resources: sessions, claims, fences, and the guard that makes a host keep to them. */
/** Authorises a router's requests to a host (HMAC under the cluster secret); `verifyChannelKey` compares in constant time. */
export { channelKey, verifyChannelKey } from './channel-key.ts';
/** Placement of a key without owner among the sessions of its pool. Pure. */
export { chooseOwner, type Candidate } from './placement.ts';
/** The embedded store's server, as a function; `ensureCoordinator` runs it as a process of its own. */
export { startCoordinator, type Coordinator, type CoordinatorOptions } from './embedded/coordinator.ts';
/** Finds or starts the coordinator of a state root. Errors: HF_STATE_UNUSABLE, HF_COORDINATION_UNAVAILABLE. */
export { ensureCoordinator } from './embedded/ensure.ts';
/** Ends a coordinator that nobody uses any more. Never rejects. */
export { endCoordinator } from './embedded/end.ts';
/** Where the coordinator of a state root listens, whether it runs or not. */
export { coordinationAddress } from './embedded/state-folder.ts';
/** Leases, directory and documents over the coordinator's socket, reconnecting. Errors: HF_COORDINATION_UNAVAILABLE. */
export { connectCoordination, type ConnectOptions } from './embedded/client.ts';
/** Makes a host serve a key only while it owns it: session, deadline, opening, draining. */
export { createOwnershipGuard } from './guard/guard.ts';
export type { GuardMetrics, OwnershipGuard, OwnershipGuardOptions } from './guard/contract.ts';
