/**
 * `watch` for any store that can be inspected: level-triggered, so that nothing depends on having seen every change. It looks again
 * at a pace, when the lease that it saw is due to end, and at once when the store gives a hint. A hint says only "look";
 * a lost one costs a poll interval. Failed looks are repeated with growing pauses, for as long as somebody watches.
 */
import type { LeaseHolder, LeaseService, System } from '#core';
import { checkLeaseArguments } from './validation.ts';

/**
 * A store's way to push: calls `look` when the lease may have changed (too often does no harm, never is covered by the poll).
 * The result ends it. Must not throw.
 */
export type WatchHint = (name: string, look: () => void) => () => void;

export interface WatchPorts {
  inspect: LeaseService['inspect'];
  system: System;
  hint?: WatchHint | undefined;
  /** Longest time between two looks, default 500; 5000 where the store gives hints. */
  pollMs?: number | undefined;
}

const pauseMs = { min: 20, firstFailure: 100, maxFailure: 2_000 };

/** Makes `LeaseService.watch`. It does not keep the process alive. */
export function createWatch(ports: WatchPorts): LeaseService['watch'] {
  const { system, hint } = ports;
  const pollMs = ports.pollMs ?? (hint ? 5_000 : 500);

  return (name, listener) => {
    checkLeaseArguments({ name });
    let stopped = false;
    let told: { holder: LeaseHolder | null } | null = null;
    let failures = 0;
    let looking = false;
    let lookAgain = false;
    let cancelTimer = () => {};

    function tell(holder: LeaseHolder | null): void {
      if (told && isSame(told.holder, holder)) return;
      told = { holder };
      // On its own, so that a listener that throws is an uncaught exception and not the end of the watch.
      queueMicrotask(() => {
        if (!stopped) listener(holder);
      });
    }

    async function look(): Promise<void> {
      if (stopped) return;
      if (looking) {
        lookAgain = true;
        return;
      }
      cancelTimer();
      looking = true;
      lookAgain = false;
      let nextMs: number;
      try {
        const holder = await ports.inspect(name);
        failures = 0;
        if (!stopped) tell(holder);
        nextMs = holder ? Math.min(pollMs, Math.max(pauseMs.min, holder.expiresInMs + 1)) : pollMs;
      } catch {
        // The store is away; what was told last stands until it can be asked again.
        nextMs = Math.min(pauseMs.firstFailure * 2 ** failures++, pauseMs.maxFailure);
        nextMs *= 0.75 + system.random.fraction() / 2;
      }
      looking = false;
      if (stopped) return;
      cancelTimer = system.timers.after(lookAgain ? 0 : nextMs, () => void look());
    }

    const cancelHint = hint?.(name, () => void look()) ?? (() => {});
    void look();
    return () => {
      if (stopped) return;
      stopped = true;
      cancelTimer();
      cancelHint();
    };
  };
}

function isSame(one: LeaseHolder | null, other: LeaseHolder | null): boolean {
  return one?.fence === other?.fence && one?.holder === other?.holder;
}
