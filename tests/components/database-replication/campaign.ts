/**
 * A replication under random transactions, whose process is killed at random moments, whose PostgreSQL is killed and started again, and
 * whose owner meets an older one that does not know it is. At the end the tables are compared row by row; meanwhile a reader
 * looks for transactions that are there by half.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type pg from 'pg';
import { Dice } from '../../simulation/dice.ts';
import type { PostgresServer } from '../../support/postgres-server.ts';
import { until } from '../../support/wait.ts';
import type { StoredState } from '../../../components/database-replication/state.ts';
import { postgresTable, schemas, sqliteTable, tables, type Kind } from './dialects.ts';
import {
  connect,
  openFile,
  postgresRows,
  spawnReplicator,
  sqliteRows,
  waitFor,
  withoutPassword,
  type Given,
  type Replicator,
} from './harness.ts';
import { firstRows, transaction } from './workload.ts';

export interface CampaignOptions {
  readonly seed: number;
  readonly rounds: number;
  readonly from: Kind;
  readonly to: Kind;
  readonly server: PostgresServer;
  readonly directory: string;
}

export interface CampaignResult {
  kills: number;
  restarts: number;
  overlaps: number;
  transactions: number;
  rows: number;
  /** Kills in the middle of the first copy. */
  copiesCut: number;
  /** Looks at the target that saw a moment of the source. */
  looks: number;
}

/** One database, also after its server was killed. */
interface Side {
  run(statements: readonly string[]): Promise<void>;
  read(query: string): Promise<unknown[][]>;
  table(name: string): Promise<string[]>;
  endpoint: Given;
  close(): Promise<void>;
}

export async function runReplicationCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const { seed, rounds, from, to, server, directory } = options;
  const dice = new Dice(seed);
  const result: CampaignResult = {
    kills: 0,
    restarts: 0,
    overlaps: 0,
    transactions: 0,
    rows: 0,
    copiesCut: 0,
    looks: 0,
  };
  const source = await openSide(from, { role: 'source', server, directory, seed });
  const target = await openSide(to, { role: 'target', server, directory, seed });
  const { env } = withoutPassword(server.url);
  const settings: Given = {
    name: `c${seed}_${from}`,
    source: source.endpoint,
    target: target.endpoint,
    tables: [...tables],
    batchRows: 1 + dice.below(50),
    pollMs: 20,
  };
  const stateTable = to === 'sqlite' ? '_holdfast_replication' : 'holdfast_replication';
  let fence = 0n;
  const alive: Replicator[] = [];
  const spawn = async (): Promise<void> => {
    fence += 1n;
    alive.push(await spawnReplicator(settings, { directory, fence, env }));
  };
  const killOldest = async (): Promise<void> => {
    await alive.shift()?.kill();
    result.kills += 1;
  };

  async function load(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      await source.run(transaction(dice, from));
      result.transactions += 1;
      if (index % 5 === 0) await look();
    }
  }

  /** While it follows, the target is the source of one moment: no transfer is there by half. */
  async function look(): Promise<void> {
    const query = `SELECT (SELECT sum(amount) FROM ledger), (SELECT state FROM ${stateTable})`;
    const [row] = await target.read(query).catch(() => []); // not made yet, or the server is away
    const [sum, state] = row ?? [];
    if (typeof state !== 'string' || (JSON.parse(state) as StoredState).phase !== 'following') return;
    assert.equal(Number(sum), 0, 'a transaction is there by half');
    result.looks += 1;
  }

  /** What the target has stored; null: nothing yet, or the server is away. */
  async function state(): Promise<StoredState | null> {
    const query = `SELECT state FROM ${stateTable}`;
    const [row] = await target.read(query).catch(() => []);
    return typeof row?.[0] === 'string' ? (JSON.parse(row[0]) as StoredState) : null;
  }

  try {
    await source.run(firstRows(dice, from, 3_000).split('\n'));
    await spawn();
    await until('the copy has begun', state, 60_000);
    await killOldest();
    if ((await state())?.phase === 'copying') result.copiesCut += 1;
    await spawn();
    for (let round = 0; round < rounds; round++) {
      const patient = round % 2 === 1;
      await load(10);
      if (patient) await until('it follows', async () => (await state())?.phase === 'following', 60_000);
      await load(5 + dice.below(25));
      // Sometimes as soon as it begins, sometimes in the middle of a batch.
      await new Promise(resolve => setTimeout(resolve, dice.below(patient ? 30 : 900)));
      if (round === Math.floor(rounds / 2) || dice.chance(0.05)) {
        await server.restart();
        result.restarts += 1;
      } else if (alive.length < 2 && dice.chance(0.25)) {
        await spawn(); // the older one is still there
        result.overlaps += 1;
      } else {
        await killOldest();
        if (alive.length === 0) await spawn();
      }
    }
    await load(5);
    await source.run([
      `UPDATE ledger SET amount = amount + ${seed}, id = 99 WHERE id = 0`,
      `UPDATE ledger SET amount = amount - ${seed} WHERE id = 1`,
    ]);
    await until(
      `the target has the last transaction\n${alive.map(one => one.output()).join('\n')}`,
      async () => {
        const [row] = await target.read('SELECT count(*) FROM ledger WHERE id = 99').catch(() => []);
        return Number(row?.[0]) === 1;
      },
      60_000,
    );
    for (const table of tables) {
      const [expected, found] = [await source.table(table), await target.table(table)];
      assert.deepEqual(found, expected, `seed ${seed}, ${from} to ${to}: ${table} differs`);
      result.rows += expected.length;
    }
    // An older owner may have done the last of it; then the newest has still to begin.
    const { conflicts } = await waitFor(
      alive.at(-1)!,
      'the newest follows',
      status => status.phase === 'following',
    );
    assert.equal(conflicts, 0, 'conflicts');
    return result;
  } catch (error) {
    const said = alive.map(one => one.output()).join('\n---\n');
    throw new Error(`seed ${seed}, ${from} to ${to}, ${JSON.stringify(result)}: ${String(error)}\n${said}`, {
      cause: error,
    });
  } finally {
    for (const one of alive) await one.kill();
    await source.close();
    await target.close();
  }
}

async function openSide(
  kind: Kind,
  about: { role: 'source' | 'target'; server: PostgresServer; directory: string; seed: number },
): Promise<Side> {
  const { role, server, directory, seed } = about;
  if (kind === 'sqlite') {
    const file = `${role}-${seed}.sqlite`;
    const database = openFile(join(directory, file));
    database.exec(schemas.sqlite);
    return {
      endpoint: { kind: 'sqlite', file },
      async run(statements) {
        database.exec(`BEGIN IMMEDIATE; ${statements.join(';\n')}; COMMIT`);
      },
      read: async query => sqliteRows(database, query),
      table: async name => sqliteTable(database, name),
      close: async () => database.close(),
    };
  }
  const name = `${role}_${seed}`;
  const admin = await connect(server.url);
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.end();
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  let client: pg.Client | null = null;
  /** Again from the start when the server went away: statements change nothing when they have been committed already, or are as good as others. */
  async function trying<Value>(work: (client: pg.Client) => Promise<Value>): Promise<Value> {
    return until('PostgreSQL answers', async () => {
      client ??= await connect(url.href);
      try {
        return { value: await work(client) };
      } catch (error) {
        if (error instanceof Error && 'code' in error && /^(23|42|22)/.test(String(error.code))) throw error;
        client.end().catch(() => {});
        client = null;
        throw error;
      }
    }).then(answer => answer.value);
  }
  await trying(one => one.query(schemas.postgres));
  return {
    endpoint: { kind: 'postgres', url: withoutPassword(url.href).url, passwordEnv: 'REPLICATION_PASSWORD' },
    async run(statements) {
      await trying(one => one.query(`BEGIN; ${statements.join(';\n')}; COMMIT`));
    },
    read: query => trying(one => postgresRows(one, query)),
    table: tableName => trying(one => postgresTable(one, tableName)),
    async close() {
      await client?.end();
    },
  };
}
