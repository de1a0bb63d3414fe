/**
 * A short campaign in each direction. A longer one, for example:
 * `REPLICATION_ROUNDS=200 REPLICATION_SEED=7 npm test -- --spec tests/components/database-replication/campaign.test.ts`
 */
import assert from 'node:assert/strict';
import { findPostgres, startPostgres, type PostgresServer } from '../../support/postgres-server.ts';
import { skipLoudly } from '../../support/skip-loudly.ts';
import { runReplicationCampaign } from './campaign.ts';
import type { Kind } from './dialects.ts';
import { removeFolder, temporaryFolder } from './harness.ts';

const rounds = Number(process.env.REPLICATION_ROUNDS ?? 4);
/** Another each time, so that every run tries something new. */
const seed = Number(process.env.REPLICATION_SEED ?? Math.floor(Math.random() * 1e6));

describe('database-replication: killed at any time', function () {
  this.timeout(120_000 + rounds * 20_000);
  let server: PostgresServer;
  let directory: string;

  before(async function () {
    if (!findPostgres()) skipLoudly(this, 'PostgreSQL is not installed');
    server = await startPostgres(['wal_level=logical', 'max_slot_wal_keep_size=1GB']);
    directory = await temporaryFolder();
  });
  after(async () => {
    await server?.stop();
    if (directory) await removeFolder(directory);
  });

  const directions: [Kind, Kind][] = [
    ['postgres', 'sqlite'],
    ['sqlite', 'postgres'],
  ];
  for (const [from, to] of directions) {
    it(`loses no row and doubles none, from ${from} to ${to} (seed ${seed})`, async () => {
      const result = await runReplicationCampaign({ seed, rounds, from, to, server, directory });
      assert(result.rows > 1_000 && result.kills > 0 && result.restarts > 0, JSON.stringify(result));
      if (process.env.REPLICATION_ROUNDS) console.log(`${from} to ${to}`, result);
    });
  }
});
