/**
 * The SQL, in words that SQLite and PostgreSQL share. Pure. Names come from settings that the manifest's schema has checked; they are quoted besides.
 */
import type { ColumnType, Table } from './settings.ts';

export interface Statements {
  createTable: string;
  createMessagesTable: string;
  /** Parameters: the values of the columns, in their order. */
  put: string;
  /** Parameters: message id, time. Changes no row if the message was written before. */
  remember: string;
  /** Parameter: time. */
  forget: string;
}

const types: Record<ColumnType, { sqlite: string; postgres: string }> = {
  text: { sqlite: 'TEXT', postgres: 'text' },
  integer: { sqlite: 'INTEGER', postgres: 'bigint' },
  real: { sqlite: 'REAL', postgres: 'double precision' },
  boolean: { sqlite: 'INTEGER', postgres: 'boolean' },
  json: { sqlite: 'TEXT', postgres: 'jsonb' },
};

export function statementsFor(table: Table, dialect: 'sqlite' | 'postgres'): Statements {
  const { columns, key } = table;
  const name = quote(table.name);
  const messages = quote(table.messagesTable);
  const parameter = (index: number) => (dialect === 'sqlite' ? `?${index + 1}` : `$${index + 1}`);
  const declared = columns.map(
    column => `${quote(column.name)} ${types[column.type][dialect]}${column.required ? ' NOT NULL' : ''}`,
  );
  if (key.length > 0) declared.push(`PRIMARY KEY (${key.map(quote).join(', ')})`);
  const others = columns.filter(column => !key.includes(column.name)).map(column => quote(column.name));
  const updates = others.map(column => `${column} = excluded.${column}`).join(', ');
  const onConflict =
    key.length === 0
      ? ''
      : ` ON CONFLICT (${key.map(quote).join(', ')}) DO ${updates === '' ? 'NOTHING' : `UPDATE SET ${updates}`}`;
  return {
    createTable: `CREATE TABLE IF NOT EXISTS ${name} (${declared.join(', ')})`,
    createMessagesTable: `CREATE TABLE IF NOT EXISTS ${messages} (message_id TEXT PRIMARY KEY, written_ms BIGINT NOT NULL)`,
    put: `INSERT INTO ${name} (${columns.map(column => quote(column.name)).join(', ')}) VALUES (${columns.map((_, index) => parameter(index)).join(', ')})${onConflict}`,
    remember: `INSERT INTO ${messages} (message_id, written_ms) VALUES (${parameter(0)}, ${parameter(1)}) ON CONFLICT (message_id) DO NOTHING`,
    forget: `DELETE FROM ${messages} WHERE written_ms < ${parameter(0)}`,
  };
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
