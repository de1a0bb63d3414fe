/** A SQLite file, opened as source or target: never made here, never with SQLite's own waiting, which would block the event loop. */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { Cell } from './cells.ts';
import { refused } from './problem.ts';
import { quote } from './names.ts';
import type { ColumnShape, TableShape } from './schema/plan.ts';

/** @throws ReplicationProblem HF_REPLICATION_REFUSED when there is no such file */
export function openSqlite(file: string, which: 'source' | 'target'): DatabaseSync {
  if (!existsSync(file)) {
    throw refused(
      `the ${which}'s file ${file} does not exist; make it, with the tables that are to be copied`,
    );
  }
  const url = pathToFileURL(file);
  url.searchParams.set('mode', 'rw');
  // Foreign keys: rows arrive in the source's order, which has kept them.
  const database = new DatabaseSync(url, { timeout: 0, enableForeignKeyConstraints: false });
  try {
    // Fails here, with words, when the file is no database. FULL: the source lets go of what the target has, so it must be there for good.
    database.exec(
      'PRAGMA synchronous = FULL; PRAGMA cache_size = -4000; SELECT 1 FROM sqlite_schema LIMIT 1',
    );
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

const busyCodes = [5, 6]; // BUSY, LOCKED

export function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && busyCodes.includes(Number(error.errcode) % 256);
}

/** The tables that exist, of those asked for. */
export function sqliteShapes(database: DatabaseSync, tables: readonly string[]): Map<string, TableShape> {
  const found = new Map<string, TableShape>();
  for (const name of tables) {
    const shape = shapeOf(database, name);
    if (shape) found.set(name, shape);
  }
  return found;
}

function shapeOf(database: DatabaseSync, name: string): TableShape | null {
  const facts = database
    .prepare(`SELECT wr, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name = ?`)
    .get(name);
  if (!facts) return null;
  const rows = database
    .prepare('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid')
    .all(name) as {
    name: string;
    type: string;
    notnull: number;
    dflt_value: unknown;
    pk: number;
    hidden: number;
  }[];
  const keyRows = rows.filter(row => row.pk > 0).sort((a, b) => a.pk - b.pk);
  const [only] = keyRows;
  const isRowid = keyRows.length === 1 && only?.type.toUpperCase() === 'INTEGER' && facts['wr'] === 0;
  const columns = rows.map((row): ColumnShape => ({
    name: row.name,
    type: row.type.toUpperCase(),
    nullable: row.notnull === 0 && !(row.pk > 0 && (isRowid || facts['wr'] === 1)),
    hasDefault: row.dflt_value !== null,
    generated: row.hidden > 1,
  }));
  const indexes = database
    .prepare(`SELECT name FROM pragma_index_list(?) WHERE "unique" = 1 AND partial = 0 AND origin <> 'pk'`)
    .all(name) as { name: string }[];
  const uniques = indexes
    .map(index => database.prepare('SELECT name FROM pragma_index_info(?) ORDER BY seqno').all(index.name))
    .map(list => list.map(row => row['name'] as string | null))
    .filter((list): list is string[] => !list.includes(null));
  return { name, columns, key: keyRows.map(row => row.name), uniques, strict: facts['strict'] === 1 };
}

/** JavaScript's numbers become REAL, bigints INTEGER: as cells mean them. */
export const bind = (cells: readonly (Cell | undefined)[]): SQLInputValue[] => cells as SQLInputValue[];

export const list = (names: readonly string[]): string => names.map(quote).join(', ');
export const marks = (count: number): string => Array.from({ length: count }, () => '?').join(', ');
