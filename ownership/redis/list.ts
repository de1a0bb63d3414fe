/**
 * Lists of owned keys. Each session's keys lie in byte order in a sorted set of its own; a page is merged from stretches of all of
 * them. So a page costs what it shows, not what there is, a million keys or none, and a session that ended leaves nothing to skip.
 */
import type { Claim, InstanceId, ResourceDirectory, ResourceKey, SessionId } from '#core';
import * as read from '../embedded/arguments.ts';
import type { Connection } from './connection.ts';
import { readClaim, readOwner } from './replies.ts';
import { listScript } from './scripts/key-scripts.ts';

const pageMax = 1_000;

interface Place {
  key: string;
  pool: string;
}

/** One stretch of `listScript`: id, process, node, address, pool, whether there is more, entries. */
type Stretch = [...facts: string[], entries: string[]];

type Query = Parameters<ResourceDirectory['list']>[0];

export async function listClaims(
  connection: Connection,
  given: Query,
): Promise<{ claims: Claim[]; cursor: string | null }> {
  const params = { ...given };
  const pool = read.optional(params, 'pool', read.text<InstanceId>) ?? '';
  const sessionId = read.optional(params, 'sessionId', read.text<SessionId>) ?? '';
  const key = read.optional(params, 'key', (all, name) => read.resourceKey(all, name));
  const prefix = params.prefix === '' ? '' : (read.optional(params, 'prefix', read.resourceKey) ?? '');
  const limit = Math.floor(
    read.optional(params, 'limit', (all, name) => read.number(all, name, { min: 1, max: pageMax })) ??
      pageMax,
  );
  let after: Place | null = read.optional(params, 'cursor', read.cursor);

  const claims: Claim[] = [];
  for (;;) {
    const range = rangeOf(key, prefix, after);
    if (!range) return { claims, cursor: null };
    const wanted = limit - claims.length;
    const args = [pool, sessionId, ...range, String(wanted)];
    const stretches = (await connection.call(listScript, args, { again: true })) as Stretch[];
    const { found, end } = merge(stretches, after);
    const fitting = key === null || prefix === '' || key.startsWith(prefix) ? found : [];
    claims.push(...fitting.slice(0, wanted));
    if (fitting.length > wanted || (end && claims.length === limit)) {
      const { key: lastKey, pool: lastPool } = claims.at(-1)!;
      return { claims, cursor: read.formatCursor({ key: lastKey, pool: lastPool }) };
    }
    if (!end) return { claims, cursor: null };
    after = end;
  }
}

/**
 * The claims of all stretches in order, as far as every session has told all that it owns: up to the first end of a stretch that has
 * more. `end` is that place, null if nobody has more.
 */
function merge(stretches: readonly Stretch[], after: Place | null): { found: Claim[]; end: Place | null } {
  let end: Place | null = null;
  const found: Claim[] = [];
  for (const stretch of stretches) {
    const facts = stretch.slice(0, -1) as string[];
    const entries = stretch.at(-1) as string[];
    const pool = facts[4] as InstanceId;
    const owner = readOwner(facts);
    for (let index = 0; index < entries.length; index += 2) {
      const key = entries[index] as ResourceKey;
      if (after && compare({ key, pool }, after) <= 0) continue;
      found.push(readClaim(pool, key, entries[index + 1]!, () => owner));
    }
    const last = { key: entries.at(-2)!, pool };
    if (facts[5] === '1' && (!end || compare(last, end) < 0)) end = last;
  }
  found.sort(compare);
  const limit = end;
  return { found: limit ? found.filter(claim => compare(claim, limit) <= 0) : found, end };
}

/** Lowest and highest key as ZRANGEBYLEX writes them; null: nothing can be there. */
function rangeOf(key: string | null, prefix: string, after: Place | null): [string, string | Buffer] | null {
  const floor = key ?? prefix;
  if (key !== null && after && compareText(after.key, key) > 0) return null;
  // From the cursor's key itself on: it may be in other pools too.
  const from = after && compareText(after.key, floor) > 0 ? after.key : floor;
  const lowest = from === '' ? '-' : `[${from}`;
  if (key !== null) return [lowest, `[${key}`];
  // No byte of UTF-8 is 0xff: what comes before prefix and 0xff begins with the prefix.
  return [lowest, prefix === '' ? '+' : Buffer.concat([Buffer.from(`(${prefix}`), Buffer.from([0xff])])];
}

function compare(one: Place, other: Place): number {
  return compareText(one.key, other.key) || compareText(one.pool, other.pool);
}

function compareText(one: string, other: string): number {
  return one === other ? 0 : Buffer.compare(Buffer.from(one), Buffer.from(other));
}
