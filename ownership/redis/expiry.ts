/**
 * Ends sessions in time when nobody asks anything: each client asks when the next one may end, and at least every `paceMaxMs`, which also keeps
 * its knowledge of the store's time fresh. Many clients are told the same end, and so come a little apart.
 */
import type { System } from '#core';
import type { Connection } from './connection.ts';
import { expireScript } from './scripts/session-scripts.ts';

/** `attach` counts on it, see `sinceLastCallMaxMs` there. */
const paceMaxMs = 1_000;
const apartMs = 30;

export interface Expiry {
  /** Asks now. @throws HoldfastError HF_COORDINATION_UNAVAILABLE */
  look(): Promise<void>;
  /** A session ends in so many milliseconds at the earliest, unless it is renewed. */
  expect(ms: number): void;
  stop(): void;
}

export function createExpiry(connection: Connection, system: System): Expiry {
  const { clock, random, timers } = system;
  let stopped = false;
  let nextAtMs = Infinity;
  let cancel = () => {};

  function lookIn(ms: number): void {
    if (stopped) return;
    const pauseMs = Math.min(Math.max(1, ms) + random.fraction() * apartMs, paceMaxMs);
    const atMs = clock.monotonicMs() + pauseMs;
    if (atMs >= nextAtMs) return;
    cancel();
    nextAtMs = atMs;
    cancel = timers.after(pauseMs, () => {
      look().catch(() => lookIn(paceMaxMs)); // the connection tells that it is gone, and comes back by itself
    });
  }
  async function look(): Promise<void> {
    nextAtMs = Infinity;
    const [, endInMs] = (await connection.call(expireScript, [], { again: false })) as [string, string];
    lookIn(endInMs === '' ? paceMaxMs : Number(endInMs));
  }

  return {
    look,
    expect: lookIn,
    stop() {
      stopped = true;
      cancel();
    },
  };
}
