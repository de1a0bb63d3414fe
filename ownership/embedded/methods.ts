/** What the coordinator answers: each method reads its arguments, decides, and answers when durable. */
import { LEASE_LIMITS } from '#leases';
import type { Directory } from '../directory/directory.ts';
import { invalid, text, type Params } from './arguments.ts';
import { directoryMethods } from './directory-methods.ts';
import type { GroupCommit } from './group-commit.ts';
import type { CoordinationStore } from './store.ts';
import type { Subscriber, Subscribers } from './subscribers.ts';
import { decodeFence, encodeGrant, encodeHolder } from './wire.ts';

export interface MethodPorts {
  store: CoordinationStore;
  directory: Directory;
  commit: GroupCommit;
  subscribers: Pick<Subscribers, 'publishDocument' | 'publishLease'>;
  /** Now, on the store's clock. */
  nowMs: () => number;
  /** The store's time of day. */
  wallMs: () => number;
  /** Hears of the time to live of every session before it is granted. */
  sessionTtl: (ttlMs: number) => void;
}

/** A method: parameters and the connection that called. */
export type Method = (params: Params, subscriber: Subscriber) => unknown;

const documentBytesMax = 4 * 1024 * 1024;

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

function leaseMethods({ store, commit, subscribers }: MethodPorts): Record<string, Method> {
  const { leases } = store;
  // The lease table itself checks names, holders and times, and says HF_LEASE_INVALID.
  const name = (params: Params) => params['name'] as string;
  const holder = (params: Params) => params['holder'] as string;
  const ttlMs = (params: Params) => params['ttlMs'] as number;
  return {
    async 'lease.tryAcquire'(p) {
      const { grant, isNew } = await commit.exclusively(() => {
        const before = store.fences.last;
        const grant = leases.tryAcquire(name(p), holder(p), ttlMs(p));
        return { grant, isNew: store.fences.last !== before }; // an extension takes no fence
      });
      if (isNew) subscribers.publishLease(name(p));
      return encodeGrant(grant);
    },
    'lease.renew': p =>
      commit.exclusively(() =>
        encodeGrant(leases.renew(name(p), holder(p), decodeFence(p['fence']), ttlMs(p))),
      ),
    async 'lease.release'(p) {
      const released = await commit.exclusively(() =>
        leases.release(name(p), holder(p), decodeFence(p['fence'])),
      );
      if (released) subscribers.publishLease(name(p));
      return released;
    },
    'lease.inspect': p =>
      commit.exclusively(() => {
        const found = leases.inspect(name(p));
        return found && encodeHolder(found);
      }),
    'lease.list': p =>
      commit.exclusively(() => {
        const page = leases.list(p);
        return { leases: page.leases.map(encodeHolder), cursor: page.cursor };
      }),
    'lease.watch': (p, subscriber) => subscriber.watchLease(text(p, 'name', LEASE_LIMITS.nameBytesMax)),
    'lease.unwatch': (p, subscriber) => subscriber.unwatchLease(text(p, 'name', LEASE_LIMITS.nameBytesMax)),
  };
}

function documentMethods({ store, commit, subscribers }: MethodPorts): Record<string, Method> {
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
      subscribers.publishDocument(name(p), written.document);
      return { written: true, etag: written.document.etag };
    },
    'document.watch': (p, subscriber) => {
      subscriber.watchDocument(name(p));
      return commit.exclusively(() => store.readDocument(name(p)));
    },
  };
}
