/** `LeaseService` in memory, over the production rule and helpers: for tests of what stands on leases. */
import type { Fence, LeaseGrant, LeaseHolder, LeaseService, System } from '#core';
import {
  checkLeaseArguments,
  checkListQuery,
  compareNames,
  createHold,
  createWatch,
  decideLease,
  type LeaseRecord,
  type LeaseRequest,
} from '#leases';

export interface InMemoryLeasesOptions {
  system: System;
  /** Before every operation; rejects while the store is told to fail. */
  enter: () => Promise<void>;
}

export function createInMemoryLeases({ system, enter }: InMemoryLeasesOptions): LeaseService {
  const records = new Map<string, LeaseRecord>();
  const looking = new Map<string, Set<() => void>>();
  let lastFence = 0n;
  const now = () => system.clock.monotonicMs();
  const holderOf = (name: string, record: LeaseRecord): LeaseHolder => ({
    name,
    holder: record.holder,
    fence: record.fence,
    expiresInMs: record.expiresAtMs - now(),
  });

  /** Decides and keeps what was decided; resolves to the lease as it is then, and whether the request was granted. */
  async function ask(name: string, request: LeaseRequest): Promise<[boolean, LeaseRecord | null]> {
    await enter();
    const decision = decideLease(records.get(name) ?? null, request, now());
    if (decision.type === 'refuse') return [false, decision.current];
    let record: LeaseRecord | null = null;
    if (decision.type === 'extend') record = decision.record;
    if (decision.type === 'grant') {
      record = { holder: request.holder, fence: ++lastFence as Fence, expiresAtMs: decision.expiresAtMs };
    }
    if (record) records.set(name, record);
    else records.delete(name);
    for (const look of looking.get(name) ?? []) look();
    return [true, record];
  }
  async function grant(name: string, request: LeaseRequest): Promise<LeaseGrant> {
    const [acquired, record] = await ask(name, request);
    if (!record) return { acquired: false, fence: null, expiresInMs: 0, holder: null };
    const { holder, fence, expiresInMs } = holderOf(name, record);
    return { acquired, holder, fence, expiresInMs };
  }

  const basics: Omit<LeaseService, 'watch' | 'hold'> = {
    async tryAcquire(name, holder, ttlMs) {
      checkLeaseArguments({ name, holder, ttlMs });
      return grant(name, { type: 'acquire', holder, ttlMs });
    },
    async renew(name, holder, fence, ttlMs) {
      checkLeaseArguments({ name, holder, fence, ttlMs });
      return grant(name, { type: 'renew', holder, fence, ttlMs });
    },
    async release(name, holder, fence) {
      checkLeaseArguments({ name, holder, fence });
      const [released] = await ask(name, { type: 'release', holder, fence });
      return released;
    },
    async inspect(name) {
      checkLeaseArguments({ name });
      await enter();
      const record = records.get(name);
      return record && now() < record.expiresAtMs ? holderOf(name, record) : null;
    },
    async list(query) {
      const { prefix, limit, cursor } = checkListQuery(query);
      await enter();
      const found = [...records]
        .filter(([name, record]) => name.startsWith(prefix) && now() < record.expiresAtMs)
        .filter(([name]) => cursor === null || compareNames(name, cursor) > 0)
        .sort(([a], [b]) => compareNames(a, b))
        .map(([name, record]) => holderOf(name, record));
      const leases = found.slice(0, limit);
      return { leases, cursor: found.length > limit ? leases.at(-1)!.name : null };
    },
  };
  const watch = createWatch({
    system,
    inspect: name => basics.inspect(name),
    hint(name, look) {
      const looks = looking.get(name) ?? new Set();
      looking.set(name, looks.add(look));
      return () => {
        looks.delete(look);
        if (looks.size === 0) looking.delete(name);
      };
    },
  });
  const primitives = { ...basics, watch };
  return { ...primitives, hold: createHold({ primitives, system }) };
}
