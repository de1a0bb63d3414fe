/** Rows of a table of the source, as text. */
import type pg from 'pg';
import type { Key, Row } from '../cells.ts';
import { quote, quoteTable } from '../names.ts';
import { schemaAndName, textRows } from '../postgres-connection.ts';
import type { TablePlan } from '../schema/plan.ts';

export async function readRows(
  client: pg.Client,
  table: TablePlan,
  options: { key: Key | null; comparison: '>' | '='; rowsMax: number },
): Promise<readonly Row[]> {
  const { key, comparison, rowsMax } = options;
  const columns = table.columns.map(column => quote(column.name)).join(', ');
  const names = table.key.map(index => quote(table.columns[index]?.name ?? ''));
  const values = table.key.map((index, place) => `$${place + 1}::${table.columns[index]?.sourceType}`);
  const condition = key === null ? '' : `WHERE (${names.join(', ')}) ${comparison} (${values.join(', ')})`;
  const from = quoteTable(schemaAndName(table.source).join('.'));
  return textRows(
    client,
    `SELECT ${columns} FROM ${from} ${condition} ORDER BY ${names.join(', ')} LIMIT ${rowsMax}`,
    [...(key ?? [])],
  );
}
