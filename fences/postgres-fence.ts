/**
 * The fence of something in PostgreSQL: one row for each resource, in the database where its data is.
 *
 * Why this is safe. Every transaction of an owner locks the row and compares it before it does anything else, and holds the lock to its
 * end; installing a fence waits for that lock. So an owner either commits before a newer fence is installed, and the newer owner
 * reads what it wrote, or finds the newer fence. An owner that is frozen in the middle holds the lock; the server
 * rolls it back after `idleMsMax`, and what it sends after waking is refused.
 */
import { checkFence, checkTable, fenced } from './fence.ts';

/** What is needed of a client of `pg`: a connected one, used by nobody else meanwhile (from a pool: `await pool.connect()`). */
export interface FencedPostgresClient {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[]; command: string }>;
  /** `I`: outside of a transaction. */
  getTransactionStatus?(): string | null;
  on(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
}

export interface PostgresFenceOptions {
  /** What the fence is for, for example the resource's key. Its data must be in the same database. */
  resource: string;
  /** `table` or `schema.table`, default `holdfast_fences`. */
  table?: string;
  /** Who owns it, for example a lease's holder: may install the fence that it has installed already. Default: nobody may. */
  owner?: string;
  /** How long a transaction may wait for its client between two statements before the server ends it, default 5000. */
  idleMsMax?: number;
}

export interface PostgresFence {
  /** Makes the table if it is not there. Once, by anybody who may. */
  prepare(client: FencedPostgresClient): Promise<void>;
  /**
   * Takes the resource over; waits for transactions of the owner before. Call it before you read anything. Inside a transaction of
   * yours it counts from its commit on.
   * @throws HoldfastError HF_FENCED when the resource has seen this fence or a higher one
   */
  install(client: FencedPostgresClient, fence: bigint): Promise<void>;
  /**
   * Checks the fence inside a transaction of yours, before anything else in it, and locks it to the transaction's end.
   * @throws HoldfastError HF_FENCED when the resource holds another fence; then roll back
   */
  check(client: FencedPostgresClient, fence: bigint): Promise<void>;
  /**
   * Runs `work` in a transaction that begins with `check`, and commits it.
   * @throws HoldfastError HF_FENCED; what `work` throws, after rolling back. When the connection breaks at the commit, its error
   * leaves open whether it was committed.
   */
  write<Value>(client: FencedPostgresClient, fence: bigint, work: () => Promise<Value>): Promise<Value>;
}

export function createPostgresFence(options: PostgresFenceOptions): PostgresFence {
  const { resource, table: name = 'holdfast_fences', owner = '', idleMsMax = 5_000 } = options;
  checkTable(name);
  const table = name
    .split('.')
    .map(part => `"${part}"`)
    .join('.');

  async function check(client: FencedPostgresClient, fence: bigint): Promise<void> {
    checkFence(fence);
    // The setting ends with the transaction, as the lock does.
    const { rows } = await client.query(
      `SELECT fence::text AS fence, set_config('idle_in_transaction_session_timeout', $2, true)
       FROM ${table} WHERE resource = $1 FOR UPDATE`,
      [resource, `${idleMsMax}ms`],
    );
    const found = fenceOf(rows);
    if (found !== fence) throw fenced(found);
  }

  return {
    check,
    async prepare(client) {
      // Two that create at once would fail: IF NOT EXISTS looks before it waits.
      await client.query(`DO $make$ BEGIN
        PERFORM pg_advisory_xact_lock(hashtextextended('holdfast fences', 0));
        CREATE TABLE IF NOT EXISTS ${table} (resource text PRIMARY KEY, fence bigint NOT NULL, owner text NOT NULL);
      END $make$`);
    },
    async install(client, fence) {
      checkFence(fence);
      const { rows } = await client.query(
        `INSERT INTO ${table} AS held (resource, fence, owner) VALUES ($1, $2::bigint, $3)
         ON CONFLICT (resource) DO UPDATE SET fence = excluded.fence, owner = excluded.owner
         WHERE held.fence < excluded.fence OR (held.fence = excluded.fence AND held.owner = excluded.owner AND held.owner <> '')
         RETURNING fence::text AS fence`,
        [resource, fence.toString(), owner],
      );
      if (rows.length > 0) return;
      const found = await client.query(`SELECT fence::text AS fence FROM ${table} WHERE resource = $1`, [
        resource,
      ]);
      throw fenced(fenceOf(found.rows));
    },
    async write(client, fence, work) {
      const status = client.getTransactionStatus?.() ?? 'I';
      // BEGIN would be taken with a warning, and our COMMIT would be that of the caller's transaction.
      if (status !== 'I') throw new Error('the client is inside a transaction already; use check');
      // The server may end the connection while no statement is under way; without a listener that would end the process.
      client.on('error', ignore);
      try {
        await client.query('BEGIN');
        await check(client, fence);
        const value = await work();
        // A transaction in which a statement failed answers ROLLBACK, and no error.
        const { command } = await client.query('COMMIT');
        if (command !== 'COMMIT')
          throw new Error('a statement had failed, so the transaction was rolled back');
        return value;
      } catch (error) {
        await client.query('ROLLBACK').catch(() => {
          // The connection is gone, and the transaction with it.
        });
        throw error;
      } finally {
        client.off('error', ignore);
      }
    },
  };
}

const ignore = (): void => {
  // The next statement tells.
};

function fenceOf(rows: unknown[]): bigint {
  const [row] = rows as { fence: string }[];
  return BigInt(row?.fence ?? 0);
}
