/** `ResourceDirectory` over the coordinator's socket. */
import type { Claim, HeldKey, InstanceId, ResourceDirectory, ResourceKey, SessionId } from '#core';
import { createClaimBatches } from '../directory/claim-batches.ts';
import { time } from './arguments.ts';
import type { Connection } from './connection.ts';
import type { Subscriptions } from './subscriptions.ts';
import {
  decodeClaim,
  decodeKeyRecord,
  decodeOutcome,
  decodeTransfer,
  encodeHeldKey,
  encodeHolding,
  encodeKeyRecord,
  type WireClaim,
  type WireKeyRecord,
  type WireOutcome,
  type WireTransfer,
} from './wire.ts';

/** What does no harm when it is executed twice, or has a second answer that still is true. */
const again = { again: true } as const;
const once = { again: false } as const;

export function directoryClient({ call }: Connection, subscriptions: Subscriptions): ResourceDirectory {
  const decoded = (found: WireClaim | null): Claim | null => found && decodeClaim(found);
  const encodeHeld = (held: HeldKey[]) =>
    held.map(each => ({ ...encodeHeldKey(each), alarmAtMs: checkTime(each.alarmAtMs) }));
  const claimMany: ResourceDirectory['claimMany'] = async (pool, keys) =>
    (await call<WireOutcome[]>('claimMany', { pool, keys }, again)).map(decodeOutcome);
  return {
    // Sent once, as `resumeSession`: the same attempt would be refused a second time. The host asks with its next one.
    openSession: request => call('openSession', request, once),
    renewSession: sessionId => call('renewSession', { sessionId }, again),
    async resumeSession(request, held) {
      type Resumed = { sessionId: SessionId; expiresInMs: number; refused: ResourceKey[] };
      return call<Resumed>('resumeSession', { ...request, held: encodeHeld(held) }, once);
    },
    async adopt(sessionId, held) {
      return call<ResourceKey[]>('adopt', { sessionId, held: encodeHeld(held) }, again);
    },
    updateSession: (sessionId, change) => call('updateSession', { sessionId, ...change }, again),
    async closeSession(sessionId) {
      await call('closeSession', { sessionId }, again);
    },
    endSessionsOf: processId => call('endSessionsOf', { processId }, again),
    claim: createClaimBatches({
      claim: async (pool, key) => decodeOutcome(await call<WireOutcome>('claim', { pool, key }, again)),
      claimMany,
    }),
    claimMany,
    async raiseFence(claim, above) {
      const { pool, key, sessionId } = claim;
      const params = { pool, key, sessionId, above: above.toString() };
      return decoded(await call<WireClaim | null>('raiseFence', params, again));
    },
    confirmOpened: holding => call('confirmOpened', encodeHolding(holding), again),
    async lookup(pool, key) {
      return decoded(await call<WireClaim | null>('lookup', { pool, key }, again));
    },
    release: holding => call('release', encodeHolding(holding), once),
    releaseMany: holdings => call('releaseMany', { holdings: holdings.map(encodeHolding) }, once),
    async transfer(holding, to) {
      return decodeTransfer(await call<WireTransfer>('transfer', { ...encodeHolding(holding), to }, once));
    },
    async pauseKey(pool, key) {
      return decoded(await call<WireClaim | null>('pauseKey', { pool, key }, again));
    },
    resumeKey: (pool, key) => call('resumeKey', { pool, key }, once),
    isPaused: (pool, key) => call('isPaused', { pool, key }, again),
    async setAlarm(holding, atMs) {
      return call<boolean>('setAlarm', { ...encodeHolding(holding), atMs: checkTime(atMs) }, again);
    },
    settleAlarm: (holding, atMs) => call('settleAlarm', { ...encodeHolding(holding), atMs }, again),
    dueAlarms: (pool, limit) => call('dueAlarms', { pool, limit }, again),
    sessions: pool => call('sessions', pool === undefined ? {} : { pool }, again),
    async list(query) {
      type Page = { claims: WireClaim[]; cursor: string | null };
      const { claims, cursor } = await call<Page>('list', query, again);
      return { claims: claims.map(decodeClaim), cursor };
    },
    async exportKeys(cursor, limit) {
      type Page = { records: WireKeyRecord[]; cursor: string | null };
      const page = await call<Page>('exportKeys', { cursor, limit }, again);
      return { records: page.records.map(decodeKeyRecord), cursor: page.cursor };
    },
    async importKeys(records) {
      const sent = records.map(each => ({ ...encodeKeyRecord(each), alarmAtMs: checkTime(each.alarmAtMs) }));
      return call<{ pool: InstanceId; key: ResourceKey }[]>('importKeys', { records: sent }, again);
    },
    watch: listener => subscriptions.watchDirectory(listener),
  };
}

/** Checked on this side too: JSON would make null of what is no number, and null takes an alarm away. */
function checkTime(atMs: number | null): number | null {
  return atMs === null ? null : time({ atMs }, 'atMs');
}
