/**
 * Finds the host for a request: at once from the cache, else by asking the directory until the request's hold time is
 * over. After a failed attempt it waits for news (or a short pause) before it names the very same right again, because
 * between a death and its proof the directory still names the dead.
 */
import {
  HoldfastError,
  type Claim,
  type InstanceId,
  type ProcessId,
  type ResourceKey,
  type SessionId,
  type System,
} from '#core';
import { leastBusy, sameRight } from './owner-table.ts';
import type { Owners } from './owners.ts';
import { backoffMs } from './retry-rule.ts';
import type { Upstreams } from './upstreams.ts';
import type { Place } from './waiting-room.ts';

export interface Target {
  sessionId: SessionId;
  processId: ProcessId;
  address: string;
  /** Null in balanced pools. */
  claim: Claim | null;
}

export interface Quest {
  pool: InstanceId;
  /** Not asked for in balanced pools. */
  key: () => ResourceKey;
  place: Place;
  /** Monotonic. */
  deadlineMs: number;
  /** Where the last attempt failed, and how many have failed. */
  failed: Target | null;
  failures: number;
}

export type Finding =
  { found: true; target: Target } | { found: false; reason: 'no-owner' | 'coordination-unavailable' };

export interface OwnerSearch {
  /** What the cache knows. */
  immediate(pool: InstanceId, key: () => ResourceKey): Target | null;
  /** Ends with the deadline, or when the place is cancelled. */
  search(quest: Quest, cancelled: () => boolean): Promise<Finding>;
}

/** A look that the deadline cuts off sooner than this says nothing about the directory. */
const fairLookMs = 1_000;

/** So many failures may follow each other quickly; after that every look at the directory is preceded by a pause. */
const quickFailuresMax = 3;

export function createOwnerSearch(deps: {
  owners: Owners;
  upstreams: Pick<Upstreams, 'inFlight'>;
  system: System;
}): OwnerSearch {
  const { owners, upstreams, system } = deps;
  let turn = 0;

  function balanced(pool: InstanceId, avoid?: SessionId): Target | null {
    const session = leastBusy(owners.sessions(pool), upstreams.inFlight, turn++, avoid);
    return session && { ...session, claim: null };
  }

  /** `late`: the deadline came before the answer. */
  type Look = Target | 'no-owner' | 'coordination-unavailable' | 'late';

  async function look(quest: Quest, leftMs: number): Promise<Look> {
    const { pool, place } = quest;
    if (owners.kind(pool) === 'unknown') {
      const answered = await place.until(owners.refresh(), leftMs);
      if (!answered) return answered === undefined ? 'late' : 'coordination-unavailable';
    }
    switch (owners.kind(pool)) {
      case 'unknown':
        return 'no-owner';
      case 'balanced':
        return balanced(pool, quest.failed?.sessionId) ?? 'no-owner';
      case 'owned':
        return claim(pool, quest.key(), place, leftMs);
    }
  }

  async function claim(pool: InstanceId, key: ResourceKey, place: Place, leftMs: number): Promise<Look> {
    const cached = owners.find(pool, key);
    if (cached) return targetOf(cached);
    try {
      const outcome = await place.until(owners.claim(pool, key), leftMs);
      if (!outcome) return 'late';
      return outcome.owned && !owners.isEnded(outcome.claim.sessionId) ? targetOf(outcome.claim) : 'no-owner';
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'HF_COORDINATION_UNAVAILABLE') {
        return 'coordination-unavailable';
      }
      throw error;
    }
  }

  return {
    immediate(pool, key) {
      switch (owners.kind(pool)) {
        case 'unknown':
          return null;
        case 'balanced':
          return balanced(pool);
        case 'owned': {
          const cached = owners.find(pool, key());
          return cached ? targetOf(cached) : null;
        }
      }
    },
    async search(quest, cancelled) {
      const { pool, place, failed, failures } = quest;
      let reason: 'no-owner' | 'coordination-unavailable' = 'no-owner';
      let answered = false;
      let paused = false;
      for (let tries = Math.max(0, failures - 1); ; tries++) {
        const leftMs = quest.deadlineMs - system.clock.monotonicMs();
        if (leftMs <= 0 || cancelled()) return { found: false, reason };
        const seen = await look(quest, leftMs);
        if (typeof seen === 'object') {
          if (paused || (failures <= quickFailuresMax && !same(seen, failed))) {
            return { found: true, target: seen };
          }
          if (seen.claim) owners.refuse(seen.claim); // so that the next look asks the directory
          reason = 'no-owner';
          answered = true;
        } else if (seen === 'late') {
          if (!answered || leftMs >= fairLookMs) reason = 'coordination-unavailable';
          continue; // the time is over, or the request is
        } else {
          reason = seen;
          answered = true;
          // The listing tells of sessions whose opening was missed.
          if (seen === 'no-owner' && owners.kind(pool) === 'balanced') void owners.refresh();
        }
        const key = owners.kind(pool) === 'owned' ? quest.key() : null;
        await place.wait(pool, key, Math.min(backoffMs(tries), leftMs));
        paused = true;
      }
    },
  };
}

function targetOf(claim: Claim): Target {
  const { sessionId, processId, address } = claim;
  return { sessionId, processId, address, claim };
}

function same(target: Target, other: Target | null): boolean {
  if (!other || target.sessionId !== other.sessionId) return false;
  return !target.claim || !other.claim || sameRight(target.claim, other.claim);
}
