/** The tables of the campaign in both databases, values as their SQL writes them, and rows in one form to compare. */
import type { DatabaseSync } from 'node:sqlite';
import type pg from 'pg';
import { postgresRows, sqliteRows } from './harness.ts';

export type Kind = 'postgres' | 'sqlite';

export const ledgerRows = 8;

export const tables = ['items', 'pairs', 'ledger'] as const;

export const schemas: Record<Kind, string> = {
  postgres: `
    CREATE TABLE items (id bigint PRIMARY KEY, name text, code text UNIQUE, amount numeric, at timestamptz, data bytea, ok boolean, note text);
    ALTER TABLE items ALTER COLUMN note SET STORAGE EXTERNAL;
    CREATE TABLE pairs (a text, b integer, v double precision, j jsonb, u uuid, PRIMARY KEY (a, b));
    CREATE TABLE ledger (id integer PRIMARY KEY, amount bigint NOT NULL);`,
  sqlite: `
    CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, code TEXT UNIQUE, amount TEXT, at TEXT, data BLOB, ok INTEGER, note TEXT);
    CREATE TABLE pairs (a TEXT NOT NULL, b INTEGER NOT NULL, v REAL, j TEXT, u TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
    CREATE TABLE ledger (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL);`,
};

export const bytes: Record<Kind, (hex: string) => string> = {
  postgres: hex => `'\\x${hex}'`,
  sqlite: hex => `x'${hex}'`,
};

export const truth: Record<Kind, (value: boolean) => string> = {
  postgres: value => String(value),
  sqlite: value => (value ? '1' : '0'),
};

/** All rows of a table as texts, in one order. */
export async function postgresTable(client: pg.Client, table: string): Promise<string[]> {
  const columns: Record<string, string> = {
    items: `id, name, code, amount, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), encode(data, 'hex'), ok::int, note`,
    pairs: 'a, b, v, j, u',
    ledger: 'id, amount',
  };
  const rows = await postgresRows(client, `SELECT ${columns[table]} FROM ${table}`);
  return rows.map(row => JSON.stringify(row)).sort();
}

export function sqliteTable(database: DatabaseSync, table: string): string[] {
  const columns: Record<string, string> = {
    items: 'id, name, code, amount, at, lower(hex(data)), ok, note',
    pairs: 'a, b, v, j, u',
    ledger: 'id, amount',
  };
  // hex(NULL) is '', which the generator does not make.
  const rows = sqliteRows(database, `SELECT ${columns[table]} FROM ${table}`);
  return rows
    .map(row =>
      JSON.stringify(row.map(cell => (cell === null || cell === '' ? null : `${cell as string | bigint}`))),
    )
    .sort();
}
