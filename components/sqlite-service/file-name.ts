/**
 * Which file belongs to a key. Two keys must never share a file, also not on a file system that ignores case: therefore
 * only lower-case letters, digits, `-`, `_` and `.` stand for themselves, everything else (capitals too) is `%XX`.
 * Names that would get too long for a file system end in `~` and the key's hash; `~` itself is always encoded.
 */
import { createHash } from 'node:crypto';
import { ServiceError } from './service-error.ts';

const plainBytesMax = 200;
const prefixBytes = 100;

/** @throws HF_KEY_INVALID for a key that is not well-formed text */
export function databaseFileName(key: string): string {
  if (!key.isWellFormed() || key.length === 0 || key === '/') {
    throw new ServiceError('HF_KEY_INVALID', 'the key cannot name a database', { key });
  }
  const bytes = Buffer.from(key.startsWith('/') ? key.slice(1) : `/${key}`);
  const plain = Array.from(bytes, encodeByte).join('');
  if (plain.length <= plainBytesMax) return `${plain}.sqlite`;
  return `${plain.slice(0, prefixBytes)}~${createHash('sha256').update(key).digest('hex')}.sqlite`;
}

/** The part of the key that its user chose: the last segment, decoded where that is possible. */
export function databaseName(key: string): string {
  const last = key.slice(key.lastIndexOf('/') + 1);
  try {
    return decodeURIComponent(last);
  } catch {
    return last; // percent signs that encode nothing are part of the name
  }
}

function encodeByte(byte: number): string {
  const character = String.fromCharCode(byte);
  return /[a-z0-9_.-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}
