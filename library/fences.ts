/** What `import … from 'holdfast/fences'` gives: fenced writes for programs that use nothing else of Holdfast. */
export {
  createPostgresFence,
  createRedisFence,
  createSqliteFence,
  type FencedPostgresClient,
  type FencedRedis,
  type PostgresFence,
  type PostgresFenceOptions,
  type RedisCommand,
  type RedisFence,
  type RedisFenceOptions,
  type SqliteFence,
  type SqliteFenceOptions,
} from '#fences';
export { HoldfastError, type ErrorCode } from '#core';
