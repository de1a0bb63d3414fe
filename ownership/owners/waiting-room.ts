/**
 * Where requests wait for an owner, bounded in number. They are woken by directory events; a time limit of their own makes
 * sure that a lost event strands nobody. Who waits listens *before* it looks, so that what happens meanwhile is not missed.
 */
import type { InstanceId, ResourceKey, System } from '#core';

export interface WaitingRoom {
  /** A place for one request, or null when all are taken. */
  enter(): Place | null;
  /** Wakes those who wait for a pool, or for one key of it. */
  wake(pool: InstanceId, key?: ResourceKey): void;
  wakeAll(): void;
  /** Whether somebody waits for news of this very key. */
  isAwaited(pool: InstanceId, key: ResourceKey): boolean;
  readonly waiting: number;
}

export interface Place {
  /** Hears news of a pool (of one key of it and what concerns all) from now on, until `stop`. */
  listen(pool: InstanceId, key: ResourceKey | null): News;
  /** What the promise settles to; undefined if `ms` pass or `cancel` comes before it. */
  until<Value>(promise: Promise<Value>, ms: number): Promise<Value | undefined>;
  /** Ends the present wait and every later one at once. */
  cancel(): void;
  leave(): void;
}

export interface News {
  /** Resolves to true when there has been news since `listen`, to false after `ms` or on `cancel`. */
  wait(ms: number): Promise<boolean>;
  stop(): void;
}

interface Listener {
  heard: boolean;
  wake: () => void;
}

type Listeners = Map<ResourceKey | null, Set<Listener>>;

export function createWaitingRoom(system: System, placesMax: number): WaitingRoom {
  const pools = new Map<InstanceId, Listeners>();
  let taken = 0;

  function add(pool: InstanceId, key: ResourceKey | null, listener: Listener): () => void {
    let keys = pools.get(pool);
    if (!keys) pools.set(pool, (keys = new Map()));
    let listeners = keys.get(key);
    if (!listeners) keys.set(key, (listeners = new Set()));
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || keys.get(key) !== listeners) return;
      keys.delete(key);
      if (keys.size === 0 && pools.get(pool) === keys) pools.delete(pool);
    };
  }

  function tell(listeners: Iterable<Listener> | undefined): void {
    for (const listener of listeners ?? []) {
      listener.heard = true;
      listener.wake();
    }
  }

  function createPlace(): Place {
    let present = true;
    let cancelled = false;
    let endPause: (() => void) | null = null;

    function pause(ms: number): Promise<void> {
      if (cancelled || ms <= 0) return Promise.resolve();
      return new Promise(resolve => {
        const end = () => {
          if (endPause !== end) return;
          endPause = null;
          stopTimer();
          resolve();
        };
        endPause = end;
        const stopTimer = system.timers.after(ms, end, { keepAlive: true });
      });
    }

    return {
      listen(pool, key) {
        let pausing = false;
        const listener: Listener = {
          heard: false,
          wake() {
            if (pausing) endPause?.();
          },
        };
        const stop = add(pool, key, listener);
        return {
          async wait(ms) {
            pausing = true;
            if (!listener.heard) await pause(ms);
            pausing = false;
            return listener.heard;
          },
          stop,
        };
      },
      async until(promise, ms) {
        const paused = pause(ms).then(() => undefined);
        try {
          return await Promise.race([promise, paused]);
        } finally {
          endPause?.();
        }
      },
      cancel() {
        cancelled = true;
        endPause?.();
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
      const keys = pools.get(pool);
      if (!keys) return;
      if (key === undefined) {
        for (const listeners of keys.values()) tell(listeners);
      } else {
        tell(keys.get(key));
        tell(keys.get(null));
      }
    },
    wakeAll() {
      for (const pool of pools.keys()) this.wake(pool);
    },
    isAwaited: (pool, key) => pools.get(pool)?.has(key) ?? false,
    get waiting() {
      return taken;
    },
  };
}
