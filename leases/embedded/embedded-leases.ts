/**
 * Leases as a library: one SQLite file that several processes of one machine open directly. What changes a lease runs in a
 * `BEGIN IMMEDIATE` transaction, so the changes of all processes are in one order. A cluster does not use this but the coordinator
 * (`ownership/embedded`), because a process that is frozen inside a transaction would hold the file's lock.
 */
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { HoldfastError, type Fence, type System } from '#core';
import { completeLeases } from '../complete.ts';
import type { LeaseStore } from '../store.ts';
import { checkLeaseArguments } from '../validation.ts';
import { adoptIncarnation, fenceEpoch, readBootId } from './incarnation.ts';
import { createLeaseTable, type LeaseTable } from './lease-table.ts';
import { createTransactionQueue } from './transaction-queue.ts';

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
    const waitMs = options.busyTimeoutMs ?? 2_000;
    const { system } = options;
    // While it is being opened SQLite may wait by itself; later nothing may block the event loop.
    const database = new DatabaseSync(file, { timeout: waitMs });
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE');
    const table = prepare(database, { system, bootId: options.bootId ?? readBootId() });
    database.exec('COMMIT; PRAGMA busy_timeout = 0');
    const queue = createTransactionQueue({ database, system, waitMs });

    return completeLeases(
      {
        // Checked before the call has to wait, so that a bad argument is one whatever the file's state.
        async tryAcquire(name, holder, ttlMs) {
          checkLeaseArguments({ name, holder, ttlMs });
          return queue.write(() => table.tryAcquire(name, holder, ttlMs));
        },
        async renew(name, holder, fence, ttlMs) {
          checkLeaseArguments({ name, holder, fence, ttlMs });
          return queue.write(() => table.renew(name, holder, fence, ttlMs));
        },
        async release(name, holder, fence) {
          checkLeaseArguments({ name, holder, fence });
          return queue.write(() => table.release(name, holder, fence));
        },
        inspect: name => queue.read(() => table.inspect(name)),
        list: query => queue.read(() => table.list(query)),
        async close() {
          queue.close();
          if (database.isOpen) database.close();
        },
      },
      { system, pollMs: 100 },
    );
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError(
      'HF_STATE_UNUSABLE',
      `cannot keep leases in ${file}: ${(cause as Error).message}. Make its folder writable, or name another file.`,
      { cause, details: { path: file } },
    );
  }
}

function prepare(database: DatabaseSync, options: { system: System; bootId: string }): LeaseTable {
  const { rebooted } = adoptIncarnation(database, {
    bootId: options.bootId,
    // The file may follow one that was lost.
    firstFence: fenceEpoch(options.system.clock.wallMs()),
  });
  const take = database.prepare("UPDATE meta SET value = value + 1 WHERE name = 'fence' RETURNING value");
  take.setReadBigInts(true);
  const leases = createLeaseTable(database, {
    nowMs: () => options.system.clock.bootMs(),
    nextFence: () => take.get()!['value'] as Fence,
  });
  if (rebooted) leases.clear();
  return leases;
}
