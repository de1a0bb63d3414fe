/**
 * Statements for many rows at once on a PostgreSQL target: pure. Every column is one array of texts, so a statement has few
 * parameters and one text for any number of rows. Casts name types without modifiers: a value that is too long is then refused, not cut.
 */
import { keyText, type Cell, type Key, type Row } from '../cells.ts';
import type { RowChange } from '../change.ts';
import { quote, quoteTable } from '../names.ts';
import { schemaAndName } from '../postgres-connection.ts';
import { keyOf, type TablePlan } from '../schema/plan.ts';

export interface Statement {
  readonly text: string;
  readonly values: readonly (readonly (Cell | undefined)[])[];
  /** How many rows it must touch when nothing is in its way. */
  readonly rows: number;
}

export interface Group {
  readonly type: RowChange['type'];
  readonly table: TablePlan;
  readonly changes: readonly RowChange[];
}

export const tableName = (table: string): string => quoteTable(schemaAndName(table).join('.'));

/**
 * Splits changes into windows in which no row occurs twice, neither as what it was nor as what it became: inside of one, changes may be
 * done in any order, as far as the primary key goes.
 */
export function windowsOf(changes: readonly RowChange[]): RowChange[][] {
  const windows: RowChange[][] = [];
  let window: RowChange[] = [];
  let seen = new Set<string>();
  for (const change of changes) {
    const keys = new Set([keyId(change.table, change.key)]);
    if ('row' in change) keys.add(keyId(change.table, keyOf(change.table, change.row)));
    if ([...keys].some(key => seen.has(key))) {
      windows.push(window);
      window = [];
      seen = new Set();
    }
    for (const key of keys) seen.add(key);
    window.push(change);
  }
  if (window.length > 0) windows.push(window);
  return windows;
}

const keyId = (table: TablePlan, key: Key): string => `${table.index} ${keyText(key)}`;

/** One group for each statement; those that free values of unique indexes come first. */
export function groupsOf(window: readonly RowChange[]): Group[] {
  const groups = new Map<string, { type: RowChange['type']; table: TablePlan; changes: RowChange[] }>();
  for (const change of window) {
    const columns = 'row' in change ? change.row.map(cell => (cell === undefined ? '-' : '+')).join('') : '';
    const id = `${change.table.index} ${change.type} ${columns}`;
    const group = groups.get(id);
    if (group) group.changes.push(change);
    else groups.set(id, { type: change.type, table: change.table, changes: [change] });
  }
  const order = ['delete', 'update', 'upsert', 'insert'];
  return [...groups.values()].sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type));
}

export function statementFor({ type, table, changes }: Group): Statement {
  const rows = changes.length;
  const [first] = changes;
  const sent = first && 'row' in first ? placesSent(first.row) : [];
  const target = tableName(table.target);
  const cells = sent.map(place => changes.map(change => ('row' in change ? change.row[place] : null)));
  const keys = table.key.map((_, part) => changes.map(change => change.key[part]));
  const named = (places: readonly number[]): string =>
    places.map(place => columnName(table, place)).join(', ');
  const cast = (place: number, part: number, prefix: string): string =>
    `${prefix}${part}::${table.columns[place]?.targetType}`;
  const match = table.key
    .map((place, part) => `t.${columnName(table, place)} = ${cast(place, part, 'given.k')}`)
    .join(' AND ');
  const keyNames = table.key.map((_, part) => `k${part}`);
  switch (type) {
    case 'delete':
      return {
        text: `DELETE FROM ${target} AS t USING ${unnest(keyNames, 1)} WHERE ${match}`,
        values: keys,
        rows,
      };
    case 'update': {
      // The key is set only where it changes: databases treat that as more than a change.
      const moved = changes.some(
        change => 'row' in change && table.key.some((place, part) => change.row[place] !== change.key[part]),
      );
      const set = sent.filter(place => moved || !table.key.includes(place));
      const values = [...keys, ...set.map(place => cells[sent.indexOf(place)] ?? [])];
      if (set.length === 0)
        return { text: `SELECT FROM ${target} AS t, ${unnest(keyNames, 1)} WHERE ${match}`, values, rows };
      const assignments = set
        .map((place, part) => `${columnName(table, place)} = ${cast(place, part, 'given.c')}`)
        .join(', ');
      const given = unnest([...keyNames, ...set.map((_, part) => `c${part}`)], 1);
      return { text: `UPDATE ${target} AS t SET ${assignments} FROM ${given} WHERE ${match}`, values, rows };
    }
    case 'insert':
    case 'upsert': {
      const given = unnest(
        sent.map((_, part) => `c${part}`),
        1,
      );
      const selected = sent.map((place, part) => cast(place, part, 'given.c')).join(', ');
      const others = sent.filter(place => !table.key.includes(place));
      const change = others
        .map(place => `${columnName(table, place)} = excluded.${columnName(table, place)}`)
        .join(', ');
      const conflict = ` ON CONFLICT (${named(table.key)}) DO ${change === '' ? 'NOTHING' : `UPDATE SET ${change}`}`;
      const text = `INSERT INTO ${target} (${named(sent)}) OVERRIDING SYSTEM VALUE SELECT ${selected} FROM ${given}${type === 'upsert' ? conflict : ''}`;
      return { text, values: cells, rows };
    }
  }
}

function unnest(names: readonly string[], first: number): string {
  const arrays = names.map((_, place) => `$${first + place}::text[]`).join(', ');
  return `unnest(${arrays}) AS given (${names.join(', ')})`;
}

/** The keys of rows that hold what one unique index would grant to `row`; null: the index grants NULLs to everybody. */
export function blockerQuery(
  table: TablePlan,
  index: readonly number[],
  row: Row,
  key: Key | null,
): { text: string; values: Cell[] } | null {
  const cells = index.map(place => row[place]);
  if (cells.includes(undefined) || cells.includes(null)) return null;
  const condition = (places: readonly number[], first: number): string =>
    places
      .map(
        (place, part) =>
          `${columnName(table, place)} = $${first + part}::${table.columns[place]?.targetType}`,
      )
      .join(' AND ');
  const notSelf = key === null ? '' : ` AND NOT (${condition(table.key, cells.length + 1)})`;
  const keyColumns = table.key.map(place => columnName(table, place)).join(', ');
  return {
    text: `SELECT ${keyColumns} FROM ${tableName(table.target)} WHERE ${condition(index, 1)}${notSelf}`,
    values: [...(cells as Cell[]), ...(key ?? [])],
  };
}

const placesSent = (row: Row): number[] => row.flatMap((cell, place) => (cell === undefined ? [] : [place]));
const columnName = (table: TablePlan, place: number): string => quote(table.columns[place]?.name ?? '');
