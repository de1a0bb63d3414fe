/**
 * Where requests wait for an owner, bounded in number. They are woken by directory events; a poll of their own makes
 * sure that a lost event strands nobody.
 */
import type { InstanceId, ResourceKey, System } from '#core';

export interface WaitingRoom {
  /** A place for one request, or null when all are taken. */
  enter(): Place | null;
  /** Wakes those who wait for a pool, or for one key of it. */
  wake(pool: InstanceId, key?: ResourceKey): void;
  wakeAll(): void;
  readonly waiting: number;
}

export interface Place {
  /** Resolves when woken, or after `ms`, or on `cancel`. */
  wait(pool: InstanceId, key: ResourceKey | null, ms: number): Promise<void>;
  /** What the promise settles to; undefined if `ms` pass or `cancel` comes before it. */
  until<Value>(promise: Promise<Value>, ms: number): Promise<Value | undefined>;
  /** Ends the present wait and every later one at once. */
  cancel(): void;
  leave(): void;
}

interface Waiter {
  key: ResourceKey | null;
  wake: () => void;
}

export function createWaitingRoom(system: System, placesMax: number): WaitingRoom {
  const pools = new Map<InstanceId, Set<Waiter>>();
  let taken = 0;

  function createPlace(): Place {
    let present = true;
    let cancelled = false;
    let wakeMe: (() => void) | null = null;

    function pause(ms: number, onEnd: () => void): Promise<void> {
      if (cancelled || ms <= 0) {
        onEnd();
        return Promise.resolve();
      }
      return new Promise(resolve => {
        const end = () => {
          if (wakeMe !== end) return;
          wakeMe = null;
          stopTimer();
          onEnd();
          resolve();
        };
        wakeMe = end;
        const stopTimer = system.timers.after(ms, end, { keepAlive: true });
      });
    }

    return {
      wait(pool, key, ms) {
        const waiters = pools.get(pool) ?? new Set();
        pools.set(pool, waiters);
        const waiter: Waiter = { key, wake: () => wakeMe?.() };
        waiters.add(waiter);
        return pause(ms, () => {
          waiters.delete(waiter);
          if (waiters.size === 0 && pools.get(pool) === waiters) pools.delete(pool);
        });
      },
      async until(promise, ms) {
        const paused = pause(ms, () => {}).then(() => undefined);
        try {
          return await Promise.race([promise, paused]);
        } finally {
          wakeMe?.();
        }
      },
      cancel() {
        cancelled = true;
        wakeMe?.();
      },
      leave() {
        if (present) taken -= 1;
        present = false;
      },
    };
  }

  return {
    enter() {
      if (taken >= placesMax) return null;
      taken += 1;
      return createPlace();
    },
    wake(pool, key) {
      // Waking takes waiters out of the set at once; new ones come in later turns only.
      for (const waiter of pools.get(pool) ?? []) {
        if (key === undefined || waiter.key === null || waiter.key === key) waiter.wake();
      }
    },
    wakeAll() {
      for (const pool of pools.keys()) this.wake(pool);
    },
    get waiting() {
      return taken;
    },
  };
}
