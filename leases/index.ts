/** Leases: time-limited exclusive rights under a name, each holding with a fence higher than all before it. */
export type { LeaseStore } from './store.ts';
/** The rule of leases, pure; adapters execute its decisions atomically. */
export { decideLease, type LeaseDecision, type LeaseRecord, type LeaseRequest } from './decision.ts';
/**
 * Bounds of names, holders (bytes), ttlMs, waitMs, and lists. Every `check…` throws HF_LEASE_INVALID outside of them, with
 * `details.argument`; adapters call them before they ask their store. `compareNames` is the order of lists.
 */
export {
  checkHoldArguments,
  checkLeaseArguments,
  checkListQuery,
  compareNames,
  endOfPrefix,
  LEASE_LIMITS,
  type HoldArguments,
  type LeaseArguments,
  type ListQuery,
} from './validation.ts';
/** `LeaseService.hold` and `LeaseService.watch` for any store, made of its other operations. */
export { createHold, type LeasePrimitives } from './hold.ts';
export { completeLeases, type LeaseAdapter } from './complete.ts';
export { createWatch, type WatchHint, type WatchPorts } from './watch.ts';
/** How much earlier (milliseconds) than the store a holder of a lease with this ttlMs must stop. */
export { leaseMarginMs } from './hold-machine.ts';
/** Leases for the processes of one machine, in a SQLite file of their own. */
export { openEmbeddedLeases, type EmbeddedLeasesOptions } from './embedded/embedded-leases.ts';
/** The same as a table in a database that the caller owns, inside the caller's transactions. */
export { createLeaseTable, type LeaseTable, type LeaseTablePorts } from './embedded/lease-table.ts';
/** Boot id and fence counter of an embedded store, and why fences never go back. */
export { adoptIncarnation, fenceEpoch, readBootId, REBOOT_MARGIN } from './embedded/incarnation.ts';
/** Leases in a table of PostgreSQL, by the server's clock. */
export { openPostgresLeases, type PostgresLeasesOptions } from './postgres/postgres-leases.ts';
export type { PostgresClient, PostgresPool } from './postgres/connection.ts';
/** Leases in etcd (3.4 or newer), in whole seconds. */
export { openEtcdLeases, type EtcdLeasesOptions } from './etcd/etcd-leases.ts';
/** Leases on one Redis master or an odd number of independent ones, by redlock. */
export { openRedisLeases, type RedisLeasesOptions } from './redis/redis-leases.ts';
