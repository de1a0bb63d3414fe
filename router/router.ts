/** Puts the router's parts together and gives them their life cycle. */
import type { ClusterAccess, Component, Logger, System } from '#core';
import {
  createOwners,
  createOwnerSearch,
  createUpstreams,
  createWaitingRoom,
  type OwnersDeps,
} from '#ownership';
import { createCounters, type Counters } from './counters.ts';
import { createForwarding } from './forwarding.ts';
import { createFrontDoor } from './front-door.ts';
import { healthPage } from './health-page.ts';
import { createByteBudget } from './request-body.ts';
import { watchRouting, type Routing } from './routing.ts';
import { routerSettings, type RouterSettings } from './settings.ts';

export interface RouterDeps {
  cluster: Pick<ClusterAccess, 'clusterName' | 'secret'> & {
    coordination: Pick<ClusterAccess['coordination'], 'directory' | 'documents'>;
  };
  processId: string;
  settings: Partial<RouterSettings>;
  system: System;
  log: Logger;
  reportHealth?: (health: { ready: boolean; message?: string }) => void;
}

export interface Router extends Component {
  /** Where it listens, after `start`. */
  address(): { host: string; port: number };
  readonly counters: Readonly<Counters>;
}

/** A stop without a deadline of its own ends after this. */
const stopMs = 5_000;
/** How long a start waits for the cluster settings before it listens without them and answers 503. */
const settingsMs = 2_000;

export function createRouter(deps: RouterDeps): Router {
  const { cluster, system, log } = deps;
  const { directory, documents } = cluster.coordination;
  const settings = routerSettings(deps.settings);
  const counters = createCounters();
  let routing: Routing | null = null;
  let unwatch: (() => void) | null = null;

  const upstreams = createUpstreams({
    system,
    secret: cluster.secret,
    ownerTimeoutMs: settings.ownerTimeoutMs,
  });
  const room = createWaitingRoom(system, settings.maxHeldRequests);
  const owners = createOwners({
    directory,
    system,
    log,
    onEffect,
    isAwaited: (pool, key) => room.isAwaited(pool, key),
    keysMax: settings.maxKnownKeys,
  });
  const search = createOwnerSearch({ owners, upstreams, system });
  const budget = createByteBudget(settings.maxHeldBytes, () => (counters.unkept += 1));
  const forward = createForwarding({
    settings,
    system,
    log,
    counters,
    owners,
    search,
    upstreams,
    room,
    budget,
  });
  const door = createFrontDoor({
    settings,
    system,
    log,
    counters,
    forward,
    routing: () => routing,
    health: () =>
      healthPage({
        processId: deps.processId,
        clusterName: cluster.clusterName,
        routes: routing?.table ?? null,
        sessions: pool => owners.sessions(pool),
        counters,
        bounds: {
          requests: { now: counters.active, max: settings.maxRequests },
          webSockets: { now: counters.tunnels, max: settings.maxWebSockets },
          heldRequests: { now: room.waiting, max: settings.maxHeldRequests },
          heldBytes: { now: budget.taken, max: settings.maxHeldBytes },
          knownKeys: { now: owners.known, max: settings.maxKnownKeys },
        },
      }),
  });

  function onEffect(effect: Parameters<OwnersDeps['onEffect']>[0]): void {
    switch (effect.type) {
      case 'wake':
        return room.wake(effect.pool, effect.key);
      case 'wake-all':
        return room.wakeAll();
      case 'retire':
        return upstreams.retire(effect.sessionId, effect.graceful);
    }
  }

  async function stop(signal: AbortSignal): Promise<void> {
    const deadline = new AbortController();
    const hurry = () => deadline.abort();
    if (signal.aborted) hurry();
    signal.addEventListener('abort', hurry, { once: true });
    const cancel = system.timers.after(stopMs, hurry, { keepAlive: true });
    await door.close(deadline.signal);
    cancel();
    signal.removeEventListener('abort', hurry);
    letGo();
    upstreams.destroy();
  }

  function letGo(): void {
    unwatch?.();
    unwatch = null;
    owners.stop();
  }

  /** Resolves when the settings have come, which takes milliseconds in a cluster that runs; or when they are late. */
  async function learn(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    owners.start();
    unwatch = watchRouting(documents, log, next => {
      routing = next;
      deps.reportHealth?.({ ready: true });
      resolve();
    });
    const cancel = system.timers.after(settingsMs, resolve, { keepAlive: true });
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    cancel();
    signal.throwIfAborted();
    if (!routing) deps.reportHealth?.({ ready: false, message: 'waiting for the cluster settings' });
  }

  return {
    counters,
    address: () => door.address(),
    async start(signal) {
      signal.throwIfAborted();
      try {
        await learn(signal);
        await door.listen();
      } catch (error) {
        letGo();
        throw error;
      }
      log.info({ ...door.address() }, 'the router listens');
    },
    stop,
  };
}
