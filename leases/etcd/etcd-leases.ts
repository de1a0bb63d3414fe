/**
 * Leases in etcd. Acquiring is one etcd lease and one transaction that writes the key only if it is not there; the lease is held for as
 * long as the key is there, which etcd removes when the lease ends. See `records.ts` for keys and fences.
 *
 * What is different from other stores, because etcd counts in whole seconds and looks for ended leases twice a second:
 * - A lease lasts *longer for others* than was asked for: `ttlMs` is rounded up to a second, and etcd's own minimum is 2 s with default
 *   settings (1.5 × its election timeout); up to a second more goes by until the key is gone; and a change of etcd's leader starts the
 *   time of all leases anew. It never ends earlier for its holder: `expiresInMs` counts from before etcd was asked, and is
 *   at most `ttlMs`, whatever etcd gives on top.
 * - Extending starts the time anew that was asked for when the lease was last made longer, also where the call asks for less.
 * - `inspect` and `list` tell whole seconds, rounded down.
 *
 * etcd measures these times on monotonic clocks: nobody's wall clock matters, but for the epoch in `records.ts`.
 */
import { HoldfastError, type LeaseGrant, type LeaseHolder, type System } from '#core';
import { completeLeases } from '../complete.ts';
import type { LeaseStore } from '../store.ts';
import { checkLeaseArguments, checkListQuery } from '../validation.ts';
import { createGateway, EtcdError, unavailable } from './gateway.ts';
import { createRecords, type Epoch, type KeyRecord } from './records.ts';
import { createWatchStream } from './watch-stream.ts';

export interface EtcdLeasesOptions {
  /** Client URLs of the members, `http://host:2379`; the others are tried when one does not answer. */
  endpoints: string[];
  /** Before every key, default `holdfast/`. */
  prefix?: string;
  /** For a cluster with authentication. */
  username?: string;
  /** Never logged. */
  password?: string;
  /** Used for all requests, for example one with certificates of its own. Default: Node's. */
  fetch?: typeof globalThis.fetch;
  system: System;
  /** The longest that one request to etcd takes, milliseconds, default 2000; an operation makes up to four, `list` one for each lease. */
  callTimeoutMs?: number;
}

const attemptsMax = 8;
/** Requests at once, while a list asks for the time that each lease has left. */
const listConcurrency = 16;

/** By the store's last word, somewhere below a second is left. */
const lastSecondMs = 500;

/**
 * Asks the cluster once, and makes the epoch.
 * @throws HoldfastError HF_LEASE_INVALID on unusable options, HF_COORDINATION_UNAVAILABLE when no endpoint answers, as every later
 * call does
 */
export async function openEtcdLeases(options: EtcdLeasesOptions): Promise<LeaseStore> {
  const { system, prefix = 'holdfast/', callTimeoutMs = 2_000 } = options;
  checkListQuery({ prefix });
  const { clock } = system;
  const gateway = createGateway({ ...options, callTimeoutMs, fetch: options.fetch ?? globalThis.fetch });
  const records = createRecords({ gateway, prefix, wallMs: () => clock.wallMs() });

  async function take(request: { name: string; holder: string; ttlMs: number; epoch: Epoch }) {
    const { ttlMs, ...change } = request;
    const sentMs = clock.monotonicMs();
    const { leaseId, seconds } = await records.grant(Math.ceil(ttlMs / 1_000));
    const fence = await records.write({ ...change, leaseId, expected: null });
    return fence === null ? null : granted(request.holder, fence, Math.min(ttlMs, leftMs(seconds, sentMs)));
  }

  /** Null when the key is not as it was read: to be read again. */
  async function extend(
    name: string,
    record: KeyRecord,
    ttlMs: number,
    epoch: Epoch,
  ): Promise<LeaseGrant | null> {
    let sentMs = clock.monotonicMs();
    const kept = await records.keepAlive(record.leaseId);
    if (!kept) return null;
    const { holder, fence } = record;
    if (kept.seconds * 1_000 >= ttlMs) {
      // The lease lives, and so does the holding if the key still hangs on it.
      const { record: now } = await records.read(name);
      if (now?.leaseId !== record.leaseId || now.fence !== fence) return null;
      return granted(holder, fence, leftMs(kept.seconds, sentMs));
    }
    sentMs = clock.monotonicMs();
    const { leaseId, seconds } = await records.grant(Math.ceil(ttlMs / 1_000));
    const written = await records.write({ name, holder, leaseId, epoch, expected: record });
    if (written !== null) records.revoke(record.leaseId);
    return written === fence ? granted(holder, fence, Math.min(ttlMs, leftMs(seconds, sentMs))) : null;
  }

  const leftMs = (seconds: number, sentMs: number) => seconds * 1_000 - (clock.monotonicMs() - sentMs);

  async function describe(record: KeyRecord): Promise<LeaseHolder | null> {
    const remaining = await records.remaining(record.leaseId);
    if (!remaining) return null;
    const { holder, fence } = record;
    const expiresInMs = remaining.seconds * 1_000 || lastSecondMs;
    return { name: records.nameOf(record), holder, fence, expiresInMs };
  }

  async function refuse(record: KeyRecord): Promise<LeaseGrant | null> {
    const described = await describe(record);
    if (!described) return null;
    const { holder, fence, expiresInMs } = described;
    return { acquired: false, holder, fence, expiresInMs };
  }

  /** Reads and decides until nobody has come in between. */
  async function settle<T>(
    name: string,
    decide: (record: KeyRecord | null, epoch: Epoch) => Promise<T | null>,
  ): Promise<T> {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const { epoch, record } = await records.read(name);
      const decided = await decide(record, epoch);
      if (decided !== null) return decided;
      // An ended lease is gone in the next moment; and whoever came in between shall not meet us again.
      await system.timers.sleep(attempt * 10 * system.random.fraction());
    }
    throw unavailable(`etcd gave no lasting answer about ${name}`);
  }

  const adapter = {
    async tryAcquire(name: string, holder: string, ttlMs: number): Promise<LeaseGrant> {
      checkLeaseArguments({ name, holder, ttlMs });
      return settle(name, (record, epoch) => {
        if (!record) return take({ name, holder, ttlMs, epoch });
        return record.holder === holder ? extend(name, record, ttlMs, epoch) : refuse(record);
      });
    },
    async renew(name: string, holder: string, fence: bigint, ttlMs: number): Promise<LeaseGrant> {
      checkLeaseArguments({ name, holder, fence, ttlMs });
      return settle(name, async (record, epoch) => {
        if (!record) return { acquired: false, fence: null, expiresInMs: 0, holder: null };
        const isTheirs = record.holder === holder && record.fence === fence;
        return isTheirs ? extend(name, record, ttlMs, epoch) : refuse(record);
      });
    },
    async release(name: string, holder: string, fence: bigint): Promise<boolean> {
      checkLeaseArguments({ name, holder, fence });
      return settle(name, async (record, epoch) => {
        if (record?.holder !== holder || record.fence !== fence) return false;
        if (!(await records.remove(record, epoch))) return null;
        records.revoke(record.leaseId);
        return true;
      });
    },
    async inspect(name: string): Promise<LeaseHolder | null> {
      checkLeaseArguments({ name });
      const { record } = await records.read(name);
      return record ? describe(record) : null;
    },
    async list(given?: { prefix?: string; limit?: number; cursor?: string }) {
      const { prefix, cursor, limit } = checkListQuery(given);
      const found = await records.readMany({ prefix, after: cursor, limit: limit + 1 });
      const page = found.slice(0, limit);
      const described: (LeaseHolder | null)[] = [];
      for (let start = 0; start < page.length; start += listConcurrency) {
        described.push(...(await Promise.all(page.slice(start, start + listConcurrency).map(describe))));
      }
      return {
        leases: described.filter(one => one !== null),
        cursor: found.length > limit ? records.nameOf(page.at(-1)!) : null,
      };
    },
    async close() {
      gateway.close();
    },
  };
  const translated = { ...adapter, ...translateErrors(adapter) };
  try {
    await translated.inspect('epoch');
  } catch (error) {
    gateway.close();
    throw error;
  }
  const hint = createWatchStream({ gateway, system, keyOf: records.keyOf });
  return completeLeases(translated, { system, hint });
}

function granted(holder: string, fence: bigint, expiresInMs: number): LeaseGrant {
  // So slow that it is of no use any more; it says so itself.
  return { acquired: true, holder, fence, expiresInMs: Math.max(0, expiresInMs) };
}

type Operation = (...values: never[]) => Promise<unknown>;

/** What etcd itself refused (permission denied, …) is, to the caller, a store that cannot be asked. */
function translateErrors<T extends Record<string, Operation>>(operations: T): T {
  const translate =
    (operation: Operation) =>
    async (...values: never[]) => {
      try {
        return await operation(...values);
      } catch (error) {
        if (error instanceof HoldfastError) throw error;
        const what = error instanceof EtcdError ? 'etcd refused' : 'etcd cannot be asked';
        throw unavailable(`${what}: ${(error as Error).message}`, error);
      }
    };
  return Object.fromEntries(Object.entries(operations).map(([name, one]) => [name, translate(one)])) as T;
}
