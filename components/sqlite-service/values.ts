/**
 * JSON ↔ SQLite. JSON has no 64-bit integers, no bytes and no infinities:
 *
 * | SQLite  | out                                              | in                                               |
 * | ------- | ------------------------------------------------ | ------------------------------------------------ |
 * | NULL    | null                                             | null                                             |
 * | INTEGER | number; text beyond ±(2^53 − 1)                  | number without fraction, boolean, {"$integer":"…"} |
 * | REAL    | number; "Infinity", "-Infinity"                  | number                                           |
 * | TEXT    | text                                             | text                                             |
 * | BLOB    | {"$base64":"…"}                                  | {"$base64":"…"}                                  |
 */
import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import { ServiceError } from './service-error.ts';

/** @throws HF_REQUEST_INVALID naming `path` */
export function toSqlite(value: unknown, path: string): SQLInputValue {
  if (value === null || typeof value === 'string') return value;
  if (typeof value === 'boolean') return value ? 1n : 0n;
  // A number binds as REAL, a bigint as INTEGER; to SQL, 1 and 1.0 are not the same text.
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value === 'object' && !Array.isArray(value)) {
    const entries = Object.entries(value);
    const [name, text] = entries[0] ?? [];
    if (entries.length === 1 && typeof text === 'string') {
      if (name === '$base64' && isBase64(text)) return Buffer.from(text, 'base64');
      if (name === '$integer' && isInt64(text)) return BigInt(text);
    }
  }
  throw new ServiceError('HF_REQUEST_INVALID', `${path} is not a value that SQL can take`, {
    problems: [
      {
        path,
        value: JSON.stringify(value).slice(0, 200),
        expected: 'null, boolean, number, text, {"$base64":"…"} or {"$integer":"…"}',
      },
    ],
  });
}

/** A JSON value. */
export function fromSqlite(value: SQLOutputValue): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value.toString();
  }
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (value instanceof Uint8Array) {
    return { $base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') };
  }
  return value;
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

function isInt64(text: string): boolean {
  return /^-?[0-9]{1,19}$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text);
}
