/** What all resources agree on: which fences there are, and the error. */
import { HoldfastError } from '#core';

const fenceMax = 0x7fff_ffff_ffff_ffffn;

/** @throws RangeError unless it is a bigint from 1 to 2^63-1 */
export function checkFence(fence: bigint): void {
  if (typeof fence !== 'bigint' || fence < 1n || fence > fenceMax) {
    throw new RangeError('a fence is a bigint from 1 to 2^63-1');
  }
}

/** @throws RangeError unless it is `table` or, where schemas are known, `schema.table`: small letters, digits, underscores */
export function checkTable(table: string): void {
  if (!/^(?:[a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}$/.test(table)) {
    throw new RangeError(
      'a table is named by small letters, digits and _, if need be after its schema and a dot',
    );
  }
}

/** `found`: what the resource holds; 0 if nothing. */
export function fenced(found: bigint | string): HoldfastError {
  return new HoldfastError('HF_FENCED', 'the resource has another owner', {
    details: { fence: found.toString() },
  });
}
