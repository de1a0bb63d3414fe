/** A `System` for tests and simulation: time moves only by `advance`, randomness comes from a seed. */
import type { System } from './system.ts';

export interface FakeSystem extends System {
  /** Moves all clocks on and runs the timers that fall due, in order; awaits microtasks between them. */
  advance(ms: number): Promise<void>;
}

interface Entry {
  dueMs: number;
  order: number;
  everyMs: number | null;
  callback: () => void;
}

export function createFakeSystem(seed = 1): FakeSystem {
  let nowMs = 0;
  let order = 0;
  let state = seed >>> 0 || 1;
  const entries = new Set<Entry>();

  // mulberry32: small, well distributed, replayable from one number.
  function fraction(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  function schedule(ms: number, callback: () => void, everyMs: number | null): () => void {
    const entry: Entry = { dueMs: nowMs + Math.max(0, ms), order: order++, everyMs, callback };
    entries.add(entry);
    return () => entries.delete(entry);
  }

  return {
    clock: {
      monotonicMs: () => nowMs,
      bootMs: () => nowMs + 1_000_000,
      wallMs: () => nowMs + 1_700_000_000_000,
    },
    random: {
      fraction,
      id: length => Array.from({ length }, () => Math.floor(fraction() * 36).toString(36)).join(''),
    },
    timers: {
      after: (ms, callback) => schedule(ms, callback, null),
      every: (ms, callback) => schedule(ms, callback, ms),
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason as Error);
          const cancel = schedule(ms, resolve, null);
          signal?.addEventListener('abort', () => (cancel(), reject(signal.reason as Error)), { once: true });
        }),
    },
    async advance(ms) {
      const endMs = nowMs + ms;
      for (;;) {
        await settle();
        const due = [...entries]
          .filter(entry => entry.dueMs <= endMs)
          .sort((a, b) => a.dueMs - b.dueMs || a.order - b.order)[0];
        if (!due) break;
        nowMs = Math.max(nowMs, due.dueMs);
        if (due.everyMs === null) entries.delete(due);
        else due.dueMs += due.everyMs;
        due.callback();
      }
      nowMs = endMs;
      await settle();
    },
  };
}

/** Lets promise callbacks that are ready run to their end. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}
