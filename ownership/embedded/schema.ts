/**
 * The tables of the embedded store, and how older ones become today's. Every step runs in the transaction that opens the file, so that
 * a start that is killed in the middle leaves the file as it was. Tables that others own (`meta`, `leases`) are not here.
 */
import type { DatabaseSync } from 'node:sqlite';

export const SCHEMA_VERSION = 3;

/** From version n to n + 1, by n. */
const steps: readonly string[] = [
  `CREATE TABLE sessions (
     id TEXT PRIMARY KEY, pool TEXT NOT NULL, process TEXT NOT NULL, node TEXT NOT NULL, address TEXT NOT NULL,
     owns_resources INTEGER NOT NULL, capacity REAL NOT NULL, ttl_ms INTEGER NOT NULL, draining INTEGER NOT NULL,
     ready INTEGER NOT NULL, expires_at_ms REAL NOT NULL
   ) WITHOUT ROWID;
   CREATE TABLE claims (
     key TEXT NOT NULL, pool TEXT NOT NULL, fence INTEGER NOT NULL, session TEXT, opened INTEGER NOT NULL,
     PRIMARY KEY (key, pool)
   ) WITHOUT ROWID;
   CREATE INDEX claims_by_pool ON claims (pool, key);
   CREATE TABLE documents (name TEXT PRIMARY KEY, content TEXT NOT NULL, etag TEXT NOT NULL) WITHOUT ROWID;`,

  // A session's keys are counted where they change, so that no start has to look at a million claims.
  `ALTER TABLE claims ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE claims ADD COLUMN alarm_at_ms REAL;
   CREATE INDEX claims_by_alarm ON claims (pool, alarm_at_ms, key) WHERE alarm_at_ms IS NOT NULL AND paused = 0;
   ALTER TABLE sessions ADD COLUMN keys INTEGER NOT NULL DEFAULT 0;
   WITH counted AS (SELECT session, count(*) AS keys FROM claims WHERE session IS NOT NULL GROUP BY session)
   UPDATE sessions SET keys = counted.keys FROM counted WHERE counted.session = sessions.id;`,

  // Below the first of every process.
  'ALTER TABLE sessions ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0',
];

/** Brings the tables to today's version. Returns the version that was found, 0 for an empty file. Call inside a transaction. */
export function migrate(database: DatabaseSync): number {
  const found = Number(database.prepare('PRAGMA user_version').get()!['user_version']);
  for (let version = found; version < SCHEMA_VERSION; version++) database.exec(steps[version]!);
  if (found < SCHEMA_VERSION) database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  return found;
}
