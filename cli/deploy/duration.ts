/** Times as one types them: 90s, 15m, 12h, 30d. */
import { HoldfastError } from '#core';

const unitsMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Milliseconds. @throws HoldfastError HF_USAGE */
export function parseDuration(option: string, text: string): number {
  const [, amount, unit] = /^(0|[1-9][0-9]{0,5})(s|m|h|d)$/.exec(text) ?? [];
  if (amount !== undefined) return Number(amount) * unitsMs[unit as keyof typeof unitsMs];
  throw new HoldfastError('HF_USAGE', `${option} is "${text}", expected a time like 90s, 15m or 12h`);
}
