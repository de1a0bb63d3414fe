/**
 * Leases in one PostgreSQL table. The rule runs on the server (`statements.ts`), by the server's clock; this file checks arguments,
 * asks, and translates.
 *
 * What it rests on: the server's wall clock. Set back, leases last longer, which costs time and no exclusiveness. Set *forward* by more
 * than what a holder has left, it gives the lease to another while the first one believes in it until its own deadline: only the
 * fence tells them apart then. The same goes for a failover to a standby that had not received the last commits; use
 * synchronous replication where that matters.
 */
import { HoldfastError, type LeaseGrant, type System } from '#core';
import { completeLeases } from '../complete.ts';
import type { LeaseStore } from '../store.ts';
import { checkLeaseArguments, checkListQuery } from '../validation.ts';
import { openConnection, type PostgresPool } from './connection.ts';
import { createNotifications } from './notifications.ts';
import { checkTableName, openSchema } from './schema.ts';
import { buildStatements, type StatementRow } from './statements.ts';

export interface PostgresLeasesOptions {
  /** `postgres://user:password@host:5432/database`; never logged. Or `pool`. */
  connectionString?: string;
  /**
   * A ready pool of `pg`, which stays the caller's: `close` does not end it. While somebody watches, one of its connections is in
   * use, unless it is the only one.
   * Give it a `connectionTimeoutMillis`, or a server that does not answer uses up its connections.
   */
  pool?: PostgresPool;
  /** `table` or `schema.table`, default `holdfast_leases`; made if it is not there, with a sequence `<table>_fence`. */
  table?: string;
  /** Put before every name: what tells applications apart that share a table. Default none. */
  prefix?: string;
  system: System;
  /** The longest that one call takes, milliseconds, default 3000. */
  callTimeoutMs?: number;
}

interface LeaseRow {
  name: string;
  holder: string;
  fence: string;
  expires_in_ms: string;
}

const attemptsMax = 5;
const sweepEvery = 1_024;

/**
 * Connects, and makes or checks the table.
 * @throws HoldfastError HF_LEASE_INVALID on unusable options, HF_STATE_UNUSABLE when the table is not one for leases (the message
 * says what to do), HF_COORDINATION_UNAVAILABLE when the server cannot be asked, as every later call does
 */
export async function openPostgresLeases(options: PostgresLeasesOptions): Promise<LeaseStore> {
  const { system, prefix = '', table = 'holdfast_leases', callTimeoutMs = 3_000 } = options;
  checkTableName(table);
  checkListQuery({ prefix });
  const { pool, connectionString } = options;
  const connection = await openConnection({ pool, connectionString, callTimeoutMs, system });
  try {
    const schema = await openSchema(connection.call, table);
    const statements = buildStatements(schema);
    const { channel } = schema;
    const notifications = createNotifications({ connection, channel, system });
    let grants = 0;

    /** A name that has no row gets one, and the statement is tried again. */
    async function change(text: string, key: string, values: unknown[]): Promise<StatementRow | null> {
      for (let attempt = 1; attempt <= attemptsMax; attempt++) {
        const [row] = await connection.call<StatementRow>(text, [key, ...values]);
        if (!row) break;
        if (row.found !== 'missing') return row;
        if (text !== statements.acquire) return null;
        await connection.call(statements.makeRow, [key]);
      }
      throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', `the table ${table} loses its rows`);
    }

    return completeLeases(
      {
        async tryAcquire(name, holder, ttlMs) {
          checkLeaseArguments({ name, holder, ttlMs });
          const key = prefix + name;
          const row = await change(statements.acquire, key, [holder, ttlMs, channel, key]);
          // Nobody waits for it, and the next one makes up for a failure.
          if (++grants % sweepEvery === 0) connection.call(statements.sweep, []).catch(() => {});
          return toGrant(row);
        },
        async renew(name, holder, fence, ttlMs) {
          checkLeaseArguments({ name, holder, fence, ttlMs });
          return toGrant(await change(statements.renew, prefix + name, [holder, ttlMs, fence.toString()]));
        },
        async release(name, holder, fence) {
          checkLeaseArguments({ name, holder, fence });
          const key = prefix + name;
          const row = await change(statements.release, key, [holder, fence.toString(), channel, key]);
          return row?.changed === 'yes';
        },
        async inspect(name) {
          checkLeaseArguments({ name });
          const [row] = await connection.call<LeaseRow>(statements.inspect, [prefix + name]);
          return row ? toHolder({ ...row, name }) : null;
        },
        async list(given) {
          const query = checkListQuery(given);
          const after = query.cursor === null ? '' : prefix + query.cursor;
          const values = [prefix + query.prefix, after, query.limit + 1];
          const rows = await connection.call<LeaseRow>(statements.list, values);
          const leases = rows
            .slice(0, query.limit)
            .map(row => toHolder({ ...row, name: row.name.slice(prefix.length) }));
          return { leases, cursor: rows.length > query.limit ? leases.at(-1)!.name : null };
        },
        async close() {
          notifications.close();
          await connection.close();
        },
      },
      {
        system,
        hint: connection.canSpareOne ? (name, look) => notifications.hint(prefix + name, look) : undefined,
      },
    );
  } catch (error) {
    await connection.close();
    throw error;
  }
}

function toGrant(row: StatementRow | null): LeaseGrant {
  if (row?.found !== 'live') return { acquired: false, fence: null, expiresInMs: 0, holder: null };
  const current = {
    fence: BigInt(row.fence!),
    expiresInMs: Number(row.expires_in_ms),
    holder: row.holder!,
  };
  return row.changed === 'yes' ? { acquired: true, ...current } : { acquired: false, ...current };
}

function toHolder({ name, holder, fence, expires_in_ms }: LeaseRow) {
  return { name, holder, fence: BigInt(fence), expiresInMs: Number(expires_in_ms) };
}
