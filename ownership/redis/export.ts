/**
 * Every record of every key, for a backup. Redis walks its hashes in no order and in steps that hold nothing up; what is there all the time is told at
 * least once.
 */
import type { Fence, InstanceId, KeyRecord, ResourceKey } from '#core';
import { decodeRecordFence } from '../embedded/wire.ts';
import { invalid } from '../embedded/arguments.ts';
import type { Connection } from './connection.ts';
import { poolsScript, recordsScript } from './scripts/export-scripts.ts';

/** Where the walk is: over the names of the database, and over the pools found with the last step. */
interface Place {
  /** Redis's cursor over all names; null: the walk has met all of them. */
  names: string | null;
  /** Pools found and not read to their end; the first one is being read. */
  pools: string[];
  /** Redis's cursor over the first pool's records. */
  records: string;
}

export async function exportKeys(
  connection: Connection,
  cursor: string | null,
  limit: number,
): Promise<{ records: KeyRecord[]; cursor: string | null }> {
  let place: Place = cursor === null ? { names: '0', pools: [], records: '0' } : readPlace(cursor);
  const records: KeyRecord[] = [];
  while (records.length === 0 && (place.pools.length > 0 || place.names !== null)) {
    const [pool, ...further] = place.pools;
    if (pool === undefined) {
      const [names, pools] = (await connection.call(poolsScript, [place.names!], { again: true })) as [
        string,
        string[],
      ];
      place = { names: names === '0' ? null : names, pools, records: '0' };
      continue;
    }
    const args = [pool, place.records, String(Math.floor(limit))];
    const [next, found] = (await connection.call(recordsScript, args, { again: true })) as [string, string[]];
    for (let index = 0; index < found.length; index += 3) {
      records.push(readRecord(pool, found.slice(index, index + 3)));
    }
    place = next === '0' ? { ...place, pools: further, records: '0' } : { ...place, records: next };
  }
  const ended = place.names === null && place.pools.length === 0;
  return { records, cursor: ended ? null : Buffer.from(JSON.stringify(place)).toString('base64url') };
}

/** Key, record, alarm. */
function readRecord(pool: string, [key, record, alarm]: string[]): KeyRecord {
  const [fence, , flags] = record!.split(':');
  return {
    pool: pool as InstanceId,
    key: key as ResourceKey,
    fence: decodeRecordFence(fence) satisfies Fence,
    opened: flags!.includes('o'),
    paused: flags!.includes('p'),
    alarmAtMs: alarm === '' ? null : Number(alarm),
  };
}

function readPlace(cursor: string): Place {
  try {
    const { names, pools, records } = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as Place;
    const digits = (text: unknown) => typeof text === 'string' && /^\d{1,20}$/.test(text);
    const usable = (names === null || digits(names)) && digits(records) && Array.isArray(pools);
    if (usable && pools.every(pool => typeof pool === 'string')) return { names, pools, records };
  } catch {
    // Told below, in one way for all that is not a cursor.
  }
  throw invalid('cursor', 'the cursor of the page before');
}
