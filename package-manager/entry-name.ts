/**
 * Which names a ZIP may hold. Pure. Names are judged by their raw bytes: a library that repairs `../` silently would
 * hide the attack, and one that writes elsewhere than it was checked would be one.
 *
 * What must hold afterwards: every path stays below the folder it is unpacked in, on any file system, also one that
 * ignores case or normalises Unicode; no two entries meet in one file; no file lies where another path needs a folder.
 */
import type { PackageLimits } from './limits.ts';
import { invalid, tooLarge } from './refusal.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The name as text, checked in itself. A folder's name keeps its final slash. */
export function decodeEntryName(bytes: Buffer, limits: PackageLimits): string {
  const name = decode(bytes);
  const fail = (what: string, expected: string, figures = {}) =>
    invalid(what, { entry: name, expected, ...figures });
  if (bytes.length === 0) throw fail('the name is empty', 'a path');
  if (bytes.length > limits.pathBytesMax) {
    throw fail('the path is too long', `at most ${limits.pathBytesMax} bytes; shorten or flatten folders`, {
      limit: limits.pathBytesMax,
      actual: bytes.length,
    });
  }
  if (/[\p{Cc}\u2028\u2029]/u.test(name)) {
    throw fail('the name has a NUL or control character', 'printable characters only');
  }
  if (name.includes('\\')) throw fail('the name has a backslash', 'forward slashes between folders');
  if (name.startsWith('/')) throw fail('the name is absolute', 'a path relative to the package root');
  if (/^[A-Za-z]:/.test(name))
    throw fail('the name has a drive letter', 'a path relative to the package root');
  const segments = name.replace(/\/$/, '').split('/');
  if (segments.includes('..')) throw fail('the name climbs out with ".."', 'a path inside the package');
  if (segments.includes('')) throw fail('the name has an empty segment', 'single slashes between folders');
  if (segments.includes('.')) throw fail('the name has a "." segment', 'a plain path');
  if (segments.length > limits.depthMax) {
    throw fail('the path is too deep', `at most ${limits.depthMax} segments`, {
      limit: limits.depthMax,
      actual: segments.length,
    });
  }
  const long = segments.find(segment => Buffer.byteLength(segment) > limits.segmentBytesMax);
  if (long !== undefined) {
    throw fail('a path segment is too long', `at most ${limits.segmentBytesMax} bytes in each`, {
      limit: limits.segmentBytesMax,
      actual: Buffer.byteLength(long),
    });
  }
  return name;
}

function decode(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw invalid('the name is not valid UTF-8', {
      entry: bytes.toString('latin1'),
      expected: 'names in UTF-8 (7z: -mcu=on, Info-ZIP: a UTF-8 locale)',
      cause,
    });
  }
}

interface Occupant {
  spelling: string;
  /** `implied`: a folder that some file's path needs. */
  kind: 'file' | 'folder' | 'implied';
}

/** Refuses names that meet each other. `names` as `decodeEntryName` returned them. */
export function assertNoClashes(names: readonly string[], limits: PackageLimits): void {
  const occupied = new Map<string, Occupant>();
  for (const name of names) {
    const isFolder = name.endsWith('/');
    const path = isFolder ? name.slice(0, -1) : name;
    for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
      occupy(occupied, { spelling: path.slice(0, slash), kind: 'implied' }, name);
    }
    occupy(occupied, { spelling: path, kind: isFolder ? 'folder' : 'file' }, name);
    if (occupied.size > limits.entriesMax) {
      throw tooLarge('it has too many files and folders', {
        expected: 'fewer of them; bundle the code into one file',
        limit: limits.entriesMax,
        actual: occupied.size,
      });
    }
  }
}

function occupy(occupied: Map<string, Occupant>, wanted: Occupant, entry: string): void {
  const key = fold(wanted.spelling);
  const found = occupied.get(key);
  if (!found) {
    occupied.set(key, wanted);
    return;
  }
  if (found.spelling !== wanted.spelling) {
    throw invalid(`it differs from "${found.spelling}" only in case or Unicode form`, {
      entry,
      expected: 'names that stay apart on every file system; rename one',
    });
  }
  if ((found.kind === 'file') !== (wanted.kind === 'file')) {
    throw invalid(`"${found.spelling}" is a file and a folder`, { entry, expected: 'one or the other' });
  }
  if (found.kind === wanted.kind && wanted.kind !== 'implied') {
    throw invalid('the entry is there twice', { entry, expected: 'each name once' });
  }
  if (wanted.kind === 'folder') occupied.set(key, wanted);
}

/** Upper, then lower case approximates full case folding (ß, ſ, the Kelvin sign). */
function fold(path: string): string {
  return path.normalize('NFC').toUpperCase().toLowerCase().normalize('NFC');
}
