import assert from 'node:assert/strict';
import pg from 'pg';
import { createPostgresFence } from '#fences';
import { findPostgres, startPostgres, type PostgresServer } from '../support/postgres-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { fenceConformance } from './conformance.ts';

describe('PostgreSQL fences', function () {
  this.timeout(60_000);
  let server: PostgresServer;
  let client: pg.Client;
  before(async function () {
    if (!findPostgres()) skipLoudly(this, 'PostgreSQL is not installed');
    server = await startPostgres();
    client = new pg.Client({ connectionString: server.url });
    await client.connect();
  });
  after(async () => {
    await client?.end();
    await server?.stop();
  });
  afterEach(() => client.query('DROP TABLE IF EXISTS list, holdfast_fences, entry'));

  fenceConformance('postgres', () => server.url);

  describe('in a transaction of the caller', () => {
    const fence = createPostgresFence({ resource: 'accounts' });
    beforeEach(async () => {
      await fence.prepare(client);
      await client.query('CREATE TABLE entry (id int)');
      await fence.install(client, 1n);
    });
    afterEach(() => client.query('ROLLBACK'));
    const count = async () => Number((await client.query('SELECT count(*) FROM entry')).rows[0].count);

    it('checks, and holds the fence until the end', async () => {
      const other = new pg.Client({ connectionString: server.url });
      await other.connect();
      try {
        await client.query('BEGIN');
        await fence.check(client, 1n);
        let installed = false;
        const installing = fence.install(other, 2n).then(() => {
          installed = true;
        });
        await client.query('INSERT INTO entry VALUES (1)');
        assert.equal(installed, false);
        await client.query('COMMIT');
        await installing;
        await client.query('BEGIN');
        await assert.rejects(fence.check(client, 1n), { code: 'HF_FENCED', details: { fence: '2' } });
      } finally {
        await other.end();
      }
    });

    it('does not take it for its own', async () => {
      await client.query('BEGIN');
      await assert.rejects(
        fence.write(client, 1n, async () => {}),
        /inside a transaction already/,
      );
    });

    it('rolls back what the work did when it throws, or when it hides that a statement failed', async () => {
      const insert = () => client.query('INSERT INTO entry VALUES (1)');
      const failing = async () => {
        await insert();
        throw new Error('no');
      };
      await assert.rejects(fence.write(client, 1n, failing), { message: 'no' });
      const hiding = async () => {
        await insert();
        await client.query('SELECT 1 / 0').catch(() => {});
      };
      await assert.rejects(fence.write(client, 1n, hiding), /rolled back/);
      assert.equal(await count(), 0);
      await fence.write(client, 1n, insert);
      assert.equal(await count(), 1);
    });

    it('keeps resources apart', async () => {
      const other = createPostgresFence({ resource: `o'ther` });
      await other.install(client, 9n);
      await fence.write(client, 1n, async () => {});
    });
  });
});
