/**
 * Leases as a library: one SQLite file that several processes of one machine open directly. Every call is one
 * `BEGIN IMMEDIATE` transaction, so calls of all processes are in one order. A cluster does not use this but the coordinator
 * (`ownership/embedded`), because a process that is frozen inside a transaction would hold the file's lock.
 */
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { HoldfastError, type Fence, type System } from '#core';
import type { LeaseStore } from '../store.ts';
import { adoptIncarnation, readBootId } from './incarnation.ts';
import { createLeaseTable } from './lease-table.ts';

export interface EmbeddedLeasesOptions {
  /** The SQLite file; made (0600) if it is not there. Its folder must exist. */
  file: string;
  system: System;
  /** Names this boot of the machine; injected by tests. */
  bootId?: string;
  /** How long a call waits for other processes, default 2000. */
  busyTimeoutMs?: number;
}

/**
 * Opens the file.
 * @throws HoldfastError HF_STATE_UNUSABLE when it cannot be opened; calls reject with HF_COORDINATION_UNAVAILABLE when the
 * file cannot be used later, or is locked for longer than the time to wait
 */
export async function openEmbeddedLeases(options: EmbeddedLeasesOptions): Promise<LeaseStore> {
  const file = resolve(options.file);
  const { DatabaseSync } = await import('node:sqlite');
  try {
    // Made by hand first: SQLite would create it with whatever the umask leaves.
    await (await open(file, 'a', 0o600)).close();
    const database = new DatabaseSync(file, { timeout: options.busyTimeoutMs ?? 2_000 });
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');

    function transaction<T>(work: () => T): T {
      database.exec('BEGIN IMMEDIATE');
      try {
        const result = work();
        database.exec('COMMIT');
        return result;
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK');
        throw error;
      }
    }

    const table = transaction(() => {
      const { rebooted } = adoptIncarnation(database, {
        bootId: options.bootId ?? readBootId(),
        firstFence: 0n,
      });
      const take = database.prepare("UPDATE meta SET value = value + 1 WHERE name = 'fence' RETURNING value");
      take.setReadBigInts(true);
      const leases = createLeaseTable(database, {
        nowMs: () => options.system.clock.bootMs(),
        nextFence: () => take.get()!['value'] as Fence,
      });
      if (rebooted) leases.clear();
      return leases;
    });

    async function call<T>(work: () => T): Promise<T> {
      if (!database.isOpen) {
        throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'the lease store has been closed');
      }
      try {
        return transaction(work);
      } catch (cause) {
        if (cause instanceof HoldfastError) throw cause;
        throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', `${file} cannot be used`, { cause });
      }
    }

    return {
      tryAcquire: (name, holder, ttlMs) => call(() => table.tryAcquire(name, holder, ttlMs)),
      renew: (name, holder, fence, ttlMs) => call(() => table.renew(name, holder, fence, ttlMs)),
      release: (name, holder, fence) => call(() => table.release(name, holder, fence)),
      inspect: name => call(() => table.inspect(name)),
      async close() {
        if (database.isOpen) database.close();
      },
    };
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError(
      'HF_STATE_UNUSABLE',
      `cannot keep leases in ${file}: ${(cause as Error).message}. Make its folder writable, or name another file.`,
      { cause, details: { path: file } },
    );
  }
}
