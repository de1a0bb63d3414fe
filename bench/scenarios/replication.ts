/**
 * database-replication between a real PostgreSQL (fsync off) and SQLite (synced): the first copy of a table, changes that have gathered, and how long a
 * single change takes. Peers use the same two libraries and nothing else: a loop that selects pages and inserts them, a loop that inserts, and for a copy into
 * PostgreSQL its own COPY from a file. They store no position, check no fence and find no conflict. CPU is that of this process, which runs both.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type pg from 'pg';
import type { StoredState } from '../../components/database-replication/state.ts';
import {
  connect,
  openFile,
  postgresRows,
  sqliteRows,
  startReplication,
  withoutPassword,
} from '../../tests/components/database-replication/harness.ts';
import { startPostgres, type PostgresServer } from '../../tests/support/postgres-server.ts';
import { until } from '../../tests/support/wait.ts';
import type { Figure, Scenario } from '../measure.ts';

const rows = 30_000;
const changes = 10_000;
const pageRows = 1_000;
const singles = 100;
const columns = 'id, name, amount, at, data';
const made = `SELECT n, 'a name of some length ' || n, n / 7.0, now(), decode(md5(n::text), 'hex')`;

/** Written and read by the server, which may be another user. */
const copyFile = join(tmpdir(), `holdfast-bench-${process.pid}.copy`);

interface Sample {
  perSecond: number;
  cpuMicros: number;
}

export const replication: Scenario = {
  name: 'replication',
  async run(runs) {
    const server = await startPostgres(['wal_level=logical', 'max_slot_wal_keep_size=4GB']);
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
    Object.assign(process.env, withoutPassword(server.url).env);
    const client = await connect(server.url);
    try {
      await client.query(`CREATE TABLE big (id bigint PRIMARY KEY, name text, amount numeric, at timestamptz, data bytea);
        CREATE TABLE back (LIKE big INCLUDING ALL); CREATE TABLE bare (LIKE big INCLUDING ALL);
        INSERT INTO big ${made} FROM generate_series(1, ${rows}) n`);
      await client.query('VACUUM ANALYZE big');
      return await measure({ server, directory, client }, runs);
    } finally {
      await client.end();
      await server.stop();
      await rm(directory, { recursive: true, force: true });
      await rm(copyFile, { force: true });
    }
  },
};

async function measure(
  { server, directory, client }: { server: PostgresServer; directory: string; client: pg.Client },
  runs: number,
): Promise<Figure[]> {
  const samples: Record<string, Sample[]> = {};
  const delays: number[] = [];
  const note = (name: string, sample: Sample): void => void (samples[name] ??= []).push(sample);
  const file = join(directory, 'copied.sqlite');
  await client.query(`COPY big TO '${copyFile}'`);
  for (let run = 1; run <= runs; run++) {
    for (const name of ['copied', 'bare']) {
      const database = openFile(join(directory, `${name}.sqlite`));
      database.exec(
        `DROP TABLE IF EXISTS big; CREATE TABLE big (id INTEGER PRIMARY KEY, name TEXT, amount TEXT, at TEXT, data BLOB)`,
      );
      database.close();
    }
    const postgres = {
      kind: 'postgres',
      url: withoutPassword(server.url).url,
      passwordEnv: 'REPLICATION_PASSWORD',
    };
    const there = {
      name: `there${run}`,
      source: postgres,
      target: { kind: 'sqlite', file: 'copied.sqlite' },
      tables: ['big'],
    };
    const state = (database: DatabaseSync, name: string): StoredState | null => {
      const [row] = sqliteRows(database, `SELECT state FROM _holdfast_replication WHERE name = '${name}'`);
      return row ? (JSON.parse(row[0] as string) as StoredState) : null;
    };

    // PostgreSQL → SQLite: the first copy.
    const target = openFile(file);
    let running = await startReplication(there, { directory, fence: 1n });
    note(
      'copy to SQLite',
      await timed(rows, () => until('all are copied', async () => state(target, there.name)?.rows === rows)),
    );
    note('loop to SQLite', await timed(rows, () => selectAndInsert(client, join(directory, 'bare.sqlite'))));

    // Single changes, one after the other.
    await until('it follows', async () => state(target, there.name)?.phase === 'following');
    const change = target.prepare('SELECT name FROM big WHERE id = ?');
    for (let single = 1; single <= singles; single++) {
      const name = `changed ${run} ${single}`;
      await client.query('UPDATE big SET name = $1 WHERE id = $2', [name, single]);
      const committedMs = performance.now();
      while (change.get(single)?.['name'] !== name) await new Promise(resolve => setTimeout(resolve, 0.5));
      delays.push(performance.now() - committedMs);
    }
    await running.stop();

    // Changes that have gathered while nobody replicated: 500 transactions.
    for (let first = 1; first <= changes; first += 20) {
      await client.query(`UPDATE big SET amount = amount + 1 WHERE id BETWEEN ${first} AND ${first + 19}`);
    }
    const before = state(target, there.name)!.rows;
    running = await startReplication(there, { directory, fence: 2n });
    note(
      'changes to SQLite',
      await timed(changes, () =>
        until('all are applied', async () => state(target, there.name)!.rows === before + changes),
      ),
    );
    await running.stop();
    target.close();
    await (await startReplication({ ...there, retired: true }, { directory, fence: 3n })).stop();

    // SQLite → PostgreSQL: the first copy.
    await client.query('TRUNCATE back, bare; DROP TABLE IF EXISTS holdfast_replication');
    const back = {
      name: `back${run}`,
      source: there.target,
      target: postgres,
      tables: [{ source: 'big', target: 'public.back' }],
    };
    running = await startReplication(back, { directory, fence: 1n });
    const copied = async (): Promise<boolean> => {
      const [row] = await postgresRows(client, 'SELECT state FROM holdfast_replication').catch(() => []);
      return row !== undefined && (JSON.parse(row[0] as string) as StoredState).rows === rows;
    };
    note('copy to PostgreSQL', await timed(rows, () => until('all are back', copied)));
    await running.stop();
    note('COPY', await timed(rows, () => client.query(`COPY bare FROM '${copyFile}'`)));
    await client.query('TRUNCATE bare');
    note('loop to PostgreSQL', await timed(rows, () => readAndInsert(file, client)));
  }
  const rate = (name: string): number[] => (samples[name] ?? []).map(sample => sample.perSecond);
  const cpu = (name: string): number[] => (samples[name] ?? []).map(sample => sample.cpuMicros);
  const figure = (
    name: string,
    unit: Figure['unit'],
    own: number[],
    peer: Figure['peer'],
    aim = '–',
  ): Figure => ({ name, unit, samples: own, peer, aim });
  const loop = 'SELECT pages, INSERT';
  return [
    figure('first copy PostgreSQL → SQLite, rows', '1/s', rate('copy to SQLite'), {
      name: loop,
      samples: rate('loop to SQLite'),
    }),
    figure('the same, CPU for a row', 'µs', cpu('copy to SQLite'), {
      name: loop,
      samples: cpu('loop to SQLite'),
    }),
    figure('gathered changes PostgreSQL → SQLite, rows', '1/s', rate('changes to SQLite'), {
      name: loop,
      samples: rate('loop to SQLite'),
    }),
    figure('the same, CPU for a row', 'µs', cpu('changes to SQLite'), {
      name: loop,
      samples: cpu('loop to SQLite'),
    }),
    figure('committed in PostgreSQL → committed in SQLite', 'ms', delays, null),
    figure('first copy SQLite → PostgreSQL, rows', '1/s', rate('copy to PostgreSQL'), {
      name: 'SELECT, INSERT of 1,000',
      samples: rate('loop to PostgreSQL'),
    }),
    figure('the same, CPU for a row', 'µs', cpu('copy to PostgreSQL'), {
      name: 'SELECT, INSERT of 1,000',
      samples: cpu('loop to PostgreSQL'),
    }),
    figure('the same, rows', '1/s', rate('copy to PostgreSQL'), {
      name: 'COPY FROM a file of the server',
      samples: rate('COPY'),
    }),
  ];
}

async function timed(count: number, work: () => Promise<unknown>): Promise<Sample> {
  const began = { ms: performance.now(), cpu: process.cpuUsage() };
  await work();
  const { user, system } = process.cpuUsage(began.cpu);
  return { perSecond: count / ((performance.now() - began.ms) / 1_000), cpuMicros: (user + system) / count };
}

async function selectAndInsert(client: pg.Client, file: string): Promise<void> {
  const database = openFile(file);
  database.exec('PRAGMA synchronous = FULL');
  const insert = database.prepare(`INSERT INTO big (${columns}) VALUES (?, ?, ?, ?, ?)`);
  for (let after = 0, more = true; more;) {
    const page = await postgresRows(
      client,
      `SELECT ${columns} FROM big WHERE id > ${after} ORDER BY id LIMIT ${pageRows}`,
    );
    database.exec('BEGIN IMMEDIATE');
    for (const [id, name, amount, at, data] of page as [string, string, string, string, string][]) {
      insert.run(BigInt(id), name, amount, at, Buffer.from(data.slice(2), 'hex'));
    }
    database.exec('COMMIT');
    after = Number(page.at(-1)?.[0] ?? 0);
    more = page.length === pageRows;
  }
  database.close();
}

async function readAndInsert(file: string, client: pg.Client): Promise<void> {
  const database = openFile(file);
  const select = database.prepare(`SELECT ${columns} FROM big WHERE id > ? ORDER BY id LIMIT ${pageRows}`);
  select.setReturnArrays(true);
  const arrays = '$1::bigint[], $2::text[], $3::numeric[], $4::timestamptz[], $5::bytea[]';
  for (let after = 0, more = true; more;) {
    const page = select.all(after) as unknown as [number, string, string, string, Uint8Array][];
    const values = [0, 1, 2, 3].map(place => page.map(row => row[place]));
    const data = page.map(row => `\\x${Buffer.from(row[4]).toString('hex')}`);
    await client.query(`INSERT INTO bare (${columns}) SELECT * FROM unnest(${arrays})`, [...values, data]);
    after = page.at(-1)?.[0] ?? 0;
    more = page.length === pageRows;
  }
  database.close();
}
