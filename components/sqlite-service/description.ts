/** What a database holds: the answer to a GET without a query. */
import { RESERVED_PREFIX } from './authorizer.ts';
import type { Connection } from './connection.ts';

export interface Description {
  tables: { name: string; type: string; columns: { name: string; type: string }[] }[];
  sizeBytes: number;
}

const tablesMax = 1_000;

/** Runs inside a transaction. */
export function describe({ database }: Connection): Description {
  const tables = database
    .prepare(
      `SELECT name, type FROM main.sqlite_schema
       WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         AND lower(substr(name, 1, ?)) <> ? ORDER BY name LIMIT ?`,
    )
    .all(RESERVED_PREFIX.length, RESERVED_PREFIX, tablesMax);
  const columns = database.prepare('SELECT name, type FROM pragma_table_info(?)');
  const size = database
    .prepare('SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size')
    .get();
  return {
    tables: tables.map(table => ({
      name: String(table.name),
      type: String(table.type),
      columns: columnsOf(String(table.name)),
    })),
    sizeBytes: Number(size?.bytes),
  };

  function columnsOf(table: string): { name: string; type: string }[] {
    try {
      return columns.all(table).map(column => ({ name: String(column.name), type: String(column.type) }));
    } catch {
      return []; // a view whose tables are gone; its name is still worth showing
    }
  }
}
