/** What a scenario measures and how figures are reduced: medians with their spread, and ratios to a peer of the same run. */

import type { Comparison } from './comparison.ts';
import type { CpuProfile } from './profile.ts';

export interface Figure {
  name: string;
  unit:
    | 'ms'
    | 'MiB'
    | 'µs'
    | 'ns'
    | 'bytes'
    | '1/s'
    | 'MB/s'
    | '% of a core'
    | 'keys'
    | 'requests'
    | 'copies'
    | '% of the best'
    | '% of the mean';
  samples: number[];
  /** The same thing done by something that people use or could write instead; measured in turn with ours. */
  peer: { name: string; samples: number[] } | null;
  aim: string;
}

export interface Scenario {
  name: string;
  /** @param runs how many samples of each */
  run(runs: number): Promise<(Figure | Comparison)[]>;
  /** Puts load on the path and hands out a profile of each process on it. */
  profile?(write: (processName: string, profile: CpuProfile) => void): Promise<void>;
}

export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The sample below which a share of them lies: 0.99 for the 99th percentile. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
}

export function row(figure: Figure): string {
  const number = (value: number) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
  const range = (samples: number[]) => {
    const tail = samples.length >= 50 ? `, p99 ${number(percentile(samples, 0.99))}` : '';
    return `${number(median(samples))} (${number(Math.min(...samples))}–${number(Math.max(...samples))}${tail})`;
  };
  const peer = figure.peer
    ? `${range(figure.peer.samples)} ${figure.peer.name} | ${(median(figure.samples) / median(figure.peer.samples)).toFixed(2)}`
    : '– | –';
  return `| ${figure.name}, ${figure.unit} | ${range(figure.samples)} | ${figure.samples.length} | ${peer} | ${figure.aim} |`;
}

export const tableHead =
  '| what | ours: median (min–max) | runs | peer: median (min–max) | ratio | aim |\n|---|---|---|---|---|---|';

/** Milliseconds that it takes. */
export async function time(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/**
 * Asks every few milliseconds until the answer is 200; resolves to the response's text. Asking without pause would take
 * a core from what is measured.
 */
export async function untilOk(uri: string, init: RequestInit = {}, deadlineMs = 30_000): Promise<string> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    try {
      const response = await fetch(uri, init);
      const text = await response.text();
      if (response.status === 200) return text;
    } catch {
      // Nobody listens there yet: asked again until the deadline.
    }
    if (performance.now() > end) throw new Error(`${uri} did not answer 200 within ${deadlineMs} ms`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}
