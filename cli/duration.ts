/** Times as people type them. */
import { HoldfastError } from '#core';

const unitsMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/**
 * `90s`, `15m`, `12h` → milliseconds.
 * @param option how the user calls it, for the message
 * @param orElse other words that it takes, for the message
 * @throws HoldfastError HF_USAGE
 */
export function parseDurationMs(option: string, text: string, orElse = ''): number {
  const [, amount, unit] = /^([1-9][0-9]{0,5})(ms|s|m|h|d)$/.exec(text) ?? [];
  if (!amount) {
    throw new HoldfastError(
      'HF_USAGE',
      `${option} is "${text}", expected a time like 90s, 15m, 12h or 30d${orElse}`,
    );
  }
  return Number(amount) * unitsMs[unit as keyof typeof unitsMs];
}
