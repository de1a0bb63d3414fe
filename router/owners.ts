/**
 * The shell around the owner table: watches the directory, lists sessions after a gap, and claims. Requests for one key
 * share one claim, and the cold keys of one turn of the event loop share one round trip.
 */
import {
  HoldfastError,
  type Claim,
  type ClaimOutcome,
  type InstanceId,
  type Logger,
  type ResourceDirectory,
  type ResourceKey,
  type Session,
  type SessionId,
} from '#core';
import {
  createOwnerTable,
  findClaim,
  step,
  type OwnerEffect,
  type OwnerEvent,
  type PoolKind,
} from './owner-table.ts';

export interface Owners {
  /** The cached owner of a key. */
  find(pool: InstanceId, key: ResourceKey): Claim | undefined;
  /** Asks the directory, and caches the answer. @throws HoldfastError HF_COORDINATION_UNAVAILABLE */
  claim(pool: InstanceId, key: ResourceKey): Promise<ClaimOutcome>;
  /** The entry led nowhere: forget it. */
  refuse(claim: Claim): void;
  kind(pool: InstanceId): PoolKind;
  sessions(pool: InstanceId): Iterable<Session>;
  isEnded(sessionId: SessionId): boolean;
  /** Asks the directory for all sessions: for those who wait for a pool that seems empty. Resolves to whether it answered. */
  refresh(): Promise<boolean>;
  start(): void;
  stop(): void;
}

export interface OwnersDeps {
  directory: ResourceDirectory;
  log: Logger;
  /** Carries out all effects but `list-sessions`. */
  onEffect: (effect: Exclude<OwnerEffect, { type: 'list-sessions' }>) => void;
  claimsMax?: number;
}

interface Batch {
  keys: ResourceKey[];
  settle: { resolve: (outcome: ClaimOutcome) => void; reject: (error: unknown) => void }[];
}

const batchMax = 1_000;

export function createOwners(deps: OwnersDeps): Owners {
  const { directory, log } = deps;
  const table = createOwnerTable(deps.claimsMax ?? 100_000);
  const none = new Map<SessionId, Session>();
  const pending = new Map<string, Promise<ClaimOutcome>>();
  const batches = new Map<InstanceId, Batch>();
  let listing: Promise<boolean> | null = null;
  let listAgain = false;
  let unwatch: (() => void) | null = null;

  function apply(event: OwnerEvent): void {
    for (const effect of step(table, event)) {
      if (effect.type === 'list-sessions') void refresh(true);
      else deps.onEffect(effect);
    }
  }

  /** @param afresh a listing that runs already may be too old: then another follows it */
  function refresh(afresh = false): Promise<boolean> {
    if (listing) listAgain ||= afresh;
    else listing = list();
    return listing;
  }

  async function list(): Promise<boolean> {
    try {
      do {
        listAgain = false;
        apply({ type: 'listing-began' });
        apply({ type: 'listed', sessions: await directory.sessions() });
      } while (listAgain);
      return true;
    } catch (error) {
      log.debug({ err: error }, 'sessions could not be listed'); // those who wait ask again
      return false;
    } finally {
      listing = null;
    }
  }

  function flush(pool: InstanceId): void {
    const batch = batches.get(pool)!;
    batches.delete(pool);
    for (let from = 0; from < batch.keys.length; from += batchMax) {
      void claimBatch(
        pool,
        batch.keys.slice(from, from + batchMax),
        batch.settle.slice(from, from + batchMax),
      );
    }
  }

  async function claimBatch(pool: InstanceId, keys: ResourceKey[], settle: Batch['settle']): Promise<void> {
    try {
      const outcomes =
        keys.length === 1 ? [await directory.claim(pool, keys[0]!)] : await directory.claimMany(pool, keys);
      settle.forEach(({ resolve, reject }, index) => {
        const outcome = outcomes[index];
        if (!outcome) return reject(new HoldfastError('HF_INTERNAL', 'the directory left a key out'));
        if (outcome.owned) apply({ type: 'claimed', claim: outcome.claim });
        resolve(outcome);
      });
    } catch (error) {
      for (const { reject } of settle) reject(error);
    }
  }

  function ask(pool: InstanceId, key: ResourceKey): Promise<ClaimOutcome> {
    let batch = batches.get(pool);
    if (!batch) {
      batch = { keys: [], settle: [] };
      batches.set(pool, batch);
      // After the poll phase: by then every request that has arrived meanwhile is in.
      setImmediate(flush, pool);
    }
    batch.keys.push(key);
    const { promise, resolve, reject } = Promise.withResolvers<ClaimOutcome>();
    batch.settle.push({ resolve, reject });
    return promise;
  }

  return {
    find: (pool, key) => findClaim(table, pool, key),
    claim(pool, key) {
      const id = `${pool}\0${key}`;
      let claim = pending.get(id);
      if (!claim) {
        claim = ask(pool, key).finally(() => pending.delete(id));
        pending.set(id, claim);
      }
      return claim;
    },
    refuse: claim => apply({ type: 'refused', claim }),
    kind: pool => table.pools.get(pool)?.kind ?? 'unknown',
    sessions: pool => (table.pools.get(pool)?.sessions ?? none).values(),
    isEnded: sessionId => table.ended.has(sessionId),
    refresh: () => refresh(),
    start() {
      unwatch ??= directory.watch(apply);
      void refresh(true);
    },
    stop() {
      unwatch?.();
      unwatch = null;
    },
  };
}
