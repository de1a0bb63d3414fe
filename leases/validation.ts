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
  /** A holding is given up some 20 ms early (see `leaseMarginMs`): shorter leases would leave nothing to work in. */
  holdTtlMsMin: 100,
  waitMsMax: 86_400_000,
  listMax: 1_000,
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
  if ('ttlMs' in given) checkDuration('ttlMs', given.ttlMs, LEASE_LIMITS.ttlMsMin, LEASE_LIMITS.ttlMsMax);
}

/** What a caller passed to `hold`. */
export interface HoldArguments {
  holder?: unknown;
  ttlMs?: unknown;
  waitMs?: unknown;
}

/**
 * Checks name, holder, ttlMs, waitMs, in this order.
 * @throws HoldfastError HF_LEASE_INVALID with `details.argument`
 */
export function checkHoldArguments(name: unknown, options: HoldArguments): void {
  checkLeaseArguments({ name, holder: options.holder });
  checkDuration('ttlMs', options.ttlMs, LEASE_LIMITS.holdTtlMsMin, LEASE_LIMITS.ttlMsMax);
  if (options.waitMs !== undefined) checkDuration('waitMs', options.waitMs, 0, LEASE_LIMITS.waitMsMax);
}

/** A query for `list` with every gap filled. `cursor` is the name after which the page begins, null for the first page. */
export interface ListQuery {
  readonly prefix: string;
  readonly limit: number;
  readonly cursor: string | null;
}

/**
 * Checks prefix, limit, cursor, in this order, and fills in what is missing. A cursor is the last name of the page before.
 * @throws HoldfastError HF_LEASE_INVALID with `details.argument`
 */
export function checkListQuery(
  given: { prefix?: unknown; limit?: unknown; cursor?: unknown } = {},
): ListQuery {
  const { prefix = '', limit = LEASE_LIMITS.listMax, cursor = null } = given;
  if (prefix !== '') checkText('prefix', prefix, LEASE_LIMITS.nameBytesMax);
  if (!isWholeNumber(limit, 1, LEASE_LIMITS.listMax)) {
    throw invalid('limit', `a whole number from 1 to ${LEASE_LIMITS.listMax}`);
  }
  if (cursor !== null) checkText('cursor', cursor, LEASE_LIMITS.nameBytesMax);
  return { prefix: prefix as string, limit, cursor: cursor as string | null };
}

/** Sorts after every name with this prefix, in the order of names. */
export function endOfPrefix(prefix: string): string {
  return prefix + '\u{10ffff}'.repeat(LEASE_LIMITS.nameBytesMax / 4 + 1);
}

/** The order of names in lists: that of their UTF-8 bytes, which is not the order of JavaScript's strings. */
export function compareNames(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

function isWholeNumber(value: unknown, min: number, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
}

function checkDuration(argument: string, value: unknown, min: number, max: number): void {
  if (!isWholeNumber(value, min, max)) {
    throw invalid(argument, `a whole number of milliseconds from ${min} to ${max}`);
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
