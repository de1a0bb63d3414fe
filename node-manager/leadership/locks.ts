/**
 * Locks for operations of which there must be only one at a time, in the whole cluster or for one node, whichever manager carries them out: the
 * leader lease alone does not say when what a deposed leader began is over. They are leases of the coordination store (on Redis: redlock).
 *
 * The work gets a signal that is aborted before the lock can be another's; it must look at it before each effect.
 */
import { HoldfastError, type LeaseService } from '#core';

/** Packages that are pushed or removed; the settings document; the cluster's whole state, in a restore; a node's maintenance. */
export type LockName = 'packages' | 'settings' | 'restore' | `node/${string}`;

export interface Locks {
  /**
   * Resolves to what `work` resolves to.
   * @throws HoldfastError HF_UNAVAILABLE when somebody else has the lock for longer than the wait, or when it was lost before the work was
   * over (what was done of it is not known); HF_COORDINATION_UNAVAILABLE; whatever the work throws
   */
  hold<Result>(
    name: LockName,
    work: (signal: AbortSignal) => Promise<Result>,
    options?: { waitMs?: number; signal?: AbortSignal },
  ): Promise<Result>;
}

const prefix = 'node-manager/lock/';
const defaultWaitMs = 5_000;

/** @param holder the processId */
export function createLocks(leases: LeaseService, holder: string, ttlMs: number): Locks {
  return {
    async hold(name, work, { waitMs = defaultWaitMs, signal } = {}) {
      const outcome = await leases.hold(
        prefix + name,
        { holder, ttlMs, waitMs, ...(signal ? { signal } : {}) },
        work,
      );
      if (!outcome.acquired) {
        throw new HoldfastError(
          'HF_UNAVAILABLE',
          `another operation holds the lock "${name}" (${outcome.holder ?? 'it was given back this moment'}); try again when it is over`,
          { details: { lock: name, holder: outcome.holder } },
        );
      }
      if (!outcome.heldToTheEnd) {
        throw new HoldfastError(
          'HF_UNAVAILABLE',
          `the lock "${name}" was lost before the operation was over; look at what was done of it, and repeat it`,
          { details: { lock: name } },
        );
      }
      return outcome.value;
    },
  };
}
