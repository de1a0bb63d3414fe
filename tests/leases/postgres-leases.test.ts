import assert from 'node:assert/strict';
import pg from 'pg';
import { createSystem, HoldfastError } from '#core';
import { openPostgresLeases, type LeaseStore, type PostgresLeasesOptions } from '#leases';
import { findPostgres, startPostgres, type PostgresServer } from '../support/postgres-server.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { leaseConformance, until } from './conformance.ts';
import { acquire, longMs } from './harness.ts';
import { createHintOnlySystem } from './hint-only-system.ts';
import { follow } from './watch-conformance.ts';

const system = createSystem();

describe('PostgreSQL leases', function () {
  this.timeout(60_000);
  let server: PostgresServer;
  let tables = 0;
  const opened: LeaseStore[] = [];
  const clients: pg.Client[] = [];
  const table = () => `leases_${tables}`;
  async function open(options: Partial<PostgresLeasesOptions> = {}): Promise<LeaseStore> {
    const own = options.pool ? {} : { connectionString: server.url };
    const store = await openPostgresLeases({
      table: table(),
      system,
      callTimeoutMs: 1_000,
      ...own,
      ...options,
    });
    opened.push(store);
    return store;
  }
  async function connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: server.url });
    clients.push(client);
    await client.connect();
    return client;
  }

  before(async function () {
    if (!findPostgres()) skipLoudly(this, 'PostgreSQL is not installed');
    server = await startPostgres();
  });
  after(() => server?.stop());
  beforeEach(() => {
    tables++;
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(store => store.close()));
    await Promise.all(clients.splice(0).map(client => client.end()));
  });

  describe('like all leases', () => {
    leaseConformance(
      async () => {
        const [leases, other] = [await open({ prefix: 'one/' }), await open({ prefix: 'one/' })];
        return {
          leases,
          other,
          open: withSystem => open({ prefix: 'one/', system: withSystem }),
          openElsewhere: () => open({ prefix: 'two/' }),
          server,
          restart: () => server.restart(),
          stop: async () => {},
        };
      },
      { server: true, prefixes: true },
    );
  });

  describe('watch', () => {
    it('is told by the server, without polling', async () => {
      const watch = follow(await open({ system: createHintOnlySystem() }), 'a');
      const other = await open();
      await watch.reaches(null);
      // The connection that listens may not stand yet: what came before it is looked up when it does.
      const fence = await acquire(other, 'a', 'one');
      await watch.reaches('one');
      await other.release('a', 'one', fence);
      await watch.reaches(null);
      watch.stop();
    });

    it('does without the server on a pool of one connection, which calls need', async () => {
      const pool = new pg.Pool({ connectionString: server.url, max: 1 });
      try {
        const store = await open({ pool });
        const watch = follow(store, 'a');
        await watch.reaches(null);
        await acquire(store, 'a', 'one');
        watch.stop();
        await store.close();
      } finally {
        await pool.end();
      }
    });
  });

  describe('under contention', () => {
    it('gives fences in the order of the holdings, with never two at a time', async () => {
      const stores = await Promise.all(Array.from({ length: 4 }, () => open()));
      // Every holder adds to what only the lease protects, and looks that nobody else has done so meanwhile.
      let holding: string | null = null;
      const fences: bigint[] = [];
      async function compete(store: LeaseStore, holder: string): Promise<void> {
        for (let won = 0; won < 15;) {
          const grant = await store.tryAcquire('a', holder, longMs);
          if (!grant.acquired) continue;
          assert.equal(holding, null);
          holding = holder;
          fences.push(grant.fence);
          await store.inspect('a');
          assert.equal(holding, holder);
          holding = null;
          assert(await store.release('a', holder, grant.fence));
          won++;
        }
      }
      await Promise.all(
        stores.flatMap((store, index) => [compete(store, `${index}a`), compete(store, `${index}b`)]),
      );
      assert.equal(fences.length, 120);
      for (let index = 1; index < fences.length; index++) assert(fences[index]! > fences[index - 1]!);
    });

    it('judges after the wait for the row, not before', async () => {
      const store = await open({ callTimeoutMs: 10_000 });
      const fence = await acquire(store, 'a', 'one', 200);
      const blocker = await connect();
      await blocker.query('BEGIN');
      await blocker.query(`SELECT FROM ${table()} WHERE name = 'a' FOR UPDATE`);
      const renewal = store.renew('a', 'one', fence, longMs);
      const looking = await connect();
      await until(async () => {
        const { rows } = await looking.query(
          `SELECT FROM ${table()} WHERE name = 'a' AND expires_at < clock_timestamp()
             AND EXISTS (SELECT FROM pg_locks WHERE NOT granted)`,
        );
        return rows.length === 1;
      });
      await blocker.query('COMMIT');
      assert(!(await renewal).acquired);
    });

    it('works on connections whose transactions are serializable', async () => {
      const pool = new pg.Pool({
        connectionString: server.url,
        options: '-c default_transaction_isolation=serializable',
      });
      try {
        const store = await open({ pool });
        async function compete(holder: string): Promise<void> {
          for (let round = 0; round < 20; round++) {
            const grant = await store.tryAcquire('a', holder, longMs);
            if (grant.acquired) assert(await store.release('a', holder, grant.fence));
          }
        }
        await Promise.all(Array.from({ length: 8 }, (_, index) => compete(`h${index}`)));
        await store.close();
      } finally {
        await pool.end();
      }
    });
  });

  describe('durability', () => {
    it('survives a kill right after the grant, on connections that do not wait for the disk', async () => {
      const pool = new pg.Pool({ connectionString: server.url, options: '-c synchronous_commit=off' });
      pool.on('error', () => {}); // the kill
      try {
        const store = await open({ pool });
        const fence = await acquire(store, 'a', 'one');
        await server.restart();
        const found = await (await open()).inspect('a');
        assert.equal(found?.fence, fence);
        await store.close();
      } finally {
        await pool.end();
      }
    });

    it('raises the fence above all before when the table was dropped and made anew', async () => {
      const before = await acquire(await open(), 'a', 'one');
      const client = await connect();
      await client.query(`DROP TABLE ${table()}; DROP SEQUENCE ${table()}_fence`);
      assert((await acquire(await open(), 'a', 'one')) > before);
    });

    it('raises the fence when the row of a name was swept', async () => {
      const store = await open();
      const before = await acquire(store, 'a', 'one');
      await store.release('a', 'one', before);
      await (await connect()).query(`DELETE FROM ${table()}`);
      assert(!(await store.renew('a', 'one', before, longMs)).acquired);
      assert(!(await store.release('a', 'one', before)));
      assert((await acquire(store, 'a', 'one')) > before);
    });
  });

  describe('opening', () => {
    it('makes the table once, however many open at once', async () => {
      for (let round = 0; round < 10; round++) {
        const name = `${table()}_${round}`;
        const stores = await Promise.all(Array.from({ length: 4 }, () => open({ table: name })));
        const grants = await Promise.all(
          stores.map((store, index) => store.tryAcquire('a', `h${index}`, longMs)),
        );
        assert.equal(grants.filter(grant => grant.acquired).length, 1);
      }
    });

    it('takes a table in a schema, with a name that is a reserved word, and finds it under any search_path', async () => {
      const client = await connect();
      await client.query('CREATE SCHEMA IF NOT EXISTS "order"');
      const store = await open({ table: 'order.user' });
      await acquire(store, `o'clock "$1" \\ %s`, 'one');
      const pool = new pg.Pool({ connectionString: server.url, options: '-c search_path=pg_catalog' });
      try {
        const other = await open({ pool, table: 'order.user' });
        assert.equal((await other.inspect(`o'clock "$1" \\ %s`))?.holder, 'one');
        await other.close();
      } finally {
        await pool.end();
      }
    });

    const good = 'name text COLLATE "C" PRIMARY KEY, holder text NOT NULL, fence bigint NOT NULL';
    const wrong: [what: string, columns: string, message: RegExp][] = [
      [
        'lacks a column',
        good,
        /has no column expires_at \(timestamp with time zone\)\. Drop it, or name another/,
      ],
      [
        'has another type',
        `${good}, expires_at timestamp NOT NULL`,
        /expires_at is timestamp without time zone and not/,
      ],
      [
        'has another order',
        'name text PRIMARY KEY, holder text NOT NULL, fence bigint NOT NULL, expires_at timestamptz NOT NULL',
        /column name has not the collation "C"/,
      ],
      ['may hold nulls', `${good}, expires_at timestamptz`, /expires_at may be null/],
      [
        'has another key',
        `${good.replace(' PRIMARY KEY', ' NOT NULL')}, expires_at timestamptz NOT NULL`,
        /primary key is not \(name\)/,
      ],
    ];
    for (const [what, columns, message] of wrong) {
      it(`refuses a table that ${what}, and says how to mend it`, async () => {
        await (await connect()).query(`CREATE TABLE ${table()} (${columns})`);
        await assert.rejects(open(), { code: 'HF_STATE_UNUSABLE', message });
      });
    }

    it('refuses an unlogged table, which a crash would empty', async () => {
      const client = await connect();
      await client.query(`CREATE UNLOGGED TABLE ${table()} (${good}, expires_at timestamptz NOT NULL)`);
      await assert.rejects(open(), { code: 'HF_STATE_UNUSABLE', message: /a crash would empty it/ });
    });

    it('says what a user lacks who may not make or use the table', async () => {
      await (await connect()).query('CREATE ROLE guest LOGIN');
      const connectionString = server.url.replace(/\/\/[^@]*@/, '//guest@');
      await assert.rejects(open({ connectionString }), {
        code: 'HF_STATE_UNUSABLE',
        message: /permission denied.*Grant CREATE on the schema/,
      });
      await open();
      await assert.rejects(open({ connectionString }), {
        code: 'HF_STATE_UNUSABLE',
        message: /SELECT, INSERT, UPDATE, DELETE is not allowed\. Grant it/,
      });
    });

    it('refuses unusable options, without telling what may be secret', async () => {
      const bad: [Partial<PostgresLeasesOptions>, string][] = [
        [{ table: 'a"; DROP TABLE b' }, 'table'],
        [{ table: 'a.b.c' }, 'table'],
        [{ table: 'A' }, 'table'],
        [{ prefix: 'line\nbreak' }, 'prefix'],
        [{ connectionString: 'postgres//tester:hush-hush@nowhere' }, 'connectionString'],
        [{ connectionString: '' }, 'connectionString'],
        [{ connectionString: 'mysql://tester:hush-hush@nowhere' }, 'connectionString'],
      ];
      for (const [options, argument] of bad) {
        await assert.rejects(open(options), (error: unknown) => {
          assert(error instanceof HoldfastError);
          assert.equal(error.code, 'HF_LEASE_INVALID');
          assert.equal(error.details['argument'], argument);
          assert(!everything(error).includes('hush-hush'));
          return true;
        });
      }
    });

    it('says that the server cannot be asked, without the password', async () => {
      const urls = [
        `postgres://tester:hush-hush@127.0.0.1:1/postgres`,
        server.url.replace(server.password, 'hush-hush').replace(/postgres$/, 'nowhere'),
      ];
      for (const connectionString of urls) {
        await assert.rejects(open({ connectionString }), (error: unknown) => {
          assert(error instanceof HoldfastError);
          assert.equal(error.code, 'HF_COORDINATION_UNAVAILABLE');
          assert(!everything(error).includes('hush-hush'));
          return true;
        });
      }
    });
  });

  it('uses a ready pool and leaves it open, with its listeners as they were', async () => {
    const pool = new pg.Pool({ connectionString: server.url });
    try {
      const store = await open({ pool });
      const watch = follow(store, 'a');
      await acquire(store, 'a', 'one');
      await watch.reaches('one');
      await store.close();
      await assert.rejects(store.inspect('a'), { code: 'HF_COORDINATION_UNAVAILABLE' });
      assert.equal((await pool.query('SELECT 1 AS one')).rows[0].one, 1);
      assert.equal(pool.listenerCount('error'), 0);
      assert.equal(pool.totalCount, pool.idleCount, 'a connection was not given back');
    } finally {
      await pool.end();
    }
  });

  it('closes while the server is frozen, twice if need be', async () => {
    const store = await open();
    await acquire(store, 'a', 'one');
    await server.pause();
    try {
      await Promise.all([store.close(), store.close()]);
      await assert.rejects(store.tryAcquire('a', 'one', longMs), { code: 'HF_COORDINATION_UNAVAILABLE' });
    } finally {
      server.resume();
    }
  });
});

/** All that a log could show of an error. */
function everything(error: HoldfastError): string {
  const texts: string[] = [];
  for (let one: unknown = error; one instanceof Error; one = one.cause) {
    texts.push(one.stack ?? '', JSON.stringify(one, Object.getOwnPropertyNames(one)));
  }
  return texts.join('\n');
}
