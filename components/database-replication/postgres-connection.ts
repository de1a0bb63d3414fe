/** Connections to PostgreSQL on which every value arrives as the text that the server prints, in one fixed style. */
import pg from 'pg';
import type { ColumnShape, TableShape } from './schema/plan.ts';

export interface PostgresEndpoint {
  readonly kind: 'postgres';
  /** Without a password. */
  readonly url: string;
  readonly password: string | undefined;
}

/** So that a value has one text on every server. */
const style = [
  'datestyle=ISO',
  'timezone=UTC',
  'intervalstyle=postgres',
  'extra_float_digits=1',
  'bytea_output=hex',
];
const rawTypes = { getTypeParser: () => (text: string) => text };
const connectMs = 10_000;
/** A server that accepts and never answers (frozen, behind a firewall that forgot) must not hold us for ever. */
const answerMs = 120_000;

export async function connectPostgres(
  endpoint: PostgresEndpoint,
  { name, replication = false }: { name: string; replication?: boolean },
): Promise<pg.Client> {
  const options = {
    connectionString: endpoint.url,
    ...(endpoint.password === undefined ? {} : { password: endpoint.password }),
    application_name: `holdfast replication ${name}`.slice(0, 63),
    connectionTimeoutMillis: connectMs,
    keepAlive: true,
    options: style.map(setting => `-c ${setting}`).join(' '),
    types: rawTypes,
    ...(replication ? { replication: 'database' } : { query_timeout: answerMs }),
  };
  const client = new pg.Client(options as pg.ClientConfig);
  client.on('error', () => {
    // The query under way, or the next one, tells.
  });
  await client.connect();
  return client;
}

/** At once: what is under way fails. */
export function breakOff(client: pg.Client): void {
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } };
  connection.stream.destroy();
}

export async function textRows(
  client: pg.Client,
  text: string,
  values: unknown[] = [],
): Promise<(string | null)[][]> {
  const { rows } = await client.query<(string | null)[]>({ text, values, rowMode: 'array' });
  return rows;
}

/** `table` without a schema is looked for in `public`. */
export function schemaAndName(table: string): [string, string] {
  const [first = '', second] = table.split('.');
  return second === undefined ? ['public', first] : [first, second];
}

/** The plain tables that exist, of those asked for. Partitioned tables, views and foreign tables are none. */
export async function postgresShapes(
  client: pg.Client,
  tables: readonly string[],
): Promise<Map<string, TableShape>> {
  const found = new Map<string, TableShape>();
  for (const table of tables) {
    const [schema, name] = schemaAndName(table);
    const [row] = await textRows(
      client,
      `SELECT c.oid::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'r' AND c.relpersistence = 'p' AND NOT c.relispartition`,
      [schema, name],
    );
    const oid = row?.[0];
    if (oid) found.set(table, await shapeOf(client, table, oid));
  }
  return found;
}

async function shapeOf(client: pg.Client, name: string, oid: string): Promise<TableShape> {
  const columns = await textRows(
    client,
    `SELECT attname, format_type(atttypid, -1), attnotnull::text, (atthasdef OR attidentity <> '')::text, (attgenerated <> '')::text
     FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [oid],
  );
  const indexes = await textRows(
    client,
    `SELECT i.indisprimary::text, string_agg(a.attname, E'\\n' ORDER BY k.place)
     FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE i.indrelid = $1::oid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
     GROUP BY i.indexrelid, i.indisprimary`,
    [oid],
  );
  const lists = indexes.map(([primary, names]) => ({
    primary: primary === 'true',
    names: (names ?? '').split('\n'),
  }));
  return {
    name,
    columns: columns.map(([column, type, notNull, hasDefault, generated]): ColumnShape => ({
      name: column ?? '',
      type: type ?? '',
      nullable: notNull !== 'true',
      hasDefault: hasDefault === 'true',
      generated: generated === 'true',
    })),
    key: lists.find(index => index.primary)?.names ?? [],
    uniques: lists.filter(index => !index.primary).map(index => index.names),
  };
}
