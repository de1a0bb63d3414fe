/**
 * The table and the sequence behind leases in PostgreSQL: made if they are missing, else checked, so that a wrong table is
 * told at once and not by what goes wrong later.
 *
 * Why fences never go back: they come from one sequence, which PostgreSQL does not roll back. Every grant is a transaction that
 * writes, with a synchronous commit, so that a value is in the log before anybody sees it. A sequence that is made begins at the
 * microseconds since 1970 by the server's clock: one that was dropped with its table and made again goes on above every
 * fence before, because nobody takes a million fences a second.
 */
import { HoldfastError } from '#core';
import type { PostgresCall } from './connection.ts';

/** Names as the server quotes them, ready for SQL. */
export interface LeaseSchema {
  table: string;
  /** A literal for nextval(). */
  sequence: string;
  /** For LISTEN and NOTIFY; one per table, letters and digits only. */
  channel: string;
}

const columns = {
  name: { type: 'text', notNull: true, collation: 'C' },
  holder: { type: 'text', notNull: true, collation: null },
  fence: { type: 'bigint', notNull: true, collation: null },
  expires_at: { type: 'timestamp with time zone', notNull: true, collation: null },
} as const;

const namePattern = /^(?:[a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,50}$/;

/** @throws HoldfastError HF_LEASE_INVALID unless it is `table` or `schema.table`, in small letters, digits and underscores */
export function checkTableName(table: string): void {
  if (!namePattern.test(table)) {
    throw new HoldfastError(
      'HF_LEASE_INVALID',
      'table must be a name like leases or schema.leases: small letters, digits and _, at most 51 characters',
      { details: { argument: 'table' } },
    );
  }
}

/**
 * @param table as checked by `checkTableName`
 * @throws HoldfastError HF_STATE_UNUSABLE saying what is wrong with the table and how to mend it
 */
export async function openSchema(call: PostgresCall, table: string): Promise<LeaseSchema> {
  const sequence = `${table}_fence`;
  let found = await find(call, table, sequence);
  if (!found.table || !found.sequence) {
    await create(call, table, sequence);
    found = await find(call, table, sequence);
  }
  if (found.encoding !== 'UTF8') {
    throw unusable(
      table,
      `the database has the encoding ${found.encoding}, which cannot hold every name. Use a database with the encoding UTF8.`,
    );
  }
  if (!found.table || !found.sequence || found.channel === null) {
    throw unusable(table, 'it was dropped just now');
  }
  await check(call, table, sequence);
  return { table: found.table, sequence: found.sequence, channel: found.channel };
}

interface Found {
  encoding: string;
  table: string | null;
  sequence: string | null;
  channel: string | null;
}

async function find(call: PostgresCall, table: string, sequence: string): Promise<Found> {
  // Qualified by the server: afterwards another search_path cannot lead to another table.
  const [row] = await call<Found>(
    `SELECT pg_encoding_to_char(encoding)::text AS encoding,
       (SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE c.oid = to_regclass($1)) AS table,
       (SELECT format('%L', format('%I.%I', nspname, relname)) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE c.oid = to_regclass($2)) AS sequence,
       'holdfast_' || to_regclass($1)::oid::text AS channel
     FROM pg_database WHERE datname = current_database()`,
    [table, sequence],
  );
  if (!row) throw unusable(table, 'the catalog does not list the database');
  return row;
}

/** One statement: a client that ends in the middle leaves nothing half made. */
async function create(call: PostgresCall, table: string, sequence: string): Promise<void> {
  // Quoted, because a valid name may be a reserved word.
  const quoted = (name: string) =>
    name
      .split('.')
      .map(part => `"${part}"`)
      .join('.');
  const program = `DO $make$ BEGIN
      -- Two that create at once would fail: IF NOT EXISTS looks before it waits.
      PERFORM pg_advisory_xact_lock(hashtextextended('holdfast leases', 0));
      CREATE TABLE IF NOT EXISTS ${quoted(table)} (
        name text COLLATE "C" PRIMARY KEY, holder text NOT NULL, fence bigint NOT NULL, expires_at timestamptz NOT NULL
      ) WITH (fillfactor = 70);
      EXECUTE format('CREATE SEQUENCE IF NOT EXISTS ${quoted(sequence)} START WITH %s',
        floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    END $make$`;
  try {
    await call(program, []);
  } catch (cause) {
    const code =
      cause instanceof HoldfastError ? (cause.cause as { code?: unknown } | undefined)?.code : null;
    if (code !== '42501' && code !== '3F000' && code !== '42809') throw cause;
    const { message } = (cause as HoldfastError).cause as Error;
    throw unusable(
      table,
      `it cannot be made: ${message}. Grant CREATE on the schema to this user, or name another \`table\`.`,
      cause,
    );
  }
}

async function check(call: PostgresCall, table: string, sequence: string): Promise<void> {
  const found = await call<{ name: string; type: string; required: string; collation: string | null }>(
    `SELECT attname::text AS name, format_type(atttypid, NULL) AS type, attnotnull::text AS required,
       (SELECT collname::text FROM pg_collation c WHERE c.oid = attcollation) AS collation
     FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`,
    [table],
  );
  const mend = 'Drop it, or name another `table`.';
  for (const [name, expected] of Object.entries(columns)) {
    const column = found.find(one => one.name === name);
    if (!column) throw unusable(table, `it has no column ${name} (${expected.type}). ${mend}`);
    if (column.type !== expected.type) {
      throw unusable(table, `its column ${name} is ${column.type} and not ${expected.type}. ${mend}`);
    }
    if (expected.collation !== null && column.collation !== expected.collation) {
      throw unusable(table, `its column ${name} has not the collation "${expected.collation}". ${mend}`);
    }
    if (column.required !== 'true') throw unusable(table, `its column ${name} may be null. ${mend}`);
  }
  const [facts] = await call<
    Record<'kind' | 'key' | 'increment' | 'cycle' | 'denied' | 'draws', string | null>
  >(
    `SELECT (SELECT relkind::text || relpersistence::text FROM pg_class WHERE oid = to_regclass($1)) AS kind,
       (SELECT string_agg(attname::text, ',') FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
         WHERE indrelid = to_regclass($1) AND indisprimary) AS key,
       (SELECT seqincrement::text FROM pg_sequence WHERE seqrelid = to_regclass($2)) AS increment,
       (SELECT seqcycle::text FROM pg_sequence WHERE seqrelid = to_regclass($2)) AS cycle,
       (SELECT string_agg(wanted, ', ') FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted
         WHERE NOT has_table_privilege(to_regclass($1)::oid, wanted)) AS denied,
       has_sequence_privilege(to_regclass($2)::oid, 'USAGE')::text AS draws`,
    [table, sequence],
  );
  if (facts?.kind !== 'rp') {
    throw unusable(table, `it is not an ordinary, logged table: a crash would empty it. ${mend}`);
  }
  if (facts.key !== 'name') throw unusable(table, `its primary key is not (name). ${mend}`);
  if (facts.cycle !== 'false' || Number(facts.increment) < 1) {
    throw unusable(table, `${sequence} is no sequence that only grows. ${mend}`);
  }
  const grant = 'to this user, or name another `table`.';
  if (facts.denied) throw unusable(table, `${facts.denied} is not allowed. Grant it ${grant}`);
  if (facts.draws !== 'true') throw unusable(table, `USAGE of ${sequence} is not allowed. Grant it ${grant}`);
}

function unusable(table: string, what: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF_STATE_UNUSABLE', `cannot keep leases in the table ${table}: ${what}`, {
    details: { table },
    cause,
  });
}
