/**
 * PostgreSQL's messages of logical replication, plugin `pgoutput`, protocol version 1 with text values:
 * https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html. Bytes in, data out.
 */
import type { Lsn } from './lsn.ts';

/** Text as the server prints it; `undefined`: a large value that the change did not touch. */
export type TextRow = (string | null | undefined)[];

export interface RelationColumn {
  readonly name: string;
  readonly typeOid: number;
}

export type WalMessage =
  | { readonly type: 'begin'; readonly commitAt: Lsn; readonly committedMs: number }
  | { readonly type: 'commit'; readonly end: Lsn; readonly committedMs: number }
  | {
      readonly type: 'relation';
      readonly id: number;
      readonly table: string;
      readonly columns: readonly RelationColumn[];
    }
  | { readonly type: 'insert'; readonly relation: number; readonly row: TextRow }
  /** `old`: the key alone (the rest is null), or with REPLICA IDENTITY FULL the whole row; null: the key is the same. */
  | {
      readonly type: 'update';
      readonly relation: number;
      readonly old: TextRow | null;
      readonly row: TextRow;
    }
  | { readonly type: 'delete'; readonly relation: number; readonly old: TextRow }
  | { readonly type: 'truncate'; readonly relations: readonly number[] }
  /** Origins, type names, messages of applications. */
  | { readonly type: 'other' };

/** 2000-01-01 in milliseconds of Unix time. */
export const postgresEpochMs = 946_684_800_000;

/** @throws RangeError when the message is shorter than it says, Error when it is none that version 1 has */
export function decodeWalMessage(bytes: Buffer): WalMessage {
  const reader = new Reader(bytes);
  const tag = reader.letter();
  switch (tag) {
    case 'B':
      return { type: 'begin', commitAt: reader.lsn(), committedMs: reader.timeMs() };
    case 'C': {
      reader.skip(1 + 8);
      return { type: 'commit', end: reader.lsn(), committedMs: reader.timeMs() };
    }
    case 'R': {
      const id = reader.uint32();
      const table = `${reader.text()}.${reader.text()}`;
      reader.skip(1);
      const columns = Array.from({ length: reader.uint16() }, () => {
        reader.skip(1);
        const column = { name: reader.text(), typeOid: reader.uint32() };
        reader.skip(4);
        return column;
      });
      return { type: 'relation', id, table, columns };
    }
    case 'I': {
      const relation = reader.uint32();
      reader.expect('N');
      return { type: 'insert', relation, row: reader.row() };
    }
    case 'U': {
      const relation = reader.uint32();
      const kind = reader.letter();
      if (kind === 'N') return { type: 'update', relation, old: null, row: reader.row() };
      const old = reader.row();
      reader.expect('N');
      const row = reader.row();
      // With the whole old row at hand nothing is missing.
      const whole = kind === 'O' ? row.map((cell, index) => (cell === undefined ? old[index] : cell)) : row;
      return { type: 'update', relation, old, row: whole };
    }
    case 'D': {
      const relation = reader.uint32();
      reader.skip(1);
      return { type: 'delete', relation, old: reader.row() };
    }
    case 'T': {
      const count = reader.uint32();
      reader.skip(1);
      return { type: 'truncate', relations: Array.from({ length: count }, () => reader.uint32()) };
    }
    case 'O':
    case 'Y':
    case 'M':
      return { type: 'other' };
    default:
      throw new Error(`PostgreSQL sent a message of replication that is not known here: ${tag}`);
  }
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  skip(count: number): void {
    this.#at += count;
  }

  letter(): string {
    return String.fromCharCode(this.#bytes.readUInt8(this.#at++));
  }

  expect(letter: string): void {
    const found = this.letter();
    if (found !== letter) throw new Error(`expected ${letter} in PostgreSQL's message, found ${found}`);
  }

  uint16(): number {
    this.#at += 2;
    return this.#bytes.readUInt16BE(this.#at - 2);
  }

  uint32(): number {
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  lsn(): Lsn {
    this.#at += 8;
    return this.#bytes.readBigUInt64BE(this.#at - 8) as Lsn;
  }

  timeMs(): number {
    this.#at += 8;
    return Number(this.#bytes.readBigInt64BE(this.#at - 8) / 1000n) + postgresEpochMs;
  }

  text(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end < 0) throw new RangeError('a name in PostgreSQL’s message does not end');
    const text = this.#bytes.toString('utf8', this.#at, end);
    this.#at = end + 1;
    return text;
  }

  row(): TextRow {
    // The hottest loop of following: plain on purpose.
    const count = this.uint16();
    const cells: TextRow = [];
    for (let index = 0; index < count; index++) {
      const kind = this.#bytes.readUInt8(this.#at++);
      if (kind === 0x6e) cells.push(null);
      else if (kind === 0x75) cells.push(undefined);
      else if (kind === 0x74) {
        const length = this.uint32();
        const start = this.#at;
        this.#at += length;
        if (this.#at > this.#bytes.length)
          throw new RangeError('a value in PostgreSQL’s message does not end');
        cells.push(this.#bytes.toString('utf8', start, this.#at));
      } else throw new Error(`PostgreSQL sent a value of kind ${kind}, expected text`);
    }
    return cells;
  }
}
