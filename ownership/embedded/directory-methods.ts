/** What the coordinator answers about sessions and keys: arguments read, decided in the directory, answered when durable. */
import type { InstanceId, ProcessId, ResourceKey, SessionId } from '#core';
import {
  cursor,
  formatCursor,
  heldKeys,
  holding,
  holdings,
  keyRecords,
  number,
  openSession,
  optional,
  optionalFlag,
  resourceKey,
  resourceKeys,
  text,
  time,
  type Params,
} from './arguments.ts';
import { fenceEpoch } from '#leases';
import type { Method, MethodPorts } from './methods.ts';
import { decodeFence, encodeClaim, encodeKeyRecord, encodeOutcome, encodeTransfer } from './wire.ts';

const pageMax = 1_000;

const pool = (params: Params) => text<InstanceId>(params, 'pool');
const sessionId = (params: Params) => text<SessionId>(params, 'sessionId');
const limit = (params: Params) =>
  Math.floor(optional(params, 'limit', (p, name) => number(p, name, { min: 1, max: pageMax })) ?? pageMax);

export function directoryMethods(ports: MethodPorts): Record<string, Method> {
  return { ...sessionMethods(ports), ...keyMethods(ports), ...listMethods(ports) };
}

function sessionMethods({ directory, commit, nowMs, sessionTtl }: MethodPorts): Record<string, Method> {
  return {
    openSession: p =>
      commit.run(() => {
        const request = openSession(p);
        sessionTtl(request.ttlMs);
        return directory.openSession(request, nowMs());
      }),
    renewSession: p => commit.run(() => directory.renewSession(sessionId(p), nowMs())),
    resumeSession: p =>
      commit.run(() => {
        const request = openSession(p);
        sessionTtl(request.ttlMs);
        return directory.resumeSession(request, heldKeys(p), nowMs());
      }),
    adopt: p => commit.run(() => directory.adopt(sessionId(p), heldKeys(p), nowMs())),
    updateSession: p =>
      commit.run(() => {
        const draining = optionalFlag(p, 'draining');
        const ready = optionalFlag(p, 'ready');
        const change = {
          ...(draining === undefined ? {} : { draining }),
          ...(ready === undefined ? {} : { ready }),
        };
        return directory.updateSession(sessionId(p), change, nowMs());
      }),
    closeSession: p => commit.run(() => directory.closeSession(sessionId(p), nowMs())),
    endSessionsOf: p => commit.run(() => directory.endSessionsOf(text<ProcessId>(p, 'processId'), nowMs())),
    sessions: p =>
      commit.run(() => directory.sessions(optional(p, 'pool', text<InstanceId>) ?? undefined, nowMs())),
  };
}

function keyMethods({ directory, commit, nowMs }: MethodPorts): Record<string, Method> {
  return {
    claim: p => commit.run(() => encodeOutcome(directory.claim(pool(p), resourceKey(p), nowMs()))),
    claimMany: p =>
      commit.run(() => {
        const keys = resourceKeys(p);
        const atMs = nowMs();
        return keys.map(key => encodeOutcome(directory.claim(pool(p), key, atMs)));
      }),
    raiseFence: p =>
      commit.run(() => {
        const held = { pool: pool(p), key: resourceKey(p), sessionId: sessionId(p) };
        const raised = directory.raiseFence(held, decodeFence(p['above']), nowMs());
        return raised && encodeClaim(raised);
      }),
    confirmOpened: p => commit.run(() => directory.confirmOpened(holding(p), nowMs())),
    lookup: p =>
      commit.run(() => {
        const found = directory.lookup(pool(p), resourceKey(p), nowMs());
        return found && encodeClaim(found);
      }),
    release: p => commit.run(() => directory.release(holding(p), nowMs())),
    releaseMany: p =>
      commit.run(() => {
        const given = holdings(p);
        const atMs = nowMs();
        return given.map(each => directory.release(each, atMs));
      }),
    transfer: p =>
      commit.run(() =>
        encodeTransfer(directory.transfer(holding(p), optional(p, 'to', text<SessionId>), nowMs())),
      ),
    pauseKey: p =>
      commit.run(() => {
        const owner = directory.pauseKey(pool(p), resourceKey(p), nowMs());
        return owner && encodeClaim(owner);
      }),
    resumeKey: p => commit.run(() => directory.resumeKey(pool(p), resourceKey(p), nowMs())),
    isPaused: p => commit.run(() => directory.isPaused(pool(p), resourceKey(p))),
    setAlarm: p => commit.run(() => directory.setAlarm(holding(p), optional(p, 'atMs', time), nowMs())),
    settleAlarm: p => commit.run(() => directory.settleAlarm(holding(p), time(p, 'atMs'), nowMs())),
  };
}

function listMethods(ports: MethodPorts): Record<string, Method> {
  const { store, directory, commit, nowMs, wallMs } = ports;
  return {
    list(p) {
      const query = {
        pool: optional(p, 'pool', text<InstanceId>),
        key: optional(p, 'key', (params, name): ResourceKey => resourceKey(params, name)),
        prefix: p['prefix'] === '' ? '' : (optional(p, 'prefix', resourceKey) ?? ''),
        sessionId: optional(p, 'sessionId', text<SessionId>),
        limit: limit(p),
        after: optional(p, 'cursor', cursor),
      };
      directory.expire(nowMs());
      commit.flush();
      const { claims, next } = store.claims.page(query, id => directory.session(id));
      return { claims: claims.map(encodeClaim), cursor: next && formatCursor(next) };
    },
    dueAlarms(p) {
      const [of, atMost] = [pool(p), limit(p)];
      commit.flush();
      const atMs = wallMs();
      const { alarms, nextAtMs } = store.claims.dueAlarms(of, atMost, atMs);
      return { alarms, nextInMs: nextAtMs === null ? null : Math.max(0, nextAtMs - atMs) };
    },
    exportKeys(p) {
      commit.flush();
      const { records, next } = store.claims.records(limit(p), optional(p, 'cursor', cursor));
      return { records: records.map(encodeKeyRecord), cursor: next && formatCursor(next) };
    },
    importKeys: p => commit.run(() => directory.importKeys(keyRecords(p), fenceEpoch(wallMs()), nowMs())),
    watchDirectory: (_params, subscriber) => subscriber.watchDirectory(),
  };
}
