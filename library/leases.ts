/** What `import … from 'holdfast/leases'` gives: leases for programs that use nothing else of Holdfast. */
export {
  completeLeases,
  leaseMarginMs,
  LEASE_LIMITS,
  openEmbeddedLeases,
  openEtcdLeases,
  openPostgresLeases,
  openRedisLeases,
  type EmbeddedLeasesOptions,
  type EtcdLeasesOptions,
  type LeaseAdapter,
  type LeaseStore,
  type PostgresClient,
  type PostgresLeasesOptions,
  type PostgresPool,
  type RedisLeasesOptions,
} from '#leases';
/** `createSystem()` makes the `system` that every store takes: clocks, timers, randomness. */
export {
  createSystem,
  HoldfastError,
  type Clock,
  type ErrorCode,
  type HoldOptions,
  type HoldOutcome,
  type LeaseGrant,
  type LeaseHolder,
  type LeaseService,
  type Random,
  type System,
  type Timers,
} from '#core';
