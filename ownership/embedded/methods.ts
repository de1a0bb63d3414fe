/** What the coordinator answers: each method reads its arguments, decides in the directory, and answers when durable. */
import type { Fence, InstanceId, ProcessId, ResourceKey, SessionId, StoredDocument } from '#core';
import type { Directory } from '../directory/directory.ts';
import {
  cursor,
  formatCursor,
  invalid,
  number,
  openSession,
  optional,
  optionalFlag,
  resourceKey,
  resourceKeys,
  text,
  type Params,
} from './arguments.ts';
import type { GroupCommit } from './group-commit.ts';
import type { CoordinationStore } from './store.ts';
import type { Subscriber } from './subscribers.ts';
import { decodeFence, encodeClaim, encodeGrant, encodeHolder, encodeOutcome } from './wire.ts';

export interface MethodPorts {
  store: CoordinationStore;
  directory: Directory;
  commit: GroupCommit;
  /** Now, on the store's clock. */
  nowMs: () => number;
  publishDocument: (name: string, document: StoredDocument) => void;
}

/** A method: parameters and the connection that called. */
export type Method = (params: Params, subscriber: Subscriber) => unknown;

const documentBytesMax = 4 * 1024 * 1024;
const pageMax = 1_000;

/** All methods, by name. `ping` looks whether somebody answers, `hello` makes the caller a client. Each throws HF_REQUEST_INVALID or HF_LEASE_INVALID on bad arguments. */
export function createMethods(ports: MethodPorts): Record<string, Method> {
  return {
    ping: () => ({ pid: process.pid }),
    hello: () => ({}),
    ...leaseMethods(ports),
    ...directoryMethods(ports),
    ...documentMethods(ports),
  };
}

function leaseMethods({ store, commit }: MethodPorts): Record<string, Method> {
  const { leases } = store;
  // The lease table itself checks names, holders and times, and says HF_LEASE_INVALID.
  const name = (params: Params) => params['name'] as string;
  const holder = (params: Params) => params['holder'] as string;
  const ttlMs = (params: Params) => params['ttlMs'] as number;
  return {
    'lease.tryAcquire': p =>
      commit.exclusively(() => encodeGrant(leases.tryAcquire(name(p), holder(p), ttlMs(p)))),
    'lease.renew': p =>
      commit.exclusively(() =>
        encodeGrant(leases.renew(name(p), holder(p), decodeFence(p['fence']), ttlMs(p))),
      ),
    'lease.release': p =>
      commit.exclusively(() => leases.release(name(p), holder(p), decodeFence(p['fence']))),
    'lease.inspect': p =>
      commit.exclusively(() => {
        const found = leases.inspect(name(p));
        return found && encodeHolder(found);
      }),
  };
}

function directoryMethods({ store, directory, commit, nowMs }: MethodPorts): Record<string, Method> {
  const pool = (params: Params) => text<InstanceId>(params, 'pool');
  const sessionId = (params: Params) => text<SessionId>(params, 'sessionId');
  const fence = (params: Params): Fence => decodeFence(params['fence']);
  const holding = (p: Params) => ({
    pool: pool(p),
    key: resourceKey(p),
    sessionId: sessionId(p),
    fence: fence(p),
  });

  return {
    openSession: p => commit.run(() => directory.openSession(openSession(p), nowMs())),
    renewSession: p => commit.run(() => directory.renewSession(sessionId(p), nowMs())),
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
    sessions: p =>
      commit.run(() => directory.sessions(optional(p, 'pool', text<InstanceId>) ?? undefined, nowMs())),
    list(p) {
      const query = {
        pool: optional(p, 'pool', text<InstanceId>),
        key: optional(p, 'key', (params, name): ResourceKey => resourceKey(params, name)),
        prefix: p['prefix'] === '' ? '' : (optional(p, 'prefix', resourceKey) ?? ''),
        limit: Math.floor(
          optional(p, 'limit', (params, name) => number(params, name, { min: 1, max: pageMax })) ?? pageMax,
        ),
        after: optional(p, 'cursor', cursor),
      };
      directory.expire(nowMs());
      commit.flush();
      const { claims, next } = store.list(query, id => directory.session(id));
      return { claims: claims.map(encodeClaim), cursor: next && formatCursor(next) };
    },
    watchDirectory: (_params, subscriber) => subscriber.watchDirectory(),
  };
}

function documentMethods({ store, commit, publishDocument }: MethodPorts): Record<string, Method> {
  const name = (params: Params) => text<string>(params, 'name');
  return {
    'document.get': p => commit.exclusively(() => store.readDocument(name(p))),
    async 'document.put'(p) {
      const { content } = p;
      if (typeof content !== 'string' || Buffer.byteLength(content) > documentBytesMax) {
        throw invalid('content', `text of at most ${documentBytesMax} bytes`);
      }
      const expected = p['expectedEtag'] ?? null;
      if (expected !== null && typeof expected !== 'string') throw invalid('expectedEtag', 'an ETag or null');
      const written = await commit.exclusively(() => {
        const current = store.readDocument(name(p));
        if ((current?.etag ?? null) !== expected) return { current };
        // From the counter that never goes back: content that returns to an old text still gets an ETag of its own.
        const document = { content, etag: `e${store.fences.next()}` };
        store.writeDocument(name(p), document);
        return { document };
      });
      if (!written.document) return { written: false, current: written.current };
      publishDocument(name(p), written.document);
      return { written: true, etag: written.document.etag };
    },
    'document.watch': (p, subscriber) => {
      subscriber.watchDocument(name(p));
      return commit.exclusively(() => store.readDocument(name(p)));
    },
  };
}
