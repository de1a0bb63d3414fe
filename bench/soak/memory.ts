/** Whether the memory of a process stays where it is: the slope of a line through its samples, without the warm-up. Pure. */

export interface MemorySample {
  /** Since the start of the measurement. */
  atMs: number;
  bytes: number;
}

export interface MemoryVerdict {
  samples: number;
  medianBytes: number;
  maxBytes: number;
  /** What the line rises from the end of the warm-up to the last sample. */
  growthBytes: number;
  /** null: the time was too short to say. */
  flat: boolean | null;
}

/** Heaps of V8 breathe: a line that rises by less than this share, or less than this many bytes, is flat. */
const growthShareMax = 0.1;
const growthBytesMax = 12 * 1024 * 1024;
const samplesMin = 6;
/** Heaps grow to their working size within minutes. */
const spanMsMin = 5 * 60_000;

/** null: too few samples after the warm-up to say anything. */
export function judgeMemory(samples: readonly MemorySample[], warmUpMs: number): MemoryVerdict | null {
  const rest = samples.filter(({ atMs }) => atMs >= warmUpMs);
  if (rest.length < samplesMin) return null;
  const bytes = rest.map(sample => sample.bytes).sort((a, b) => a - b);
  const medianBytes = bytes[Math.floor(bytes.length / 2)]!;
  const spanMs = rest.at(-1)!.atMs - rest[0]!.atMs;
  const growthBytes = slope(rest) * spanMs;
  const flat =
    spanMs < spanMsMin ? null : growthBytes <= Math.max(growthBytesMax, medianBytes * growthShareMax);
  return { samples: rest.length, medianBytes, maxBytes: bytes.at(-1)!, growthBytes, flat };
}

/** Bytes for each millisecond, by least squares. */
function slope(samples: readonly MemorySample[]): number {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const atMean = mean(samples.map(({ atMs }) => atMs));
  const bytesMean = mean(samples.map(sample => sample.bytes));
  let above = 0;
  let below = 0;
  for (const { atMs, bytes } of samples) {
    above += (atMs - atMean) * (bytes - bytesMean);
    below += (atMs - atMean) ** 2;
  }
  return below === 0 ? 0 : above / below;
}
