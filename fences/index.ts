/**
 * Fences at the resource: what makes "at most one process commits" true, whatever clocks and pauses do. A new owner installs its fence
 * *before* it reads state; every write checks the fence in the same atomic step. So an older owner either has committed
 * before that, and the new one sees it, or not at all, however long it was paused between any two steps.
 *
 * All helpers throw HF_FENCED with `details.fence` (digits: what the resource holds, "0": none) for an older owner. A fence that the resource
 * holds already is refused as well when it is installed, unless `owner` says that it is the same owner who opens it again.
 */
/** A row in the SQLite file itself. */
export { createSqliteFence, type SqliteFence, type SqliteFenceOptions } from './sqlite-fence.ts';
/** A row in PostgreSQL, locked by every writing transaction. */
export {
  createPostgresFence,
  type FencedPostgresClient,
  type PostgresFence,
  type PostgresFenceOptions,
} from './postgres-fence.ts';
/** A key in Redis, checked by the script that runs the writes. */
export {
  createRedisFence,
  type FencedRedis,
  type RedisCommand,
  type RedisFence,
  type RedisFenceOptions,
} from './redis-fence.ts';
