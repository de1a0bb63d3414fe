/** SQLite as a target. The write lock is held from `begin` to `commit`, so that the fence that was checked first holds for all of it. */
import type { StatementSync } from 'node:sqlite';
import { createSqliteFence } from '#fences';
import type { System } from '#core';
import type { Cell, Key, Row } from '../cells.ts';
import type { RowChange } from '../change.ts';
import { quote, targetFenceTable } from '../names.ts';
import type { TablePlan } from '../schema/plan.ts';
import type { TablePair } from '../schema/schema-check.ts';
import { bind, isBusy, list, marks, openSqlite, sqliteShapes } from '../sqlite-connection.ts';
import type { StoredState } from '../state.ts';
import { conflictsKept, type Finding, type Target } from './target.ts';

const stateTable = '_holdfast_replication';
const conflictTable = '_holdfast_replication_conflicts';
const savepoint = 'holdfast';
const done: Finding = { type: 'done' };
const missing: Finding = { type: 'missing' };

/** Extended result codes: https://sqlite.org/rescode.html */
const uniqueCodes = [1555, 2067, 2579];
const unfitCodes = [275, 1299, 3091, 20, 18]; // CHECK, NOT NULL, datatype of STRICT, MISMATCH, TOOBIG

export function openSqliteTarget(
  file: string,
  options: { name: string; pairs: readonly TablePair[]; fence: bigint; holder: string; system: System },
): Target {
  const { name, pairs, fence: fenceNumber, holder, system } = options;
  const database = openSqlite(file, 'target');
  const fence = createSqliteFence(database, { table: targetFenceTable(name), owner: holder });
  const statements = new Map<string, StatementSync>();

  function run(text: string, cells: readonly (Cell | undefined)[]): number {
    let statement = statements.get(text);
    if (!statement) {
      if (statements.size === 500) statements.clear(); // updates have as many texts as there are sets of columns
      statement = database.prepare(text);
      statements.set(text, statement);
    }
    return Number(statement.run(...bind(cells)).changes);
  }

  /** Waits in the event loop, not in SQLite. */
  async function patiently<Value>(work: () => Value): Promise<Value> {
    for (let attempt = 1; ; attempt++) {
      try {
        return work();
      } catch (error) {
        if (!isBusy(error) || attempt === 200) throw error;
        await system.timers.sleep(5 + system.random.fraction() * 20);
      }
    }
  }

  function attempt(work: () => number): Finding {
    try {
      return work() > 0 ? done : missing;
    } catch (error) {
      const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) : 0;
      // A table that is declared ON CONFLICT ROLLBACK takes everything with it.
      if (!database.isTransaction) throw error;
      const why = (error as Error).message;
      if (uniqueCodes.includes(code)) return { type: 'blocked', why };
      if (unfitCodes.includes(code)) return { type: 'unfit', why };
      throw error;
    }
  }

  const where = (table: TablePlan): string =>
    names(table, table.key)
      .map(name => `${quote(name)} = ?`)
      .join(' AND ');

  /** Making a statement's text would cost more than running it. */
  const texts = new Map<string, string>();
  function textFor(type: 'insert' | 'upsert' | 'update', table: TablePlan, row: Row): string {
    const columns = row.includes(undefined) ? sent(row).join() : '*';
    const id = `${type} ${table.index} ${columns}`;
    let text = texts.get(id);
    if (text === undefined) {
      if (texts.size === 500) texts.clear();
      text = makeText(type, table, sent(row));
      texts.set(id, text);
    }
    return text;
  }

  function makeText(type: 'insert' | 'upsert' | 'update', table: TablePlan, places: number[]): string {
    const target = quote(table.target);
    if (type === 'update') {
      const change = places.map(place => `${column(table, place)} = ?`).join(', ');
      return `UPDATE ${target} SET ${change} WHERE ${where(table)}`;
    }
    const insert = `INSERT INTO ${target} (${list(names(table, places))}) VALUES (${marks(places.length)})`;
    if (type === 'insert') return insert;
    const others = places.filter(place => !table.key.includes(place));
    const change = others
      .map(place => `${column(table, place)} = excluded.${column(table, place)}`)
      .join(', ');
    const key = list(names(table, table.key));
    return `${insert} ON CONFLICT (${key}) DO ${change === '' ? 'NOTHING' : `UPDATE SET ${change}`}`;
  }

  const given = (row: Row): Row => (row.includes(undefined) ? row.filter(cell => cell !== undefined) : row);

  function insertRow(table: TablePlan, row: Row): Finding {
    const finding = attempt(() => run(textFor('insert', table, row), given(row)));
    if (finding.type !== 'blocked') return finding;
    const here = database
      .prepare(`SELECT 1 FROM ${quote(table.target)} WHERE ${where(table)}`)
      .get(...bind(pick(row, table.key)));
    return here ? { type: 'exists' } : finding;
  }

  function upsertRow(table: TablePlan, row: Row): Finding {
    const finding = attempt(() => run(textFor('upsert', table, row), given(row)));
    return finding.type === 'missing' ? done : finding; // DO NOTHING changes no row
  }

  const updateRow = (table: TablePlan, key: Key, row: Row): Finding =>
    attempt(() => run(textFor('update', table, row), [...given(row), ...key]));

  const removeRow = (table: TablePlan, key: Key): Finding =>
    attempt(() => run(`DELETE FROM ${quote(table.target)} WHERE ${where(table)}`, key));

  function isDone(change: RowChange, strict: boolean): boolean {
    const { type, table, key } = change;
    switch (type) {
      case 'insert':
        return insertRow(table, change.row) === done;
      case 'upsert':
        return upsertRow(table, change.row) === done;
      case 'update':
        return updateRow(table, key, change.row) === done;
      case 'delete': {
        const finding = removeRow(table, key);
        return finding === done || (finding === missing && !strict);
      }
    }
  }

  return {
    kind: 'sqlite',
    async shapes() {
      return sqliteShapes(
        database,
        pairs.map(pair => pair.target),
      );
    },
    async takeOver() {
      await patiently(() => database.exec('PRAGMA journal_mode = WAL'));
      await patiently(() =>
        fence.install(fenceNumber, () => {
          database.exec(`CREATE TABLE IF NOT EXISTS ${stateTable} (name TEXT PRIMARY KEY, state TEXT NOT NULL);
            CREATE TABLE IF NOT EXISTS ${conflictTable} (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, at TEXT NOT NULL,
              table_name TEXT NOT NULL, key TEXT NOT NULL, change TEXT NOT NULL, finding TEXT NOT NULL, act TEXT NOT NULL, why TEXT NOT NULL)`);
        }),
      );
    },
    async readState() {
      const row = database.prepare(`SELECT state FROM ${stateTable} WHERE name = ?`).get(name);
      return row ? (JSON.parse(String(row['state'])) as StoredState) : null;
    },
    async isEmpty(table) {
      return database.prepare(`SELECT 1 FROM ${quote(table)} LIMIT 1`).get() === undefined;
    },
    async begin() {
      await patiently(() => database.exec('BEGIN IMMEDIATE'));
      try {
        fence.check(fenceNumber);
      } catch (error) {
        database.exec('ROLLBACK');
        throw error;
      }
    },
    async commit() {
      // In WAL mode readers do not stand in the way of it.
      database.exec('COMMIT');
    },
    async rollback() {
      if (database.isOpen && database.isTransaction) database.exec('ROLLBACK');
    },
    async saveState(state) {
      run(`INSERT OR REPLACE INTO ${stateTable} (name, state) VALUES (?, ?)`, [name, JSON.stringify(state)]);
    },
    async forgetState() {
      run(`DELETE FROM ${stateTable} WHERE name = ?`, [name]);
    },
    insert: async (table, row) => insertRow(table, row),
    upsert: async (table, row) => upsertRow(table, row),
    update: async (table, key, row) => updateRow(table, key, row),
    remove: async (table, key) => removeRow(table, key),
    async clear(tables) {
      for (const table of tables) run(`DELETE FROM ${quote(table)}`, []);
    },
    async blockers(table, key, row) {
      const found: Key[] = [];
      const notSelf = key === null ? '' : ` AND NOT (${where(table)})`;
      for (const index of [table.key, ...table.uniques]) {
        const cells = pick(row, index);
        if (cells.includes(undefined) || cells.includes(null)) continue;
        const match = index.map(place => `${column(table, place)} = ?`).join(' AND ');
        const statement = database.prepare(
          `SELECT ${list(names(table, table.key))} FROM ${quote(table.target)} WHERE ${match}${notSelf}`,
        );
        statement.setReadBigInts(true);
        statement.setReturnArrays(true);
        found.push(...(statement.all(...bind(cells), ...bind(key ?? [])) as unknown as Key[]));
      }
      return found;
    },
    async tryAll(changes, strict) {
      database.exec(`SAVEPOINT ${savepoint}`);
      const undo = (): void => database.exec(`ROLLBACK TO ${savepoint}; RELEASE ${savepoint}`);
      for (const change of changes) {
        if (isDone(change, strict)) continue;
        undo();
        return false;
      }
      database.exec(`RELEASE ${savepoint}`);
      return true;
    },
    async recordConflict({ table, key, change, finding, act, why }) {
      const at = new Date(system.clock.wallMs()).toISOString();
      run(
        `INSERT INTO ${conflictTable} (name, at, table_name, key, change, finding, act, why) VALUES (${marks(8)})`,
        [name, at, table, key, change, finding, act, why],
      );
      run(
        `DELETE FROM ${conflictTable} WHERE id <= (SELECT max(id) FROM ${conflictTable}) - ${conflictsKept}`,
        [],
      );
    },
    async close() {
      if (database.isOpen) database.close();
    },
  };
}

const sent = (row: Row): number[] => row.flatMap((cell, place) => (cell === undefined ? [] : [place]));
const pick = (row: Row, places: readonly number[]): (Cell | undefined)[] => places.map(place => row[place]);
const column = (table: TablePlan, place: number): string => quote(table.columns[place]?.name ?? '');
const names = (table: TablePlan, places: readonly number[]): string[] =>
  places.map(place => table.columns[place]?.name ?? '');
