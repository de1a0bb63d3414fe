/**
 * PostgreSQL as a target. Many changes go in one statement; when that touches other rows than it should, or fails, it is undone (a
 * savepoint) and every change is done by itself, to find the one and decide about it.
 */
import type pg from 'pg';
import { createPostgresFence } from '#fences';
import type { Key } from '../cells.ts';
import type { RowChange } from '../change.ts';
import { quote } from '../names.ts';
import {
  breakOff,
  connectPostgres,
  postgresShapes,
  schemaAndName,
  textRows,
  type PostgresEndpoint,
} from '../postgres-connection.ts';
import { codeOf, refused } from '../problem.ts';
import { keyOf } from '../schema/plan.ts';
import type { TablePair } from '../schema/schema-check.ts';
import type { StoredState } from '../state.ts';
import {
  blockerQuery,
  groupsOf,
  statementFor,
  tableName,
  windowsOf,
  type Group,
} from './postgres-statements.ts';
import { conflictsKept, type Finding, type Target } from './target.ts';

const stateTable = 'holdfast_replication';
const conflictTable = 'holdfast_replication_conflicts';
const uniqueViolation = '23505';
/** Data exceptions, and integrity other than uniqueness; of the rest, what a value can be to blame for. */
const unfitCode = /^(22|23)/;
/** How long a transaction of ours may stand still, and keep a new owner out. */
const idleMsMax = 20_000;
const savepoint = 'holdfast';

export async function openPostgresTarget(
  endpoint: PostgresEndpoint,
  options: { name: string; pairs: readonly TablePair[]; fence: bigint; holder: string },
): Promise<Target> {
  const { name, pairs, fence: fenceNumber, holder } = options;
  const client = await connectPostgres(endpoint, { name });
  const fence = createPostgresFence({ resource: `replication/${name}`, owner: holder, idleMsMax });

  async function rowsOf(group: Group): Promise<{ wanted: number; touched: number }> {
    const { text, values, rows } = statementFor(group);
    const { rowCount } = await client.query(text, values as unknown[]);
    return { wanted: rows, touched: rowCount ?? 0 };
  }

  /** A failed statement would make the rest of the transaction fail. */
  async function guarded<Value>(work: () => Promise<Value>): Promise<Value> {
    await client.query(`SAVEPOINT ${savepoint}`);
    try {
      const value = await work();
      await client.query(`RELEASE SAVEPOINT ${savepoint}`);
      return value;
    } catch (error) {
      if (codeOf(error) !== null) await client.query(`ROLLBACK TO SAVEPOINT ${savepoint}`);
      throw error;
    }
  }

  async function attempt(change: RowChange): Promise<Finding> {
    const { type, table } = change;
    try {
      const { touched } = await guarded(() => rowsOf({ type, table, changes: [change] }));
      return touched > 0 || type === 'upsert' ? { type: 'done' } : { type: 'missing' };
    } catch (error) {
      const code = codeOf(error) ?? '';
      const why = (error as Error).message;
      if (code === uniqueViolation) return { type: 'blocked', why };
      if (unfitCode.test(code)) return { type: 'unfit', why };
      throw error;
    }
  }

  return {
    kind: 'postgres',
    shapes: () =>
      postgresShapes(
        client,
        pairs.map(pair => pair.target),
      ),
    async takeOver() {
      await client.query(`DO $make$ BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended('holdfast replication', 0));
        CREATE TABLE IF NOT EXISTS ${stateTable} (name text PRIMARY KEY, state text NOT NULL);
        CREATE TABLE IF NOT EXISTS ${conflictTable} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
          at timestamptz NOT NULL DEFAULT now(), table_name text NOT NULL, key text NOT NULL, change text NOT NULL,
          finding text NOT NULL, act text NOT NULL, why text NOT NULL);
      END $make$`);
      await fence.prepare(client);
      await fence.install(client, fenceNumber);
      await switchTriggersOff(client, pairs);
    },
    async readState() {
      const [row] = await textRows(client, `SELECT state FROM ${stateTable} WHERE name = $1`, [name]);
      return row?.[0] ? (JSON.parse(row[0]) as StoredState) : null;
    },
    async isEmpty(table) {
      return (await textRows(client, `SELECT 1 FROM ${tableName(table)} LIMIT 1`)).length === 0;
    },
    async begin() {
      await client.query('BEGIN');
      await fence.check(client, fenceNumber);
    },
    async commit() {
      const { command } = await client.query('COMMIT');
      if (command !== 'COMMIT') throw new Error('a statement had failed, so the target rolled back');
    },
    async rollback() {
      try {
        await client.query('ROLLBACK');
      } catch {
        // The connection is gone, and the transaction with it.
      }
    },
    async saveState(state) {
      await client.query(
        `INSERT INTO ${stateTable} (name, state) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET state = excluded.state`,
        [name, JSON.stringify(state)],
      );
    },
    async forgetState() {
      await client.query(`DELETE FROM ${stateTable} WHERE name = $1`, [name]);
    },
    async insert(table, row) {
      const key = keyOf(table, row);
      const finding = await attempt({ type: 'insert', table, key, row });
      if (finding.type !== 'blocked') return finding;
      const query = blockerQuery(table, table.key, row, null);
      const here = query ? await textRows(client, query.text, query.values) : [];
      return here.length > 0 ? { type: 'exists' } : finding;
    },
    upsert: (table, row) => attempt({ type: 'upsert', table, key: keyOf(table, row), row }),
    update: (table, key, row) => attempt({ type: 'update', table, key, row }),
    remove: (table, key) => attempt({ type: 'delete', table, key }),
    async clear(tables) {
      // Not TRUNCATE, which takes other rights, locks out readers, and is refused where foreign keys point.
      for (const table of tables) await client.query(`DELETE FROM ${tableName(table)}`);
    },
    async blockers(table, key, row) {
      const found: Key[] = [];
      for (const index of [table.key, ...table.uniques]) {
        const query = blockerQuery(table, index, row, key);
        if (query) found.push(...(await textRows(client, query.text, query.values)));
      }
      return found;
    },
    async tryAll(changes, strict) {
      const expected = async (group: Group): Promise<boolean> => {
        const { wanted, touched } = await rowsOf(group);
        if (group.type === 'delete') return !strict || touched === wanted;
        return touched === wanted || group.type === 'upsert';
      };
      await client.query(`SAVEPOINT ${savepoint}`);
      try {
        for (const window of windowsOf(changes)) {
          for (const group of groupsOf(window)) {
            if (await expected(group)) continue;
            await client.query(`ROLLBACK TO SAVEPOINT ${savepoint}`);
            return false;
          }
        }
        await client.query(`RELEASE SAVEPOINT ${savepoint}`);
        return true;
      } catch (error) {
        if (!unfitCode.test(codeOf(error) ?? '')) throw error;
        await client.query(`ROLLBACK TO SAVEPOINT ${savepoint}`);
        return false;
      }
    },
    async recordConflict({ table, key, change, finding, act, why }) {
      await client.query(
        `INSERT INTO ${conflictTable} (name, table_name, key, change, finding, act, why) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
        [name, table, key, change, finding, act, why],
      );
      await client.query(
        `DELETE FROM ${conflictTable} WHERE id <= (SELECT max(id) FROM ${conflictTable}) - ${conflictsKept}`,
      );
    },
    async close() {
      breakOff(client);
    },
  };
}

/**
 * Rows arrive as the source's triggers and foreign keys have made them: those of the target must not do it once more.
 * @throws ReplicationProblem HF_REPLICATION_REFUSED when there are some and the role may not switch them off
 */
async function switchTriggersOff(client: pg.Client, pairs: readonly TablePair[]): Promise<void> {
  try {
    await client.query('SET session_replication_role = replica');
    return;
  } catch (error) {
    if (codeOf(error) !== '42501') throw error;
  }
  for (const { target } of pairs) {
    const [schema, table] = schemaAndName(target);
    const [row] = await textRows(
      client,
      `SELECT string_agg(DISTINCT coalesce(c.conname, t.tgname), ', ') FROM pg_trigger t LEFT JOIN pg_constraint c ON c.oid = t.tgconstraint
       WHERE t.tgrelid = to_regclass($1) AND t.tgenabled <> 'D'`,
      [`${quote(schema)}.${quote(table)}`],
    );
    if (!row?.[0]) continue;
    throw refused(
      `the target's table ${target} has triggers or foreign keys (${row[0]}), and the role may not switch them off for itself: run GRANT SET ON PARAMETER session_replication_role TO the role (PostgreSQL 15 and newer), or remove them`,
    );
  }
}
