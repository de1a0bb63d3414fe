/**
 * Leases in one SQLite table. Synchronous: whoever owns the database calls inside a transaction of its own, so that
 * decision, fence and record become durable together. Expired rows count as absent and are swept now and then.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Fence, LeaseGrant, LeaseHolder } from '#core';
import { decideLease, type LeaseRecord, type LeaseRequest } from '../decision.ts';
import { checkLeaseArguments, checkListQuery, endOfPrefix } from '../validation.ts';

/** Every method throws HF_LEASE_INVALID on bad arguments, before it touches the database. */
export interface LeaseTable {
  tryAcquire(name: string, holder: string, ttlMs: number): LeaseGrant;
  renew(name: string, holder: string, fence: bigint, ttlMs: number): LeaseGrant;
  release(name: string, holder: string, fence: bigint): boolean;
  inspect(name: string): LeaseHolder | null;
  /** As `LeaseService.list`: a page of live leases, and the name to go on after. */
  list(query?: { prefix?: string; limit?: number; cursor?: string }): {
    leases: LeaseHolder[];
    cursor: string | null;
  };
  /** Ends all leases: after a reboot the times in the table mean nothing. */
  clear(): void;
}

export interface LeaseTablePorts {
  /** Now, on the boot clock. */
  nowMs: () => number;
  /** Takes the next fence, durably once the caller's transaction commits. */
  nextFence: () => Fence;
}

const sweepEvery = 1_024;

/** Prepares the table `leases` in `database`. */
export function createLeaseTable(database: DatabaseSync, ports: LeaseTablePorts): LeaseTable {
  database.exec(
    `CREATE TABLE IF NOT EXISTS leases (
       name TEXT PRIMARY KEY, holder TEXT NOT NULL, fence INTEGER NOT NULL, expires_at_ms REAL NOT NULL
     ) WITHOUT ROWID`,
  );
  const select = database.prepare('SELECT holder, fence, expires_at_ms FROM leases WHERE name = ?');
  select.setReadBigInts(true);
  const upsert = database.prepare(
    'INSERT OR REPLACE INTO leases (name, holder, fence, expires_at_ms) VALUES (?, ?, ?, ?)',
  );
  const remove = database.prepare('DELETE FROM leases WHERE name = ?');
  const sweep = database.prepare('DELETE FROM leases WHERE expires_at_ms <= ?');
  const page = database.prepare(
    `SELECT name, holder, fence, expires_at_ms FROM leases
     WHERE name > ? AND name >= ? AND name <= ? AND expires_at_ms > ? ORDER BY name LIMIT ?`,
  );
  page.setReadBigInts(true);
  let grants = 0;

  function read(name: string): LeaseRecord | null {
    const row = select.get(name);
    if (!row) return null;
    return {
      holder: row['holder'] as string,
      fence: row['fence'] as Fence,
      expiresAtMs: Number(row['expires_at_ms']),
    };
  }

  function write(name: string, record: LeaseRecord, nowMs: number): LeaseGrant {
    upsert.run(name, record.holder, record.fence, record.expiresAtMs);
    return {
      acquired: true,
      fence: record.fence,
      expiresInMs: record.expiresAtMs - nowMs,
      holder: record.holder,
    };
  }

  function ask(name: string, request: Exclude<LeaseRequest, { type: 'release' }>): LeaseGrant {
    const nowMs = ports.nowMs();
    const decision = decideLease(read(name), request, nowMs);
    switch (decision.type) {
      case 'grant': {
        if (++grants % sweepEvery === 0) sweep.run(nowMs);
        const { expiresAtMs } = decision;
        return write(name, { holder: request.holder, fence: ports.nextFence(), expiresAtMs }, nowMs);
      }
      case 'extend':
        return write(name, decision.record, nowMs);
      case 'refuse': {
        const { current } = decision;
        return {
          acquired: false,
          fence: current?.fence ?? null,
          expiresInMs: current ? current.expiresAtMs - nowMs : 0,
          holder: current?.holder ?? null,
        };
      }
      case 'end':
        throw new Error('invariant: only a release ends a lease');
    }
  }

  return {
    tryAcquire(name, holder, ttlMs) {
      checkLeaseArguments({ name, holder, ttlMs });
      return ask(name, { type: 'acquire', holder, ttlMs });
    },
    renew(name, holder, fence, ttlMs) {
      checkLeaseArguments({ name, holder, fence, ttlMs });
      return ask(name, { type: 'renew', holder, fence, ttlMs });
    },
    release(name, holder, fence) {
      checkLeaseArguments({ name, holder, fence });
      const ended = decideLease(read(name), { type: 'release', holder, fence }, ports.nowMs()).type === 'end';
      if (ended) remove.run(name);
      return ended;
    },
    inspect(name) {
      checkLeaseArguments({ name });
      const nowMs = ports.nowMs();
      const record = read(name);
      if (!record || record.expiresAtMs <= nowMs) return null;
      return { name, holder: record.holder, fence: record.fence, expiresInMs: record.expiresAtMs - nowMs };
    },
    list(query) {
      const { prefix, limit, cursor } = checkListQuery(query);
      const nowMs = ports.nowMs();
      // TEXT compares by its UTF-8 bytes, as the order of names does. One row more than asked for tells whether there is a next page.
      const rows = page.all(cursor ?? '', prefix, endOfPrefix(prefix), nowMs, limit + 1);
      const leases = rows.slice(0, limit).map(row => ({
        name: row['name'] as string,
        holder: row['holder'] as string,
        fence: row['fence'] as Fence,
        expiresInMs: Number(row['expires_at_ms']) - nowMs,
      }));
      return { leases, cursor: rows.length > limit ? leases.at(-1)!.name : null };
    },
    clear() {
      database.exec('DELETE FROM leases');
    },
  };
}
