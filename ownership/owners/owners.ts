/**
 * The shell around the owner table: watches the directory, lists sessions after a gap, and claims. Requests for one key
 * share one claim, and the cold keys of one turn of the event loop share one round trip.
 */
import {
  type ClaimOutcome,
  type InstanceId,
  type Logger,
  type ResourceDirectory,
  type ResourceKey,
  type DirectoryEvent,
  type Holding,
  type Session,
  type SessionId,
  type System,
} from '#core';
import { createClaimBatches } from '../directory/claim-batches.ts';
import { createOwnerTable, type PoolKind } from './owner-entries.ts';
import {
  findClaim,
  findMoving,
  step,
  type KnownClaim,
  type OwnerEffect,
  type OwnerEvent,
} from './owner-table.ts';

export interface Owners {
  /** The cached owner of a key, unless it is giving the key away. */
  find(pool: InstanceId, key: ResourceKey): KnownClaim | undefined;
  /** The cached owner that is giving the key away; an event will tell who is next. */
  findMoving(pool: InstanceId, key: ResourceKey): KnownClaim | undefined;
  /** Asks the directory, and caches the answer. @throws HoldfastError HF_COORDINATION_UNAVAILABLE */
  claim(pool: InstanceId, key: ResourceKey): Promise<ClaimOutcome>;
  /**
   * The entry led nowhere: forget it. Or, if its owner is giving the key away (`moving`), ask nobody until an event tells more; if
   * none does, it is over with `unmoved`.
   */
  refuse(claim: Holding, why?: 'moving' | 'unmoved'): void;
  kind(pool: InstanceId): PoolKind;
  sessions(pool: InstanceId): Iterable<Session>;
  isEnded(sessionId: SessionId): boolean;
  /** Entries that are cached. */
  readonly known: number;
  /** Asks the directory for all sessions: for those who wait for a pool that seems empty. Resolves to whether it answered. */
  refresh(): Promise<boolean>;
  start(): void;
  stop(): void;
}

export interface OwnersDeps {
  directory: Pick<ResourceDirectory, 'claim' | 'claimMany' | 'sessions' | 'watch'>;
  system: System;
  log: Logger;
  /** Carries out all effects but `list-sessions`. */
  onEffect: (effect: Exclude<OwnerEffect, { type: 'list-sessions' }>) => void;
  /** Whether a request waits for the owner of this key. */
  isAwaited: (pool: InstanceId, key: ResourceKey) => boolean;
  /** Keys whose owner is remembered; about 200 bytes each. Default one million. */
  keysMax?: number;
}

export function createOwners(deps: OwnersDeps): Owners {
  const { directory, system, log } = deps;
  const table = createOwnerTable(deps.keysMax ?? 1_000_000);
  const none = new Map<SessionId, Session>();
  const pending = new Map<InstanceId, Map<ResourceKey, Promise<ClaimOutcome>>>();
  const claimInBatch = createClaimBatches(directory);
  let cancelListing = () => {};
  let listing: Promise<boolean> | null = null;
  let listAgain = false;
  let unwatch: (() => void) | null = null;

  function apply(event: OwnerEvent): void {
    for (const effect of step(table, event)) {
      if (effect.type === 'list-sessions') listSoon(effect.afterMs);
      else deps.onEffect(effect);
    }
  }

  function onEvent(event: DirectoryEvent): void {
    if (event.type === 'moved' && deps.isAwaited(event.claim.pool, event.claim.key)) {
      apply({ type: 'claimed', claim: event.claim }); // so that whoever is woken by it need not ask
    }
    apply(event);
  }

  function listSoon(afterMs: number): void {
    cancelListing();
    if (afterMs === 0) void refresh(true);
    else cancelListing = system.timers.after(afterMs, () => void refresh(true));
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
        const sessions = await directory.sessions();
        apply({ type: 'listed', sessions, nowMs: system.clock.monotonicMs() });
      } while (listAgain);
      return true;
    } catch (error) {
      log.debug({ err: error }, 'sessions could not be listed'); // those who wait ask again
      return false;
    } finally {
      listing = null;
    }
  }

  async function ask(pool: InstanceId, key: ResourceKey): Promise<ClaimOutcome> {
    const outcome = await claimInBatch(pool, key);
    if (outcome.owned) apply({ type: 'claimed', claim: outcome.claim });
    return outcome;
  }

  return {
    find: (pool, key) => findClaim(table, pool, key),
    findMoving: (pool, key) => findMoving(table, pool, key),
    claim(pool, key) {
      let ofPool = pending.get(pool);
      if (!ofPool) pending.set(pool, (ofPool = new Map<ResourceKey, Promise<ClaimOutcome>>()));
      let claim = ofPool.get(key);
      if (!claim) {
        claim = ask(pool, key).finally(() => ofPool.delete(key));
        ofPool.set(key, claim);
      }
      return claim;
    },
    refuse: (claim, why) => apply({ type: why ?? 'refused', claim }),
    kind: pool => table.pools.get(pool)?.kind ?? 'unknown',
    sessions: pool => (table.pools.get(pool)?.sessions ?? none).values(),
    isEnded: sessionId => table.ended.has(sessionId),
    get known() {
      return table.entryCount;
    },
    refresh: () => refresh(),
    start() {
      unwatch ??= directory.watch(onEvent);
      void refresh(true);
    },
    stop() {
      unwatch?.();
      unwatch = null;
      cancelListing();
    },
  };
}
