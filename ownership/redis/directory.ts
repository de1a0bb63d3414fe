/**
 * `ResourceDirectory` on Redis: each method checks its arguments, runs one script and reads its answer. What is decided is in the scripts;
 * why that is safe, in `coordination.ts`.
 */
import type {
  Fence,
  HeldKey,
  Holding,
  InstanceId,
  KeyRecord,
  OpenSession,
  ProcessId,
  ResourceDirectory,
  ResourceKey,
  SessionId,
  System,
} from '#core';
import * as read from '../embedded/arguments.ts';
import { createClaimBatches } from '../directory/claim-batches.ts';
import { importFloor } from '../directory/import-floor.ts';
import { checkReportedFence } from '../embedded/fence-counter.ts';
import { decodeFence, encodeKeyRecord } from '../embedded/wire.ts';
import type { Connection } from './connection.ts';
import type { Watching } from './events.ts';
import { exportKeys } from './export.ts';
import { listClaims } from './list.ts';
import { readOneClaim, readOutcomes, readSession, type ClaimsReply } from './replies.ts';
import * as ofKeys from './scripts/key-scripts.ts';
import * as ofSessions from './scripts/session-scripts.ts';

export interface DirectoryPorts {
  connection: Connection;
  watching: Watching;
  system: System;
  /** No session may live longer without renewal: a Redis that has forgotten waits for so long. */
  sessionTtlMs: number;
  /** Told how long, at most, until the next session ends, whenever that is known. */
  expiryIn: (ms: number) => void;
}

/** What does no harm when it is executed twice, or has a second answer that still is true. */
const again = { again: true } as const;
const once = { again: false } as const;

const flag = (value: boolean) => (value ? '1' : '0');
const optionalFlag = (value: boolean | undefined) => (value === undefined ? '' : flag(value));

export function createRedisDirectory(ports: DirectoryPorts): ResourceDirectory {
  const { connection, watching, system } = ports;
  const { call } = connection;

  async function open(request: OpenSession, held: HeldKey[]) {
    const facts = readOpenSession(request, ports.sessionTtlMs);
    const heldArgs = heldArguments(held);
    const { pool, processId, nodeName, address, ownsResources, capacity, ttlMs, endEarlier, attempt } = facts;
    const who = [pool, processId, nodeName, address, flag(ownsResources)];
    const settings = [String(capacity), String(ttlMs), flag(endEarlier ?? false), String(attempt)];
    const sessionId = system.random.id(20) as SessionId;
    const args = [sessionId, ...who, ...settings, ...heldArgs];
    // Sent once: the same attempt would be refused a second time. The host asks with its next one.
    const refused = (await call(ofSessions.openScript, args, once)) as ResourceKey[];
    ports.expiryIn(ttlMs);
    return { sessionId, expiresInMs: ttlMs, refused };
  }
  async function flagged(...asked: Parameters<Connection['call']>): Promise<boolean> {
    return (await call(...asked)) === 1;
  }

  async function claimMany(pool: InstanceId, keys: ResourceKey[]) {
    const args = [read.text<InstanceId>({ pool }, 'pool'), ...read.resourceKeys({ keys })];
    return readOutcomes(pool, keys, (await call(ofKeys.claimScript, args, again)) as ClaimsReply);
  }

  return {
    async openSession(request) {
      const { sessionId, expiresInMs } = await open(request, []);
      return { sessionId, expiresInMs };
    },
    async resumeSession(request, held) {
      return open({ ...request, endEarlier: true }, held);
    },
    async adopt(sessionId, held) {
      const args = [read.text<SessionId>({ sessionId }, 'sessionId'), ...heldArguments(held)];
      return (await call(ofSessions.adoptScript, args, again)) as ResourceKey[];
    },
    async renewSession(sessionId) {
      const args = [read.text<SessionId>({ sessionId }, 'sessionId')];
      const [, ttlMs, collecting] = (await call(ofSessions.renewScript, args, again)) as string[];
      if (ttlMs !== '') return { alive: true, expiresInMs: Number(ttlMs) };
      return { alive: false, expiresInMs: 0, ...(collecting === '1' ? { forgotten: true } : {}) };
    },
    async updateSession(sessionId, change) {
      const params = { sessionId, ...change };
      const id = read.text<SessionId>(params, 'sessionId');
      const draining = optionalFlag(read.optionalFlag(params, 'draining'));
      return flagged(
        ofSessions.updateScript,
        [id, draining, optionalFlag(read.optionalFlag(params, 'ready'))],
        again,
      );
    },
    async closeSession(sessionId) {
      await call(ofSessions.closeScript, [read.text<SessionId>({ sessionId }, 'sessionId')], again);
    },
    async endSessionsOf(processId) {
      const args = [read.text<ProcessId>({ processId }, 'processId')];
      return Number(await call(ofSessions.diedScript, args, again));
    },
    async sessions(pool) {
      const args = [pool === undefined ? '' : read.text<InstanceId>({ pool }, 'pool')];
      return ((await call(ofSessions.sessionsScript, args, again)) as string[][]).map(readSession);
    },

    claim: createClaimBatches({ claim: async (pool, key) => (await claimMany(pool, [key]))[0]!, claimMany }),
    claimMany,
    async raiseFence({ pool, key, sessionId }, above) {
      const args = [
        ...keyArguments(pool, key),
        read.text<SessionId>({ sessionId }, 'sessionId'),
        fenceSeen(above),
      ];
      return readOneClaim(pool, key, (await call(ofKeys.raiseScript, args, again)) as ClaimsReply);
    },
    async confirmOpened(holding) {
      return flagged(ofKeys.confirmScript, holdingArguments(holding), again);
    },
    async lookup(pool, key) {
      const args = keyArguments(pool, key);
      return readOneClaim(pool, key, (await call(ofKeys.lookupScript, args, again)) as ClaimsReply);
    },
    async release(holding) {
      const [released] = (await call(ofKeys.releaseScript, holdingArguments(holding), once)) as number[];
      return released === 1;
    },
    async releaseMany(holdings) {
      const args = read.holdings({ holdings }).flatMap(holdingArguments);
      return ((await call(ofKeys.releaseScript, args, once)) as number[]).map(one => one === 1);
    },
    async transfer(holding, to) {
      const target = to === null ? '' : read.text<SessionId>({ to }, 'to');
      const args = [...holdingArguments(holding), target];
      const reply = (await call(ofKeys.transferScript, args, once)) as [number, ...ClaimsReply];
      const [held, ...claims] = reply;
      if (held !== 1) return { held: false };
      return { held: true, claim: readOneClaim(holding.pool, holding.key, claims) };
    },
    async pauseKey(pool, key) {
      const args = keyArguments(pool, key);
      return readOneClaim(pool, key, (await call(ofKeys.pauseScript, args, again)) as ClaimsReply);
    },
    async resumeKey(pool, key) {
      return flagged(ofKeys.resumeScript, keyArguments(pool, key), once);
    },
    async isPaused(pool, key) {
      return flagged(ofKeys.pausedScript, keyArguments(pool, key), again);
    },

    async setAlarm(holding, atMs) {
      const at = atMs === null ? '' : String(read.time({ atMs }, 'atMs'));
      return flagged(ofKeys.setAlarmScript, [...holdingArguments(holding), at], again);
    },
    async settleAlarm(holding, atMs) {
      const at = String(read.time({ atMs }, 'atMs'));
      return flagged(ofKeys.settleAlarmScript, [...holdingArguments(holding), at], again);
    },
    async dueAlarms(pool, limit) {
      const most = Math.floor(read.number({ limit }, 'limit', { min: 1, max: 1_000 }));
      const args = [read.text<InstanceId>({ pool }, 'pool'), String(most)];
      const [due, nextInMs] = (await call(ofKeys.dueAlarmsScript, args, again)) as [string[], string];
      const alarms = [];
      for (let index = 0; index < due.length; index += 2) {
        alarms.push({ key: due[index] as ResourceKey, atMs: Number(due[index + 1]) });
      }
      return { alarms, nextInMs: nextInMs === '' ? null : Number(nextInMs) };
    },

    list: query => listClaims(connection, query),
    async exportKeys(cursor, limit) {
      return exportKeys(connection, cursor, read.number({ limit }, 'limit', { min: 1, max: 1_000 }));
    },
    async importKeys(given) {
      const records = read.keyRecords({ records: given.map(encodeKeyRecord) });
      const refused = (await call(ofKeys.importScript, importArguments(records), again)) as string[];
      return Array.from({ length: refused.length / 2 }, (_, index) => ({
        pool: refused[2 * index] as InstanceId,
        key: refused[2 * index + 1] as ResourceKey,
      }));
    },
    watch: watching.watchDirectory,
  };
}

function keyArguments(pool: InstanceId, key: ResourceKey): string[] {
  return [read.text<InstanceId>({ pool }, 'pool'), read.resourceKey({ key })];
}

function holdingArguments(given: Holding): string[] {
  const { pool, key, sessionId, fence } = read.holding({ ...given });
  return [pool, key, sessionId, fence.toString()];
}

/** As `adoptAll` of the scripts reads them. */
function heldArguments(held: HeldKey[]): string[] {
  return read
    .heldKeys({ held })
    .flatMap(({ key, fence, opened, alarmAtMs }) => [
      key,
      fenceSeen(fence),
      flag(opened),
      String(alarmAtMs ?? ''),
    ]);
}

function importArguments(records: KeyRecord[]): string[] {
  // The epoch is the script's own: Redis's clock tells it, as at its start.
  const floor = importFloor(records, 0n as Fence);
  checkReportedFence(floor);
  const facts = records.flatMap(({ pool, key, fence, opened, paused, alarmAtMs }) => [
    pool,
    key,
    fence.toString(),
    flag(opened),
    flag(paused),
    String(alarmAtMs ?? ''),
  ]);
  return [floor.toString(), ...facts];
}

/** The store goes on above every fence that it is told of, so it must not be told of nonsense. */
function fenceSeen(given: Fence): string {
  const fence = decodeFence(given);
  checkReportedFence(fence);
  return fence.toString();
}

function readOpenSession(request: OpenSession, ttlMsMax: number): OpenSession {
  const facts = read.openSession({ ...request });
  if (facts.ttlMs > ttlMsMax) {
    throw read.invalid(
      'ttlMs',
      `at most the ${ttlMsMax} that a Redis that has forgotten waits (sessionTtlMs)`,
    );
  }
  return facts;
}
