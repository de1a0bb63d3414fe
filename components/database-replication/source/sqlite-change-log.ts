/**
 * The change log of a SQLite source, as SQL: pure. Triggers write into it which rows were touched, by key, and what the first touch was; what a row
 * became is read from the table itself. So a log entry is small however large the row is, a row that changes often is
 * copied once, and an entry too many does no harm: REPLACE deletes rows without any trigger, so every row that an insert
 * might replace counts as touched beforehand.
 */
import { changeTable, logTable, quote, triggerPrefix } from '../names.ts';
import type { TablePlan } from '../schema/plan.ts';

/** `replace`: was there, and may be gone. */
export type Touch = 'insert' | 'update' | 'delete' | 'replace';

/** Portable to old SQLite, because it runs in whatever the application has. */
const nowMs = `CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`;

export const keyColumns = (count: number): string[] =>
  Array.from({ length: count }, (_, place) => `k${place + 1}`);

/** Twice does no harm. AUTOINCREMENT: a number is never used again, also when all entries have been taken out. */
export function createLog(name: string, keyColumnsMax: number): string {
  // Key columns have no type, so that they keep every value as it is.
  return `CREATE TABLE IF NOT EXISTS ${quote(changeTable(name))} (seq INTEGER PRIMARY KEY AUTOINCREMENT, tbl TEXT NOT NULL,
      touch TEXT NOT NULL, at INTEGER NOT NULL, ${keyColumns(keyColumnsMax).join(', ')});
    CREATE INDEX IF NOT EXISTS ${quote(`${changeTable(name)}_by_table`)} ON ${quote(changeTable(name))} (tbl, seq);
    CREATE TABLE IF NOT EXISTS ${quote(logTable(name))} (id TEXT NOT NULL, key_columns INTEGER NOT NULL);`;
}

export function dropLog(name: string): string {
  return `DROP TABLE IF EXISTS ${quote(changeTable(name))}; DROP TABLE IF EXISTS ${quote(logTable(name))};`;
}

/** By name, so that what is there can be compared. */
export function triggersFor(name: string, table: TablePlan): Map<string, string> {
  const { source } = table;
  const key = table.key.map(index => table.columns[index]?.name ?? '');
  const columns = keyColumns(key.length).join(', ');
  const note = (touch: Touch, row: string, rest = ''): string => {
    const cells = key.map(column => `${row}.${quote(column)}`).join(', ');
    const values = `${literal(source)}, '${touch}', ${nowMs}, ${cells}`;
    return `INSERT INTO ${quote(changeTable(name))} (tbl, touch, at, ${columns}) SELECT ${values}${rest};`;
  };
  const match = (one: string, other: string, names: readonly string[]): string =>
    names.map(column => `${one}.${quote(column)} = ${other}.${quote(column)}`).join(' AND ');
  const replaced = (indexes: readonly (readonly string[])[]): string =>
    indexes.map(names => `(${match('was', 'NEW', names)})`).join(' OR ');
  const otherKey = `NOT (${key.map(column => `NEW.${quote(column)} IS OLD.${quote(column)}`).join(' AND ')})`;
  const notOld = `NOT (${key.map(column => `was.${quote(column)} IS OLD.${quote(column)}`).join(' AND ')})`;
  const from = ` FROM ${quote(source)} AS was WHERE `;

  const triggers = new Map<string, string>();
  const add = (event: string, when: string, body: string): void => {
    const trigger = `${triggerPrefix(name)}${source}_${event}`;
    triggers.set(trigger, `CREATE TRIGGER ${quote(trigger)} ${when} ON ${quote(source)} BEGIN ${body} END`);
  };
  const uniques = [key, ...table.sourceUniques];
  add('before_insert', 'BEFORE INSERT', note('replace', 'was', `${from}${replaced(uniques)}`));
  add('insert', 'AFTER INSERT', note('insert', 'NEW'));
  add(
    'before_update',
    'BEFORE UPDATE',
    note('replace', 'was', `${from}(${replaced(uniques)}) AND ${notOld}`),
  );
  add('update', 'AFTER UPDATE', note('update', 'OLD') + note('insert', 'NEW', ` WHERE ${otherKey}`));
  add('delete', 'AFTER DELETE', note('delete', 'OLD'));
  return triggers;
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/**
 * The touched rows of one table between two places, as they are now. Parameters: table, after, up to. Columns: the first touch, the key, the row.
 * @param gone rows that are not there any more, or those that are
 */
export function touchedRows(name: string, table: TablePlan, gone: boolean): string {
  const keys = keyColumns(table.key.length);
  const names = table.key.map(index => quote(table.columns[index]?.name ?? ''));
  const match = names.map((column, place) => `t.${column} = c.${keys[place]}`).join(' AND ');
  const cells = gone ? [] : table.columns.map(column => `t.${quote(column.name)}`);
  // SQLite takes `touch` from the row that has the smallest seq.
  return `WITH c AS (SELECT touch, min(seq) AS first, ${keys.join(', ')} FROM ${quote(changeTable(name))}
      WHERE tbl = ? AND seq > ? AND seq <= ? GROUP BY ${keys.join(', ')})
    SELECT ${['c.touch', ...keys.map(key => `c.${key}`), ...cells].join(', ')} FROM c
    ${gone ? 'LEFT JOIN' : 'JOIN'} ${quote(table.source)} AS t ON ${match} ${gone ? `WHERE t.${names[0]} IS NULL` : ''}`;
}
