/**
 * The address of a coordination store: what may stand in it, which two are the same store, and what of it may be shown.
 * An address holds passwords, so no message repeats a URL; only `describeStore` and `storeEndpoint` are for eyes. Pure.
 */
import { isIP } from 'node:net';
import type { CoordinationAddress } from './host-protocol.ts';
import { LIMITS } from './limits.ts';
import { jsonPath, type Problem } from './problems.ts';

export type RedisAddress = Extract<CoordinationAddress, { kind: 'redis' }>;

/** What everybody may know of a store. */
export interface StoreDescription {
  kind: CoordinationAddress['kind'];
  /** `host:port/database`, the directory's first; for `embedded` the path of its socket. */
  endpoints: string[];
}

/** Name of the file with an address, in an agent's folder or the state folder that the agents of one machine share. */
export const COORDINATION_FILE = 'coordination.json';

/** Redlock asks all of them for every lease; more masters than this make it slower and no safer. */
export const COORDINATION_URLS_MAX = 15;

const defaultRedisPort = 6379;
const expectedUrl =
  'a URL redis://[user:password@]host[:port][/database], or rediss:// for TLS (special characters of a password percent-encoded)';

/** What is wrong with a URL of a Redis, in words that do not repeat it; null: nothing. */
export function redisUrlProblem(text: string): string | null {
  if (!URL.canParse(text)) return expectedUrl;
  const url = new URL(text);
  const { protocol, hostname, pathname, search, hash } = url;
  if (protocol !== 'redis:' && protocol !== 'rediss:') return expectedUrl;
  // A host with `/` or `@` in it comes from a password that was not encoded.
  const host = hostname.replace(/^\[|\]$/g, '');
  if (!isIP(host) && !/^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/.test(host)) return expectedUrl;
  if (!/^(?:\/(?:0|[1-9][0-9]{0,4})?)?$/.test(pathname) || search !== '' || hash !== '') return expectedUrl;
  return decodes(url.username) && decodes(url.password) ? null : expectedUrl;
}

/** `host:port/database` of a URL that `redisUrlProblem` finds nothing wrong with. */
export function storeEndpoint(text: string): string {
  const { hostname, port, pathname } = new URL(text);
  return `${hostname.toLowerCase()}:${port || defaultRedisPort}/${pathname.slice(1) || '0'}`;
}

/** Whether a URL brings a password along. */
export function holdsPassword(text: string): boolean {
  return URL.canParse(text) && new URL(text).password !== '';
}

/** The address of a cluster on Redis. `urls` are the settings' with secrets filled in. */
export function redisAddress(options: {
  clusterName: string;
  urls: readonly string[];
  sessionTtlMs: number;
}): RedisAddress {
  return {
    kind: 'redis',
    urls: [...options.urls],
    prefix: storePrefix(options.clusterName),
    sessionTtlMs: options.sessionTtlMs,
  };
}

/** Before every key of a cluster: in braces, so that all of them lie in one slot wherever slots matter. */
export function storePrefix(clusterName: string): string {
  return `holdfast:{${clusterName}}:`;
}

/** All that is wrong with what claims to be an address on Redis; values are never repeated. */
export function redisAddressProblems(value: unknown, at: readonly (string | number)[] = []): Problem[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [{ path: jsonPath(at), expected: 'an object with kind, urls, prefix, sessionTtlMs' }];
  }
  const { kind, urls, prefix, sessionTtlMs, ...others } = value as Record<string, unknown>;
  const problems: Problem[] = Object.keys(others).map(name => ({
    path: jsonPath([...at, name]),
    expected: 'no such key; known keys: kind, urls, prefix, sessionTtlMs',
  }));
  const add = (name: string, expected: string) => problems.push({ path: jsonPath([...at, name]), expected });
  if (kind !== 'redis') add('kind', '"redis"');
  if (typeof prefix !== 'string' || prefix === '' || prefix.length > 256) {
    add('prefix', 'a text of 1 to 256 characters');
  }
  const { sessionTtlMsMin: least, sessionTtlMsMax: most } = LIMITS;
  const isTtl = Number.isSafeInteger(sessionTtlMs) && Number(sessionTtlMs) >= least;
  if (!isTtl || Number(sessionTtlMs) > most) add('sessionTtlMs', `a whole number from ${least} to ${most}`);
  if (!Array.isArray(urls) || urls.length === 0 || urls.length > COORDINATION_URLS_MAX) {
    add('urls', `a list of 1 to ${COORDINATION_URLS_MAX} URLs`);
  } else {
    problems.push(...redisUrlProblems(urls, [...at, 'urls']));
  }
  return problems;
}

/** Each URL for itself, and that none comes twice; undefined is passed over. Values are never repeated. */
export function redisUrlProblems(urls: readonly unknown[], at: readonly (string | number)[]): Problem[] {
  const seen = new Map<string, number>();
  return urls.flatMap((text, index) => {
    if (text === undefined) return [];
    const path = jsonPath([...at, index]);
    const expected = typeof text === 'string' ? redisUrlProblem(text) : expectedUrl;
    if (expected !== null) return [{ path, expected }];
    const endpoint = storeEndpoint(text as string);
    const first = seen.get(endpoint);
    if (first === undefined) {
      seen.set(endpoint, index);
      return [];
    }
    return [{ path, expected: `another Redis than ${jsonPath([...at, first])} (both are ${endpoint})` }];
  });
}

export function describeStore(address: CoordinationAddress): StoreDescription {
  return address.kind === 'redis'
    ? { kind: 'redis', endpoints: address.urls.map(storeEndpoint) }
    : { kind: 'embedded', endpoints: [address.socketPath] };
}

/**
 * Whether both mean one store with the same promises. Users and passwords may differ: they change while a cluster runs. The time to
 * live may not: a host that waits for the shorter one would give out keys too early after the store has forgotten.
 */
export function isSameStore(one: CoordinationAddress, other: CoordinationAddress): boolean {
  return storeFingerprint(one) === storeFingerprint(other);
}

/** A text that is equal for equal stores and holds no secret. */
export function storeFingerprint(address: CoordinationAddress): string {
  const { kind, endpoints } = describeStore(address);
  return address.kind === 'redis'
    ? [kind, ...endpoints, address.prefix, address.sessionTtlMs].join(' ')
    : [kind, ...endpoints].join(' ');
}

function decodes(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false; // a bare % in it
  }
}
