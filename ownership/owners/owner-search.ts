/**
 * Finds the host for a request: at once from the cache, else by asking the directory until the request's hold time is
 * over. After a failed attempt it waits for news (or a short pause) before it names the very same right again, because
 * between a death and its proof the directory still names the dead.
 */
import {
  HoldfastError,
  type Holding,
  type InstanceId,
  type ProcessId,
  type ResourceKey,
  type SessionId,
  type System,
} from '#core';
import { leastBusy, sameRight } from './owner-table.ts';
import type { Owners } from './owners.ts';
import { pauseMs, type Failure, type Fruitless } from './retry-rule.ts';
import type { Upstreams } from './upstreams.ts';
import type { Place } from './waiting-room.ts';

export interface Target {
  sessionId: SessionId;
  processId: ProcessId;
  address: string;
  /** Null in balanced pools. */
  claim: Holding | null;
}

export interface Quest {
  pool: InstanceId;
  /** Not asked for in balanced pools. */
  key: () => ResourceKey;
  place: Place;
  /** Monotonic. */
  deadlineMs: number;
  /** Where the last attempt failed, and how. */
  failed: { target: Target; failure: Failure } | null;
  /** How many have failed. */
  failures: number;
}

/**
 * Why there is no owner in time. `no-owner`: nobody may take the key. `recovering`: the store has forgotten and gives nothing out
 * yet. `unavailable`: it does not answer.
 */
export type NotFound = 'no-owner' | 'paused' | 'recovering' | 'unavailable';

export type Finding = { found: true; target: Target } | { found: false; reason: NotFound };

/** The error that says so. Nothing was executed. */
export function notFound(reason: NotFound, pool: InstanceId): HoldfastError {
  switch (reason) {
    case 'no-owner':
      return new HoldfastError(
        'HF_NO_OWNER',
        `no live host of ${pool} could take the request in time; nothing was executed`,
      );
    case 'paused':
      return new HoldfastError(
        'HF_KEY_PAUSED',
        'an operator has paused the key and did not resume it in time; nothing was sent',
      );
    case 'recovering':
      return new HoldfastError(
        'HF_COORDINATION_UNAVAILABLE',
        'the coordination store has lost its memory and is asking the hosts what they own; nothing was sent',
      );
    case 'unavailable':
      return new HoldfastError(
        'HF_COORDINATION_UNAVAILABLE',
        'the owner cannot be found out; nothing was sent',
      );
  }
}

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

  /** `late`: the deadline came before the answer. `moving`: its owner is giving the key away. */
  type Look = Target | NotFound | 'late' | 'moving';

  async function look(quest: Quest, leftMs: number): Promise<Look> {
    const { pool, place } = quest;
    if (owners.kind(pool) === 'unknown') {
      const answered = await place.until(owners.refresh(), leftMs);
      if (!answered) return answered === undefined ? 'late' : 'unavailable';
    }
    switch (owners.kind(pool)) {
      case 'unknown':
        return 'no-owner';
      case 'balanced':
        return balanced(pool, quest.failed?.target.sessionId) ?? 'no-owner';
      case 'owned':
        return claim(pool, quest.key(), place, leftMs);
    }
  }

  async function claim(pool: InstanceId, key: ResourceKey, place: Place, leftMs: number): Promise<Look> {
    const cached = owners.find(pool, key);
    if (cached) return targetOf(cached);
    if (owners.findMoving(pool, key)) return 'moving';
    try {
      const outcome = await place.until(owners.claim(pool, key), leftMs);
      if (!outcome) return 'late';
      if (!outcome.owned) return outcome.reason === 'no-live-host' ? 'no-owner' : outcome.reason;
      // An event may have overtaken the answer.
      const newer = owners.find(pool, key);
      if (newer) return targetOf(newer);
      return owners.isEnded(outcome.claim.sessionId) ? 'no-owner' : targetOf(outcome.claim);
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'HF_COORDINATION_UNAVAILABLE')
        return 'unavailable';
      throw error;
    }
  }

  /** Waits as long as `why` advises; news only helps if it brings something else than what has failed. */
  async function search(quest: Quest, cancelled: () => boolean): Promise<Finding> {
    const { pool, place, failed, failures } = quest;
    const now = system.clock.monotonicMs;
    let reason: NotFound = 'no-owner';
    let answered = false;
    let tries = Math.max(0, failures - 1);
    /** Since when the look has been fruitless, and so until when it is worth a pause. */
    let pausedSinceMs: number | null = null;
    let again = false;
    for (;;) {
      const leftMs = quest.deadlineMs - now();
      if (leftMs <= 0 || cancelled()) return { found: false, reason };
      const news = place.listen(pool, owners.kind(pool) === 'balanced' ? null : quest.key());
      try {
        const seen = await look(quest, leftMs);
        let why: Fruitless;
        if (typeof seen === 'object') {
          const repeats = failed !== null && same(seen, failed.target);
          if (again || (failures <= quickFailuresMax && !repeats)) return { found: true, target: seen };
          why = repeats && failed.failure === 'not-owner' ? 'refused' : 'same-right';
          // Either the next look asks the directory, or nobody asks anybody until there is news.
          if (seen.claim && why === 'refused') owners.refuse(seen.claim, 'moving');
          else if (seen.claim) owners.refuse(seen.claim);
          reason = 'no-owner';
        } else if (seen === 'late') {
          if (!answered || leftMs >= fairLookMs) reason = 'unavailable';
          continue; // the time is over, or the request is
        } else if (seen === 'moving') {
          why = 'refused';
          reason = 'no-owner';
        } else {
          why = seen === 'no-owner' ? 'nobody' : seen;
          reason = seen;
          // The listing tells of sessions whose opening was missed.
          if (seen === 'no-owner' && owners.kind(pool) === 'balanced') void owners.refresh();
        }
        answered = true;
        pausedSinceMs ??= now();
        const pause = pausedSinceMs + pauseMs(why, tries) - now();
        if (!(await news.wait(Math.min(pause, leftMs)))) {
          again = true;
          tries += 1;
          pausedSinceMs = null;
          // Nothing was told, so it may have come to nothing: the next look asks the directory.
          const moving = why === 'refused' && owners.findMoving(pool, quest.key());
          if (moving) owners.refuse(moving, 'unmoved');
        }
      } finally {
        news.stop();
      }
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
    search,
  };
}

function targetOf(claim: Holding & { processId: ProcessId; address: string }): Target {
  const { sessionId, processId, address } = claim;
  return { sessionId, processId, address, claim };
}

function same(target: Target, other: Target): boolean {
  if (target.sessionId !== other.sessionId) return false;
  return !target.claim || !other.claim || sameRight(target.claim, other.claim);
}
