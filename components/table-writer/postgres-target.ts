/** Rows into PostgreSQL. Each message is one transaction on a connection of the pool. */
import pg from 'pg';
import type { WriterSettings } from './settings.ts';
import { statementsFor } from './statements.ts';
import { AwayError, type Target } from './target.ts';

const timeoutMs = 10_000;
/**
 * Classes of SQLSTATE that are not the fault of what is written: connection, rolled back by the server (deadlock), out of something, stopped by an
 * operator.
 */
const awayClasses = new Set(['08', '40', '53', '57']);

/** @param url with password: never logged */
export function createPostgresTarget(
  url: string,
  { table, createTable, concurrency }: WriterSettings,
): Target {
  const statements = statementsFor(table, 'postgres');
  const pool = new pg.Pool({
    connectionString: url,
    max: concurrency,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    statement_timeout: timeoutMs,
    application_name: 'holdfast table-writer',
  });
  // A connection that breaks while nobody uses it: the pool has taken it out, and the next query says what is wrong.
  pool.on('error', ignore);

  async function inTransaction<Result>(work: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
    let client: pg.PoolClient;
    try {
      client = await pool.connect();
    } catch (error) {
      throw explain(error);
    }
    // A connection that breaks also says so by an event, besides the rejection of its query.
    client.on('error', ignore);
    try {
      await client.query('BEGIN');
      const result = await work(client);
      await client.query('COMMIT');
      client.off('error', ignore);
      client.release();
      return result;
    } catch (error) {
      // The connection ends, and the transaction with it, whatever state it was in.
      client.release(true);
      throw explain(error);
    }
  }

  return {
    open: () =>
      inTransaction(async client => {
        // Copies that start together would make the same table at the same time, which PostgreSQL refuses to one of them.
        await client.query('SELECT pg_advisory_xact_lock(hashtext($1))', [
          `holdfast table-writer ${table.name}`,
        ]);
        await client.query(statements.createMessagesTable);
        if (createTable) await client.query(statements.createTable);
      }),
    write: (messageId, rows, nowMs) =>
      inTransaction(async client => {
        // A second one with this id waits here until the first has committed or not.
        const { rowCount } = await client.query(statements.remember, [messageId, nowMs]);
        if (rowCount === 0) return false;
        for (const row of rows) await client.query({ name: 'put', text: statements.put, values: row });
        return true;
      }),
    forget: beforeMs =>
      inTransaction(async client => void (await client.query(statements.forget, [beforeMs]))),
    close: () => pool.end(),
  };
}

/** What the event says is said by the rejection of the query too. */
function ignore(): void {}

function explain(error: unknown): unknown {
  const code = (error as { code?: string }).code;
  const isRefusal =
    typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !awayClasses.has(code.slice(0, 2));
  // Without a SQLSTATE it is the network, the name service or a timeout.
  return isRefusal ? error : new AwayError(`PostgreSQL: ${(error as Error).message}`, { cause: error });
}
