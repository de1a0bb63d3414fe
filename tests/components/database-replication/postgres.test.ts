/** What only a real PostgreSQL shows: values there and back, rights, the slot, what stays secret. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type pg from 'pg';
import { findPostgres, startPostgres, type PostgresServer } from '../../support/postgres-server.ts';
import { skipLoudly } from '../../support/skip-loudly.ts';
import { until } from '../../support/wait.ts';
import {
  connect,
  openFile,
  postgresRows,
  removeFolder,
  sqliteRows,
  startReplication,
  temporaryFolder,
  waitFor,
  withoutPassword,
  type Given,
  type Running,
} from './harness.ts';

describe('database-replication: with PostgreSQL', function () {
  this.timeout(120_000);
  let server: PostgresServer;
  let client: pg.Client;
  let directory: string;
  let file: DatabaseSync;
  let running: Running[];
  let fence = 0n;

  before(async function () {
    if (!findPostgres()) skipLoudly(this, 'PostgreSQL is not installed');
    server = await startPostgres(['wal_level=logical', 'max_slot_wal_keep_size=1GB']);
    Object.assign(process.env, withoutPassword(server.url).env);
    client = await connect(server.url);
    directory = await temporaryFolder();
  });
  after(async () => {
    delete process.env.REPLICATION_PASSWORD;
    await client?.end();
    await server?.stop();
    if (directory) await removeFolder(directory);
  });
  beforeEach(() => {
    running = [];
  });
  afterEach(async () => {
    for (const one of running) await one.stop();
    if (file?.isOpen) file.close();
  });

  const database = (): Given => ({
    kind: 'postgres',
    url: withoutPassword(server.url).url,
    passwordEnv: 'REPLICATION_PASSWORD',
  });
  const sqlite = (name: string): Given => ({ kind: 'sqlite', file: `${name}.sqlite` });
  const open = (name: string): DatabaseSync => (file = openFile(join(directory, `${name}.sqlite`)));
  async function start(settings: Given): Promise<Running> {
    fence += 1n;
    const one = await startReplication({ pollMs: 10, ...settings }, { directory, fence });
    running.push(one);
    return one;
  }
  const follows = (one: Running) => waitFor(one, 'it follows', status => status.phase === 'following');
  const tells = (one: Running, pattern: RegExp): Promise<unknown> =>
    until(`it tells ${pattern}`, async () => {
      const { error } = await one.status();
      if (error && pattern.test(error.message)) return true;
      throw new Error(JSON.stringify(error));
    });
  const slots = async (name: string): Promise<string> =>
    (
      await postgresRows(
        client,
        `SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'holdfast\\_${name}\\_%'`,
      )
    ).join();

  it('brings values of every kind to a SQLite file and from there to another table without changing one', async () => {
    const columns = `id bigint PRIMARY KEY, i smallint, n numeric, f real, d double precision, b boolean, x bytea, at timestamptz, t timestamp,
      day date, s text, c char(5), v varchar(9), j json, jb jsonb, u uuid, a integer[], gap interval, m mood, big text`;
    await client.query(`CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE kinds (${columns}); CREATE TABLE copies (${columns});
      INSERT INTO kinds VALUES
      (9223372036854775807, -32768, 1.10, 0.1, 1e-320, true, '\\x00ff', '2026-11-28 11:22:33.123456+05', 'infinity', '0044-03-15 BC', E'ä\\n''"', 'ab', 'x', '{"b":1,  "a":2}', '{"b": 1}', gen_random_uuid(), '{1,NULL,3}', '1 mon -2 days 03:00:00', 'glad', repeat('long', 5000)),
      (-9223372036854775808, NULL, 'NaN', 'NaN', '-Infinity', false, '', '-infinity', '1-1-1 0:0:0.000001', 'infinity', '', '', '', 'null', '[]', NULL, '{}', '0', NULL, NULL),
      (0, 7, 123456789012345678901234567890.000, 3.4028235e38, 0.1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`);
    const middle = open('kinds');
    middle.exec(`CREATE TABLE kinds (id INTEGER PRIMARY KEY, i INTEGER, n TEXT, f REAL, d REAL, b BOOLEAN, x BLOB, at DATETIME, t TEXT, day TEXT,
      s TEXT, c TEXT, v TEXT, j TEXT, jb TEXT, u TEXT, a TEXT, gap TEXT, m TEXT, big TEXT)`);
    const there = await start({
      name: 'there',
      source: database(),
      target: sqlite('kinds'),
      tables: ['kinds'],
    });
    await follows(there);
    const back = {
      name: 'back',
      source: sqlite('kinds'),
      target: database(),
      tables: [{ source: 'kinds', target: 'public.copies' }],
    };
    await follows(await start(back));
    const differing = `SELECT count(*) FROM (SELECT kinds::text FROM kinds EXCEPT ALL SELECT copies::text FROM copies) AS d`;
    assert.deepEqual(await postgresRows(client, differing), [['0']]);
    const [[at, n] = []] = sqliteRows(middle, 'SELECT at, n FROM kinds WHERE i = -32768');
    assert.deepEqual([at, n], ['2026-11-28T06:22:33.123456Z', '1.10']);
    // Changes, too: a key that moves while a large value stays where it is.
    await client.query(
      `BEGIN; UPDATE kinds SET id = 5, i = 8 WHERE id > 5; UPDATE kinds SET n = n / 7 WHERE id = 0; DELETE FROM kinds WHERE id < 0; COMMIT`,
    );
    await until('the changes are there', async () => {
      const [[gone, left] = []] = await postgresRows(
        client,
        `SELECT (${differing}), (SELECT count(*) FROM copies)`,
      );
      return gone === '0' && left === '2';
    });
  });

  it('says what the role lacks and who has to type what, and begins when it is done', async () => {
    await client.query(`CREATE ROLE plain LOGIN PASSWORD '${server.password}'; CREATE TABLE owned (id integer PRIMARY KEY);
      CREATE TABLE keyless (id integer)`);
    open('rights').exec('CREATE TABLE owned (id INTEGER PRIMARY KEY)');
    const url = new URL(withoutPassword(server.url).url);
    url.username = 'plain';
    const settings = { name: 'rights', source: { ...database(), url: url.href }, target: sqlite('rights') };
    const keyless = await start({ ...settings, name: 'keyless', tables: ['keyless'] });
    await tells(keyless, /keyless has no primary key/);
    const one = await start({ ...settings, tables: ['owned'] });
    await tells(one, /ALTER ROLE "plain" REPLICATION/);
    await client.query('ALTER ROLE plain REPLICATION');
    await tells(one, /GRANT SELECT ON "public"\."owned" TO "plain"/);
    await client.query('GRANT SELECT ON owned TO plain');
    await tells(
      one,
      /run this as the owner .*CREATE PUBLICATION "holdfast_rights" FOR TABLE "public"\."owned"/,
    );
    await client.query('CREATE PUBLICATION holdfast_rights FOR TABLE owned');
    await follows(one);
    const everything = JSON.stringify([one.logs, await one.status(), one.health()]);
    assert(!everything.includes(server.password), 'the password is told to nobody');
  });

  it('keeps its slot over a restart, notices when it is gone, and copies again in a new generation', async () => {
    await client.query('CREATE TABLE things (id integer PRIMARY KEY); INSERT INTO things VALUES (1)');
    const target = open('slot');
    target.exec('CREATE TABLE things (id INTEGER PRIMARY KEY)');
    const settings = { name: 'slot', source: database(), target: sqlite('slot'), tables: ['things'] };
    const rows = () => sqliteRows(target, 'SELECT id FROM things ORDER BY id').join();
    await follows(await start(settings));
    const slot = await slots('slot');
    await running.pop()!.stop();
    await client.query('INSERT INTO things VALUES (2)');
    const second = await start(settings);
    await until('the row is there', async () => rows() === '1,2');
    assert.equal(await slots('slot'), slot);
    assert.deepEqual((await second.status()).warnings, []);
    await second.stop();
    await until(
      'nobody reads the slot',
      async () =>
        (
          await postgresRows(client, `SELECT active FROM pg_replication_slots WHERE slot_name = '${slot}'`)
        ).join() === 'f',
    );
    await client.query(`SELECT pg_drop_replication_slot('${slot}')`);
    await client.query('DELETE FROM things WHERE id = 1');
    await tells(await start(settings), /slot holdfast_slot_\d+ is gone, .* raise `generation`/);
    await running.pop()!.stop();
    const again = await start({ ...settings, generation: 2 });
    await follows(again);
    assert.equal(rows(), '2');
    await client.query('TRUNCATE things; INSERT INTO things VALUES (9)');
    await until('the table was emptied', async () => rows() === '9');
    // A target that was set back would lose what the source has forgotten.
    await until('the slot was told', async () => {
      const state = sqliteRows(target, 'SELECT state FROM _holdfast_replication').join();
      const { position } = JSON.parse(state) as { position: string };
      const [[done] = []] = await postgresRows(
        client,
        `SELECT confirmed_flush_lsn >= '${position}' FROM pg_replication_slots WHERE slot_name LIKE 'holdfast\\_slot\\_%'`,
      );
      return done === 't';
    });
    await running.pop()!.stop();
    target.exec(`UPDATE _holdfast_replication SET state = json_set(state, '$.position', '0/1')`);
    await tells(await start({ ...settings, generation: 2 }), /it was set back/);
    await running.pop()!.stop();
    const retired = await start({ ...settings, generation: 2, retired: true });
    await waitFor(retired, 'it has retired', status => status.phase === 'retired');
    assert.equal(await slots('slot'), '');
    assert.deepEqual(
      await postgresRows(client, `SELECT 1 FROM pg_publication WHERE pubname = 'holdfast_slot'`),
      [],
    );
  });

  it('decides about rows of a PostgreSQL target one by one when a batch does not fit', async () => {
    await client.query(
      `CREATE TABLE narrow (id integer PRIMARY KEY, code varchar(3) UNIQUE, parent integer REFERENCES narrow)`,
    );
    const source = open('narrow');
    source.exec('CREATE TABLE narrow (id INTEGER PRIMARY KEY, code TEXT, parent INTEGER)');
    const one = await start({
      name: 'narrow',
      source: sqlite('narrow'),
      target: database(),
      tables: ['narrow'],
      conflicts: 'skip',
    });
    await follows(one);
    await client.query(`INSERT INTO narrow VALUES (50, 'own')`);
    source.exec(
      `INSERT INTO narrow VALUES (1, 'a', 3), (2, 'much too long', NULL), (3, 'b', NULL), (4, 'own', NULL), (5, x'00', NULL), (6, 'c', NULL)`,
    );
    await until(
      'the rows that fit are there',
      async () => (await postgresRows(client, 'SELECT id FROM narrow ORDER BY id')).join() === '1,3,6,50',
    );
    const found = await postgresRows(
      client,
      `SELECT key, finding FROM holdfast_replication_conflicts WHERE name = 'narrow' ORDER BY id`,
    );
    assert.equal(found.join(' '), '[{"i":"2"}],unfit [{"i":"4"}],blocked [{"i":"5"}],unfit');
  });

  it('stops at whatever it is doing', async () => {
    await client.query(
      'CREATE TABLE hasty (id integer PRIMARY KEY); INSERT INTO hasty SELECT generate_series(1, 900)',
    );
    open('hasty').exec('CREATE TABLE hasty (id INTEGER PRIMARY KEY)');
    const settings = { name: 'hasty', source: database(), target: sqlite('hasty'), tables: ['hasty'] };
    for (let attempt = 0; attempt < 12; attempt++) {
      // The last ones are being retired.
      const one = await start({ ...settings, retired: attempt > 8 });
      await new Promise(resolve => setTimeout(resolve, attempt * 12));
      await running.pop()!.stop();
      assert.equal((await one.status()).role, 'standby');
    }
  });

  it('applies a large transaction in one step', async () => {
    await client.query('CREATE TABLE many (id integer PRIMARY KEY, v text)');
    const target = open('many');
    target.exec('CREATE TABLE many (id INTEGER PRIMARY KEY, v TEXT)');
    await follows(
      await start({ name: 'many', source: database(), target: sqlite('many'), tables: ['many'] }),
    );
    await client.query(`INSERT INTO many SELECT n, repeat('v', 500) FROM generate_series(1, 20000) n`);
    const seen = new Set<string>();
    await until('all are there', async () => {
      const count = sqliteRows(target, 'SELECT count(*) FROM many').join();
      seen.add(count);
      return count === '20000';
    });
    assert(
      [...seen].every(count => count === '0' || count === '20000'),
      [...seen].join(),
    );
  });
});
