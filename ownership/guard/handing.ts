/**
 * Hand-offs that somebody asked for: who waits for which key, what is done when the time is over, and many of them a few at a
 * time. The steps themselves are the key machine's.
 */
import type { Claim, Fence, ResourceKey, SessionId, System } from '#core';
import type { HandOffOutcome, HandOffRequest } from './contract.ts';
import type { GuardEvent } from './step.ts';

export interface HandingPorts {
  system: System;
  dispatch: (event: GuardEvent) => void;
  /** The fence under which this host holds the key, null when it does not. @throws HoldfastError when the directory cannot be asked */
  findFence: (key: ResourceKey) => Promise<Fence | null>;
}

export interface Handing {
  handOff(request: HandOffRequest, signal?: AbortSignal): Promise<HandOffOutcome>;
  handOffAll(
    keys: { key: ResourceKey; fence: Fence }[],
    to: SessionId | null,
    signal?: AbortSignal,
  ): Promise<{ key: ResourceKey; claim: Claim | null }[]>;
  /** A hand-off of this key has ended. */
  ended(key: ResourceKey, outcome: HandOffOutcome): void;
}

/** Keys that are handed off at the same time when many are asked for. */
const atOnceMax = 8;
/** How long a resource may take to close after its time is over. Whoever asked is told then; closing goes on, and what follows it. */
const closeMs = 5_000;

export function createHanding({ system, dispatch, findFence }: HandingPorts): Handing {
  const waiting = new Map<ResourceKey, PromiseWithResolvers<HandOffOutcome>>();

  function ended(key: ResourceKey, outcome: HandOffOutcome): void {
    const found = waiting.get(key);
    waiting.delete(key);
    found?.resolve(outcome);
  }

  async function handOff(request: HandOffRequest, signal?: AbortSignal): Promise<HandOffOutcome> {
    const { key, to } = request;
    const fence = request.fence ?? (await findFence(key));
    if (fence === null) return { moved: false, claim: null };
    const joined = waiting.get(key) ?? Promise.withResolvers<HandOffOutcome>();
    waiting.set(key, joined);
    let cancel = () => {};
    const onLate = () => {
      dispatch({ type: 'hand-off-late', key });
      cancel = system.timers.after(closeMs, () => ended(key, { moved: false, claim: null }));
    };
    dispatch({ type: 'hand-off', key, fence, to });
    if (signal?.aborted) onLate();
    else signal?.addEventListener('abort', onLate, { once: true });
    try {
      return await joined.promise;
    } finally {
      signal?.removeEventListener('abort', onLate);
      cancel();
    }
  }

  return {
    ended,
    handOff,
    async handOffAll(keys, to, signal) {
      const queue = [...keys];
      const moved: { key: ResourceKey; claim: Claim | null }[] = [];
      const work = async () => {
        for (let next = queue.shift(); next && !signal?.aborted; next = queue.shift()) {
          const outcome = await handOff({ ...next, to }, signal);
          if (outcome.moved) moved.push({ key: next.key, claim: outcome.claim });
        }
      };
      await Promise.all(Array.from({ length: atOnceMax }, work));
      return moved;
    },
  };
}
