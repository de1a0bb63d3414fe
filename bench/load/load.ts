/** Starts the process of `generator.ts` and adds up what it reports. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Failure, LoadPlan, Window } from './generator.ts';

export interface LoadTotals {
  answered: number;
  failedIdempotent: number;
  failedOthers: number;
  wrong: number;
  examples: Failure[];
  /** Second by second; the last one is not a whole one. */
  windows: Omit<Window, 'examples'>[];
}

export interface RunningLoad {
  totals: Readonly<LoadTotals>;
  /** Resolves when so many were answered in all. @throws when the load ends before */
  answered(count: number): Promise<void>;
  /** Lets what is open finish. Idempotent. */
  stop(): Promise<LoadTotals>;
}

const examplesMax = 20;

export function startLoadProcess(plan: LoadPlan): RunningLoad {
  const child = fork(join(import.meta.dirname, 'generator.ts'));
  const totals: LoadTotals = {
    answered: 0,
    failedIdempotent: 0,
    failedOthers: 0,
    wrong: 0,
    examples: [],
    windows: [],
  };
  const listeners = new Set<() => void>();
  child.on('message', ({ examples, ...window }: Window) => {
    for (const name of ['answered', 'failedIdempotent', 'failedOthers', 'wrong'] as const)
      totals[name] += window[name];
    totals.examples.push(...examples.slice(0, examplesMax - totals.examples.length));
    totals.windows.push(window);
    for (const listener of listeners) listener();
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  child.send(plan);
  let stopped: Promise<LoadTotals> | null = null;
  return {
    totals,
    async answered(count) {
      while (totals.answered < count) {
        let listener = () => {};
        const more = new Promise<void>(resolve => listeners.add((listener = resolve)));
        await Promise.race([
          more,
          exited.then(([code]) => Promise.reject(new Error(`the load ended with ${code}`))),
        ]);
        listeners.delete(listener);
      }
    },
    stop() {
      return (stopped ??= (async () => {
        if (child.connected) child.send('stop');
        const [code] = await exited;
        if (code !== 0) throw new Error(`the load ended with ${code}`);
        return totals;
      })());
    },
  };
}

/** Requests a second that such a load gets out of what it is sent to. */
export async function measurePeak(plan: LoadPlan, seconds: number): Promise<number> {
  const load = startLoadProcess({ ...plan, perSecond: null });
  await new Promise(resolve => setTimeout(resolve, (seconds + 1) * 1_000));
  const { windows } = await load.stop();
  // The first second is that of opening connections, the last is none.
  const whole = windows.slice(1, -1).map(({ answered }) => answered);
  return whole.reduce((sum, value) => sum + value, 0) / Math.max(1, whole.length);
}
