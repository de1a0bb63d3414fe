/**
 * Values between PostgreSQL (text, as the server prints it with `datestyle=ISO`, `timezone=UTC`, `bytea_output=hex`) and SQLite, by the
 * PostgreSQL type. There and back again gives the same value, for every type; README.md has the table.
 */
import type { Cell } from '../cells.ts';
import { UnfitValue } from './plan.ts';

export type Affinity = 'INTEGER' | 'REAL' | 'TEXT' | 'NUMERIC' | 'NONE';

type Family = 'integer' | 'float' | 'boolean' | 'bytes' | 'instant' | 'date' | 'number' | 'text';

const families: Readonly<Record<string, Family>> = {
  smallint: 'integer',
  integer: 'integer',
  bigint: 'integer',
  oid: 'integer',
  real: 'float',
  'double precision': 'float',
  boolean: 'boolean',
  bytea: 'bytes',
  'timestamp with time zone': 'instant',
  'timestamp without time zone': 'date',
  date: 'date',
  numeric: 'number',
};

/** Every type that is not listed travels as its text. */
const familyOf = (type: string): Family => families[type] ?? 'text';

/** The rules of https://sqlite.org/datatype3.html, 3.1. */
export function affinityOf(declared: string, strict = false): Affinity {
  const type = declared.toUpperCase();
  if (strict && type === 'ANY') return 'NONE';
  if (type.includes('INT')) return 'INTEGER';
  if (/CHAR|CLOB|TEXT/.test(type)) return 'TEXT';
  if (type === '' || type.includes('BLOB')) return 'NONE';
  if (/REAL|FLOA|DOUB/.test(type)) return 'REAL';
  return 'NUMERIC';
}

/** Affinities that keep every value of the type as it is. SQLite would turn the text `1.10` into the number 1.1 in others. */
const keptBy: Readonly<Record<Family, readonly Affinity[]>> = {
  integer: ['INTEGER', 'NUMERIC', 'NONE'],
  boolean: ['INTEGER', 'NUMERIC', 'NONE'],
  float: ['REAL', 'NONE'],
  bytes: ['NONE'],
  instant: ['TEXT', 'NUMERIC', 'NONE'],
  date: ['TEXT', 'NUMERIC', 'NONE'],
  number: ['TEXT', 'NONE'],
  text: ['TEXT', 'NONE'],
};

/** What PostgreSQL's type can take of a SQLite column with this affinity, as long as the values are what its declaration says. */
const takenFrom: Readonly<Record<Family, readonly Affinity[]>> = {
  ...keptBy,
  float: ['REAL', 'NUMERIC', 'NONE'],
  number: ['TEXT', 'INTEGER', 'REAL', 'NUMERIC', 'NONE'],
};

/** Empty: they fit. Otherwise the affinities that would. */
export function misfit(
  postgresType: string,
  affinity: Affinity,
  from: 'postgres' | 'sqlite',
): readonly Affinity[] {
  const fitting = (from === 'postgres' ? keptBy : takenFrom)[familyOf(postgresType)];
  return fitting.includes(affinity) ? [] : fitting;
}

/** The column type that a new SQLite table should have. */
export function sqliteTypeFor(postgresType: string): string {
  const [first = 'TEXT'] = keptBy[familyOf(postgresType)];
  return first === 'NONE' ? 'BLOB' : first;
}

/** The column type that a new PostgreSQL table should have. */
export function postgresTypeFor(affinity: Affinity): string {
  return { INTEGER: 'bigint', REAL: 'double precision', TEXT: 'text', NUMERIC: 'numeric', NONE: 'bytea' }[
    affinity
  ];
}

const instant = /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00$/;

/** PostgreSQL's text as a SQLite value. @param text never null: that is NULL on both sides */
export function toSqlite(postgresType: string): (cell: Cell) => Cell {
  const family = familyOf(postgresType);
  return cell => {
    const text = cell as string;
    switch (family) {
      case 'integer':
        return BigInt(text);
      case 'float': {
        if (text === 'NaN') return text; // SQLite has no NaN: it would become NULL
        return Number(text);
      }
      case 'boolean':
        return text === 't' ? 1n : 0n;
      case 'bytes':
        return new Uint8Array(Buffer.from(text.slice(2), 'hex'));
      case 'instant':
        // The form that SQLite's date functions and everybody else read. `infinity` and years BC stay as they are.
        return text.replace(instant, '$1T$2Z');
      case 'date':
      case 'number':
      case 'text':
        return text;
    }
  };
}

/** A SQLite value as PostgreSQL's text. The server judges what the text means; here only what text cannot say is refused. */
export function toPostgres(postgresType: string): (cell: Cell) => Cell {
  const family = familyOf(postgresType);
  return cell => {
    if (cell instanceof Uint8Array) {
      if (family === 'bytes') return `\\x${Buffer.from(cell).toString('hex')}`;
      throw new UnfitValue(`a BLOB does not fit ${postgresType}`);
    }
    if (family === 'bytes') throw new UnfitValue(`only a BLOB fits ${postgresType}`);
    if (family === 'boolean') {
      if (cell === 1n) return 't';
      if (cell === 0n) return 'f';
      throw new UnfitValue('only 0 and 1 fit boolean');
    }
    if (typeof cell === 'string') {
      if (cell.includes('\0')) throw new UnfitValue('PostgreSQL has no text with the character U+0000');
      return cell;
    }
    return Object.is(cell, -0) ? '-0' : String(cell);
  };
}
