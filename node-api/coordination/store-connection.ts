/**
 * The agent's connection to the coordination store. A Redis may be away when the agent starts: it goes on trying, and whoever watches
 * is told to look anew (`reset`) when it has come. The store can be replaced as long as nothing runs here, which `assignment.ts`
 * decides; those who watch keep their subscription.
 */
import { connectCoordination, ensureCoordinator } from '#ownership';
import {
  HoldfastError,
  type Coordination,
  type CoordinationAddress,
  type DirectoryEvent,
  type ResourceDirectory,
  type System,
} from '#core';
import type { FastifyBaseLogger } from 'fastify';
import { within } from '../supervision/stop-host.ts';
import type { StoredAddress } from './address-file.ts';

/** What an agent needs of the directory. */
export type AgentDirectory = Pick<ResourceDirectory, 'endSessionsOf' | 'sessions' | 'watch'>;

export interface StoreConnection {
  /** Where hosts that are launched now find the store. */
  readonly address: CoordinationAddress;
  /** Rejects with HF_COORDINATION_UNAVAILABLE while there is no connection. */
  readonly directory: AgentDirectory;
  /** Asks the store something now, for about a second; null: it answers, else why not. */
  probe(): Promise<string | null>;
  /** Leaves this store for another one. `address` is the new one at once; it is connected to in the background. */
  replace(address: CoordinationAddress): Promise<void>;
  close(): Promise<void>;
}

export interface StoreConnectionOptions {
  address: StoredAddress;
  stateRoot: string;
  system: System;
  log: FastifyBaseLogger;
}

const retryMs = 500;
const probeMs = 1_500;
/** Asked for by probes; nobody writes it. */
const probeDocument = 'probe';

/** One store, for as long as it is used. */
interface Link {
  address: CoordinationAddress;
  /** Null until the first connection, which from then on keeps itself up. */
  coordination: Coordination | null;
  /** Why there is none. */
  problem: string;
  closing: AbortController;
  /** Resolves when the first try is over. */
  tried: Promise<void>;
}

/** @throws HoldfastError HF_STATE_UNUSABLE, HF_COORDINATION_UNAVAILABLE when the embedded store, which is here, does not start */
export async function openStoreConnection(options: StoreConnectionOptions): Promise<StoreConnection> {
  const { stateRoot, system, log } = options;
  const listeners = new Set<(event: DirectoryEvent) => void>();
  const tell = (event: DirectoryEvent) => {
    for (const listener of listeners) listener(event);
  };

  function attach(link: Link, coordination: Coordination): void {
    link.coordination = coordination;
    link.problem = '';
    coordination.directory.watch(event => {
      if (link === current) tell(event);
    });
    if (link === current) tell({ type: 'reset' });
  }

  async function keepTrying(link: Link, tried: () => void): Promise<void> {
    const { signal } = link.closing;
    while (!signal.aborted) {
      try {
        const coordination = await connectCoordination(link.address, { system, log });
        if (signal.aborted) return await coordination.close();
        log.info({}, 'connected to the coordination store');
        attach(link, coordination);
        return tried();
      } catch (error) {
        const problem = (error as Error).message;
        if (problem !== link.problem) log.warn({ err: error }, 'the coordination store cannot be reached');
        link.problem = problem;
        tried();
      }
      await system.timers.sleep(retryMs, signal).catch(() => {}); // closed meanwhile: the loop ends
    }
  }

  function open(address: CoordinationAddress): Link {
    const { promise: tried, resolve } = Promise.withResolvers<void>();
    const link: Link = {
      address,
      coordination: null,
      problem: 'it has not been reached yet',
      closing: new AbortController(),
      tried,
    };
    void keepTrying(link, resolve);
    return link;
  }

  async function openEmbedded(): Promise<Link> {
    const address = await ensureCoordinator(stateRoot, system);
    const revive = () => ensureCoordinator(stateRoot, system);
    const coordination = await connectCoordination(address, { system, log, revive });
    const closing = new AbortController();
    return { address, coordination, problem: '', closing, tried: Promise.resolve() };
  }

  let current = options.address.kind === 'redis' ? open(options.address) : await openEmbedded();
  if (current.coordination) attach(current, current.coordination);

  async function end(link: Link): Promise<void> {
    link.closing.abort();
    await link.coordination?.close();
  }

  function directory(): ResourceDirectory {
    if (current.coordination) return current.coordination.directory;
    throw new HoldfastError(
      'HF_COORDINATION_UNAVAILABLE',
      `the coordination store is away: ${current.problem}`,
    );
  }

  return {
    get address() {
      return current.address;
    },
    directory: {
      endSessionsOf: async processId => directory().endSessionsOf(processId),
      sessions: async pool => directory().sessions(pool),
      watch(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    async probe() {
      const link = current;
      await within(system, probeMs, link.tried);
      const { coordination } = link;
      if (!coordination) return link.problem;
      try {
        const asked = coordination.documents.get(probeDocument).then(() => true as const);
        return (await within(system, probeMs, asked)) ? null : `it did not answer within ${probeMs} ms`;
      } catch (error) {
        return (error as Error).message;
      }
    },
    async replace(address) {
      const before = current;
      current = open(address);
      await end(before);
    },
    close: () => end(current),
  };
}
