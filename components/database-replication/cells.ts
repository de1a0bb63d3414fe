/**
 * Values on their way. A source gives a PostgreSQL value as the text that the server prints and a SQLite value as what it is; `schema/values.ts`
 * turns one into the other. A cell that is `undefined` was not sent: a large value that the change did not touch.
 */

export type Cell = string | number | bigint | Uint8Array | null;
export type Row = readonly (Cell | undefined)[];
/** The cells of the key columns, in the order of the key. */
export type Key = readonly Cell[];

export const isComplete = (row: Row): row is readonly Cell[] => !row.includes(undefined);

/** The same text for the same key, another one for another; also what is kept as the place in a table. */
export function keyText(key: Key): string {
  return JSON.stringify(key.map(toJson));
}

/** @throws SyntaxError when it is none that `keyText` made */
export function parseKey(text: string): Key {
  const list = JSON.parse(text) as unknown;
  if (!Array.isArray(list)) throw new SyntaxError('a key is a list');
  return list.map(fromJson);
}

type JsonCell = string | null | { i: string } | { r: string } | { b: string };

function toJson(cell: Cell): JsonCell {
  if (typeof cell === 'bigint') return { i: cell.toString() };
  if (typeof cell === 'number') return { r: Object.is(cell, -0) ? '-0' : String(cell) };
  if (cell instanceof Uint8Array) return { b: Buffer.from(cell).toString('base64') };
  return cell;
}

function fromJson(value: unknown): Cell {
  if (value === null || typeof value === 'string') return value;
  const { i, r, b } = value as { i?: string; r?: string; b?: string };
  if (i !== undefined) return BigInt(i);
  if (r !== undefined) return Number(r);
  if (b !== undefined) return new Uint8Array(Buffer.from(b, 'base64'));
  throw new SyntaxError('not a cell');
}

/** About how many bytes the row takes, to keep batches small. */
export function rowBytes(row: Row): number {
  let bytes = 0;
  for (const cell of row) {
    bytes += typeof cell === 'string' || cell instanceof Uint8Array ? 16 + cell.length : 16;
  }
  return bytes;
}
