/**
 * The canonical form of a request target: two targets that a component would decode to the same path segments are one
 * text, and so one key and one owner.
 *
 * A path is its list of decoded segments; the canonical form encodes that list in one fixed way. Characters that may
 * stand in a segment (RFC 3986 `pchar`) stand as they are, all others as upper-case percent-encoded UTF-8 in Unicode's
 * composed form (NFC). Dot segments, however encoded, are resolved and never leave the root; empty segments and a
 * trailing slash are dropped. An encoded slash is data inside its segment and stays `%2F`. The query is no part of it.
 */
import { HoldfastError, LIMITS, type ResourceKey } from '#core';

export interface CanonicalTarget {
  /** Starts with `/`; ASCII. */
  path: string;
  /** As the client sent it, with its `?`; empty if there is none. */
  query: string;
  /** Host and port of an absolute-form target, which wins over the Host header; null otherwise. */
  authority: string | null;
}

/** Longest path that is looked at; keys have a lower limit of their own. */
const pathBytesMax = 8_192;

/** What is canonical already, which is nearly everything: no encoding, no empty segment, no segment that starts with a dot. */
const plain = /^(?:\/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9_.~!$&'()*+,;=:@-]*)+$/;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * @param target the request target as `node:http` gives it, one character for each byte
 * @throws HoldfastError HF_KEY_INVALID
 */
export function canonicalTarget(target: string): CanonicalTarget {
  let rest = target;
  let authority: string | null = null;
  if (target.charCodeAt(0) !== 0x2f) {
    const absolute = /^https?:\/\/([^/?#]+)/i.exec(target);
    if (!absolute) throw invalid('the request target must be a path');
    authority = absolute[1]!;
    if (authority.includes('@')) throw invalid('the request target must not hold credentials');
    rest = target.slice(absolute[0].length);
    if (!rest.startsWith('/')) rest = `/${rest}`;
  }
  const mark = rest.indexOf('?');
  const path = mark === -1 ? rest : rest.slice(0, mark);
  const query = mark === -1 ? '' : rest.slice(mark);
  if (query.includes('#')) throw invalid('the request target must not hold a fragment');
  return { path: canonicalPath(path), query, authority };
}

/**
 * @param path starts with `/`; one character for each byte
 * @throws HoldfastError HF_KEY_INVALID
 */
export function canonicalPath(path: string): string {
  if (path.length > pathBytesMax) throw invalid(`the path must be at most ${pathBytesMax} bytes long`);
  if (path === '/' || plain.test(path)) return path;
  const segments: string[] = [];
  for (const part of path.split('/')) {
    const segment = canonicalSegment(part);
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return `/${segments.join('/')}`;
}

/** A text (of the settings, say) as canonical path. @throws HoldfastError HF_KEY_INVALID */
export function canonicalPathOfText(text: string): string {
  return canonicalPath(Buffer.from(text, 'utf8').toString('latin1'));
}

/**
 * A key as somebody wrote it, as the router makes it of a path; what follows a `#` is the key of a route that takes it from a header, and
 * stays. @throws HoldfastError HF_KEY_INVALID
 */
export function canonicalKeyOfText(text: string): ResourceKey {
  const mark = text.indexOf('#');
  const key =
    mark === -1 ? canonicalPathOfText(text) : canonicalPathOfText(text.slice(0, mark)) + text.slice(mark);
  if (!text.startsWith('/') || key.length > LIMITS.keyBytesMax || !/^[\x21-\x7e]+$/.test(key)) {
    throw new HoldfastError(
      'HF_KEY_INVALID',
      `a key is a path of at most ${LIMITS.keyBytesMax} bytes that starts with a slash`,
      { details: { key: text.slice(0, 100) } },
    );
  }
  return key as ResourceKey;
}

/** Bytes as text of a segment: `pchar` as it is, the rest percent-encoded. */
export function encodeSegment(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += encoded[byte]!;
  return text;
}

const encoded = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  const stands = /[A-Za-z0-9._~!$&'()*+,;=:@-]/.test(character);
  return stands ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
});

function canonicalSegment(part: string): string {
  const bytes = decodeSegment(part);
  if (!bytes.some(byte => byte >= 0x80)) return encodeSegment(bytes);
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw invalid('the path must be UTF-8'); // the decoder's own words say no more
  }
  return encodeSegment(Buffer.from(text.normalize('NFC'), 'utf8'));
}

function decodeSegment(part: string): Uint8Array {
  const bytes = new Uint8Array(part.length);
  let length = 0;
  for (let index = 0; index < part.length; index++) {
    let byte = part.charCodeAt(index);
    if (byte === 0x25) {
      const digits = part.slice(index + 1, index + 3);
      if (!/^[0-9A-Fa-f]{2}$/.test(digits)) throw invalid('the path has an incomplete percent-encoding');
      byte = Number.parseInt(digits, 16);
      index += 2;
    } else if (byte === 0x23) {
      throw invalid('the request target must not hold a fragment');
    }
    if (byte > 0xff) throw invalid('the path must be bytes');
    if (byte < 0x20 || byte === 0x7f) throw invalid('the path must not hold control characters');
    bytes[length++] = byte;
  }
  return bytes.subarray(0, length);
}

function invalid(message: string): HoldfastError {
  return new HoldfastError('HF_KEY_INVALID', message);
}
