/** `Coordination` over the coordinator's socket: each method is one call, see `connection.ts` for what happens between. */
import {
  HoldfastError,
  type Coordination,
  type DocumentStore,
  type LeaseService,
  type Logger,
  type StoredDocument,
  type System,
} from '#core';
import { checkLeaseArguments, checkListQuery, createHold, createWatch } from '#leases';
import { silentLog } from '../silent-log.ts';
import { keepConnection, type Connection } from './connection.ts';
import { directoryClient } from './directory-client.ts';
import type { EmbeddedAddress } from './state-folder.ts';
import { createSubscriptions, type Subscriptions } from './subscriptions.ts';
import { decodeGrant, decodeHolder, type WireGrant, type WireHolder } from './wire.ts';

export interface ConnectOptions {
  system: System;
  log?: Logger;
  /** Starts the coordinator again when nobody answers: agents pass `() => ensureCoordinator(stateRoot, system)`, hosts nothing. */
  revive?: () => Promise<unknown>;
}

/** As in directory-client.ts. */
const again = { again: true } as const;
const once = { again: false } as const;

/**
 * Connects to the embedded coordination store, and stays connected (reconnecting as often as needed) until `close`.
 * @throws HoldfastError HF_COORDINATION_UNAVAILABLE when nobody answers within a second
 */
export async function connectEmbedded(
  address: EmbeddedAddress,
  options: ConnectOptions,
): Promise<Coordination> {
  const { system } = options;
  const log = options.log ?? silentLog;
  const subscriptions = createSubscriptions(log);
  const connection = keepConnection({
    socketPath: address.socketPath,
    system,
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
    leases: leaseClient(connection, subscriptions, system),
    directory: directoryClient(connection, subscriptions),
    documents: documentClient(connection, subscriptions),
    async close() {
      connection.close();
    },
  };
}

function leaseClient({ call }: Connection, subscriptions: Subscriptions, system: System): LeaseService {
  const basics: Omit<LeaseService, 'watch' | 'hold'> = {
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
    async list(query) {
      const { prefix, limit, cursor } = checkListQuery(query);
      type Page = { leases: WireHolder[]; cursor: string | null };
      const asked = { prefix, limit, ...(cursor === null ? {} : { cursor }) };
      const page = await call<Page>('lease.list', asked, again);
      return { leases: page.leases.map(decodeHolder), cursor: page.cursor };
    },
  };
  const hint = (name: string, look: () => void) => subscriptions.watchLease(name, look);
  const watch = createWatch({ inspect: name => basics.inspect(name), system, hint });
  const primitives = { ...basics, watch };
  return { ...primitives, hold: createHold({ primitives, system }) };
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
