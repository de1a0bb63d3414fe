/** How one table is copied: which columns, how their values change on the way, what identifies a row. */
import type { Cell, Key, Row } from '../cells.ts';

export interface ColumnShape {
  readonly name: string;
  /** PostgreSQL: the type's name without modifiers, as casts take it (`bigint`, `bpchar`). SQLite: as declared, in capitals. */
  readonly type: string;
  readonly nullable: boolean;
  readonly hasDefault: boolean;
  /** Computed by the database itself: neither read nor written. */
  readonly generated: boolean;
}

export interface TableShape {
  readonly name: string;
  readonly columns: readonly ColumnShape[];
  /** Empty: it has none. */
  readonly key: readonly string[];
  /** Columns of every other unique index that is whole (not partial, not on expressions). */
  readonly uniques: readonly (readonly string[])[];
  /** SQLite's STRICT. */
  readonly strict?: boolean;
}

export interface ColumnPlan {
  readonly name: string;
  readonly sourceType: string;
  readonly targetType: string;
  /** @throws UnfitValue when the target's type has no such value */
  readonly convert: (cell: Cell) => Cell;
  /** The other way. */
  readonly back: (cell: Cell) => Cell;
}

export interface TablePlan {
  /** Its place in the settings' list. */
  readonly index: number;
  readonly source: string;
  readonly target: string;
  readonly columns: readonly ColumnPlan[];
  /** Places of the key's columns in `columns`. */
  readonly key: readonly number[];
  /** The target's other unique indexes, as places in `columns`. */
  readonly uniques: readonly (readonly number[])[];
  /** The source's, by name: what a row that replaces others may replace. */
  readonly sourceUniques: readonly (readonly string[])[];
}

/** The value has no place in the target's column. Never holds the value itself, which may be private. */
export class UnfitValue extends Error {}

/** @throws TypeError when a key column was not sent, which databases do not do */
export function keyOf(table: TablePlan, row: Row): Key {
  return table.key.map(index => {
    const cell = row[index];
    if (cell === undefined) throw new TypeError(`a row of ${table.source} came without its key`);
    return cell;
  });
}

/** The row in the target's values. @throws UnfitValue */
export function convertRow(table: TablePlan, row: Row): Row {
  return row.map((cell, index) => (cell === undefined ? cell : convertCell(table, index, cell)));
}

/** @throws UnfitValue */
export function convertKey(table: TablePlan, key: Key): Key {
  return table.key.map((column, index) => convertCell(table, column, key[index] ?? null));
}

/** A key of the target in the source's values. */
export function sourceKey(table: TablePlan, key: Key): Key {
  return table.key.map((column, index) => {
    const cell = key[index] ?? null;
    return cell === null ? null : (table.columns[column]?.back(cell) ?? null);
  });
}

function convertCell(table: TablePlan, index: number, cell: Cell): Cell {
  const column = table.columns[index];
  if (!column) throw new TypeError(`a row of ${table.source} has more cells than columns`);
  if (cell === null) return null;
  try {
    return column.convert(cell);
  } catch (error) {
    if (error instanceof UnfitValue) throw new UnfitValue(`column ${column.name}: ${error.message}`);
    throw error;
  }
}
