/** `Coordination` over the coordinator's socket: each method is one call, see `connection.ts` for what happens between. */
import {
  HoldfastError,
  type Claim,
  type Coordination,
  type CoordinationAddress,
  type DocumentStore,
  type LeaseService,
  type Logger,
  type ResourceDirectory,
  type StoredDocument,
  type System,
} from '#core';
import { checkLeaseArguments } from '#leases';
import { silentLog } from '../silent-log.ts';
import { keepConnection, type Connection } from './connection.ts';
import { createSubscriptions, type Subscriptions } from './subscriptions.ts';
import {
  decodeClaim,
  decodeGrant,
  decodeHolder,
  decodeOutcome,
  type WireClaim,
  type WireGrant,
  type WireHolder,
  type WireOutcome,
} from './wire.ts';

export interface ConnectOptions {
  system: System;
  log?: Logger;
  /** Starts the coordinator again when nobody answers: agents pass `() => ensureCoordinator(stateRoot, system)`, hosts nothing. */
  revive?: () => Promise<unknown>;
}

/** What does no harm when it is executed twice, or has a second answer that still is true. */
const again = { again: true } as const;
const once = { again: false } as const;

/**
 * Connects to the coordination store, and stays connected (reconnecting as often as needed) until `close`.
 * @throws HoldfastError HF_COORDINATION_UNAVAILABLE when nobody answers within a second
 */
export async function connectCoordination(
  address: CoordinationAddress,
  options: ConnectOptions,
): Promise<Coordination> {
  const log = options.log ?? silentLog;
  const subscriptions = createSubscriptions(log);
  const connection = keepConnection({
    socketPath: address.socketPath,
    system: options.system,
    log,
    revive: options.revive,
    prepare: channel => subscriptions.attach(channel),
  });
  try {
    await connection.call('hello', {}, again);
  } catch (error) {
    connection.close();
    throw error;
  }
  return {
    leases: leaseClient(connection),
    directory: directoryClient(connection, subscriptions),
    documents: documentClient(connection, subscriptions),
    async close() {
      connection.close();
    },
  };
}

function leaseClient({ call }: Connection): LeaseService {
  return {
    // Checked here too, so that a bad argument is one even while the store cannot be asked.
    async tryAcquire(name, holder, ttlMs) {
      checkLeaseArguments({ name, holder, ttlMs });
      return decodeGrant(await call<WireGrant>('lease.tryAcquire', { name, holder, ttlMs }, again));
    },
    async renew(name, holder, fence, ttlMs) {
      checkLeaseArguments({ name, holder, fence, ttlMs });
      const params = { name, holder, fence: fence.toString(), ttlMs };
      return decodeGrant(await call<WireGrant>('lease.renew', params, again));
    },
    async release(name, holder, fence) {
      checkLeaseArguments({ name, holder, fence });
      return call<boolean>('lease.release', { name, holder, fence: fence.toString() }, once);
    },
    async inspect(name) {
      checkLeaseArguments({ name });
      const found = await call<WireHolder | null>('lease.inspect', { name }, again);
      return found && decodeHolder(found);
    },
  };
}

function directoryClient({ call }: Connection, subscriptions: Subscriptions): ResourceDirectory {
  const decoded = (found: WireClaim | null): Claim | null => found && decodeClaim(found);
  return {
    // Sent once: a second one would leave a session that nobody renews. `endEarlier` mends what a lost answer leaves.
    openSession: request => call('openSession', request, once),
    renewSession: sessionId => call('renewSession', { sessionId }, again),
    updateSession: (sessionId, change) => call('updateSession', { sessionId, ...change }, again),
    async closeSession(sessionId) {
      await call('closeSession', { sessionId }, again);
    },
    endSessionsOf: processId => call('endSessionsOf', { processId }, again),
    async claim(pool, key) {
      return decodeOutcome(await call<WireOutcome>('claim', { pool, key }, again));
    },
    async claimMany(pool, keys) {
      return (await call<WireOutcome[]>('claimMany', { pool, keys }, again)).map(decodeOutcome);
    },
    async raiseFence(claim, above) {
      const { pool, key, sessionId } = claim;
      const params = { pool, key, sessionId, above: above.toString() };
      return decoded(await call<WireClaim | null>('raiseFence', params, again));
    },
    confirmOpened: ({ pool, key, sessionId, fence }) =>
      call('confirmOpened', { pool, key, sessionId, fence: fence.toString() }, again),
    async lookup(pool, key) {
      return decoded(await call<WireClaim | null>('lookup', { pool, key }, again));
    },
    release: ({ pool, key, sessionId, fence }) =>
      call('release', { pool, key, sessionId, fence: fence.toString() }, once),
    sessions: pool => call('sessions', pool === undefined ? {} : { pool }, again),
    async list(query) {
      type Page = { claims: WireClaim[]; cursor: string | null };
      const { claims, cursor } = await call<Page>('list', query, again);
      return { claims: claims.map(decodeClaim), cursor };
    },
    watch: listener => subscriptions.watchDirectory(listener),
  };
}

function documentClient({ call }: Connection, subscriptions: Subscriptions): DocumentStore {
  type Written = Awaited<ReturnType<DocumentStore['put']>>;
  return {
    get: name => call<StoredDocument | null>('document.get', { name }, again),
    async put(name, content, expectedEtag) {
      try {
        return await call<Written>('document.put', { name, content, expectedEtag }, once);
      } catch (error) {
        if (!(error instanceof HoldfastError) || error.code !== 'HF_COORDINATION_UNAVAILABLE') throw error;
        // Cut off: it may have been written. What lies there now tells, unless it holds another writer's words.
        const current = await call<StoredDocument | null>('document.get', { name }, again);
        if (current && current.etag !== expectedEtag && current.content === content) {
          return { written: true, etag: current.etag };
        }
        throw error;
      }
    },
    watch: (name, listener) => subscriptions.watchDocument(name, listener),
  };
}
