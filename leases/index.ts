/** Leases: time-limited exclusive rights under a name, each holding with a fence higher than all before it. */
export type { LeaseStore } from './store.ts';
/** The rule of leases, pure; adapters execute its decisions atomically. */
export { decideLease, type LeaseDecision, type LeaseRecord, type LeaseRequest } from './decision.ts';
/** Bounds of names, holders (bytes) and ttlMs; `checkLeaseArguments` throws HF_LEASE_INVALID outside of them. */
export { checkLeaseArguments, LEASE_LIMITS, type LeaseArguments } from './validation.ts';
/** Leases for the processes of one machine, in a SQLite file of their own. */
export { openEmbeddedLeases, type EmbeddedLeasesOptions } from './embedded/embedded-leases.ts';
/** The same as a table in a database that the caller owns, inside the caller's transactions. */
export { createLeaseTable, type LeaseTable, type LeaseTablePorts } from './embedded/lease-table.ts';
/** Boot id and fence counter of an embedded store, and why fences never go back. */
export { adoptIncarnation, fenceEpoch, readBootId, REBOOT_MARGIN } from './embedded/incarnation.ts';
