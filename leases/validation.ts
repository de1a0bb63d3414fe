/**
 * What every adapter refuses before it asks its store, in the same order and with the same words, so that a program can
 * change its adapter without meeting new errors.
 */
import { HoldfastError } from '#core';

export const LEASE_LIMITS = {
  nameBytesMax: 512,
  holderBytesMax: 512,
  ttlMsMin: 10,
  ttlMsMax: 86_400_000,
} as const;

const fenceMax = 0x7fff_ffff_ffff_ffffn;

/** What a caller passed, before anything about it is believed. */
export interface LeaseArguments {
  name?: unknown;
  holder?: unknown;
  fence?: unknown;
  ttlMs?: unknown;
}

/**
 * Checks the arguments that are present, in the order name, holder, fence, ttlMs.
 * @throws HoldfastError HF_LEASE_INVALID with `details.argument`
 */
export function checkLeaseArguments(given: LeaseArguments): void {
  if ('name' in given) checkText('name', given.name, LEASE_LIMITS.nameBytesMax);
  if ('holder' in given) checkText('holder', given.holder, LEASE_LIMITS.holderBytesMax);
  if ('fence' in given) {
    const { fence } = given;
    if (typeof fence !== 'bigint' || fence < 1n || fence > fenceMax) {
      throw invalid('fence', 'a bigint from 1 to 2^63-1');
    }
  }
  if ('ttlMs' in given) {
    const { ttlMs } = given;
    const { ttlMsMin, ttlMsMax } = LEASE_LIMITS;
    if (!Number.isInteger(ttlMs) || (ttlMs as number) < ttlMsMin || (ttlMs as number) > ttlMsMax) {
      throw invalid('ttlMs', `a whole number of milliseconds from ${ttlMsMin} to ${ttlMsMax}`);
    }
  }
}

function checkText(argument: string, value: unknown, bytesMax: number): void {
  // Control characters would forge log lines and key separators; a lone surrogate has no UTF-8 form to compare by.
  const usable =
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= bytesMax &&
    Buffer.byteLength(value) <= bytesMax &&
    !/\p{Cc}/u.test(value) &&
    value.isWellFormed();
  if (!usable) throw invalid(argument, `1 to ${bytesMax} bytes of text without control characters`);
}

function invalid(argument: string, expected: string): HoldfastError {
  return new HoldfastError('HF_LEASE_INVALID', `${argument} must be ${expected}`, { details: { argument } });
}
