/** Places in PostgreSQL's log: 64 bits, written as two hexadecimal numbers, `16/B374D848`. Ordered like the numbers. */

export type Lsn = bigint & { readonly lsn: never };

/** @throws SyntaxError */
export function parseLsn(text: string): Lsn {
  const [, high = '', low = ''] = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text) ?? [];
  if (high === '') throw new SyntaxError(`not a place in PostgreSQL's log: ${text}`);
  return ((BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`)) as Lsn;
}

export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffff_ffffn).toString(16).toUpperCase()}`;
}
