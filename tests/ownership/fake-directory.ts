/**
 * `ResourceDirectory` over the production decisions, in memory, under a fake system: a network with delays and losses between
 * caller and store, and a store that can restart or forget. For the guard's tests and the simulation; what a real store adds has its
 * own tests.
 */
import {
  HoldfastError,
  type DirectoryEvent,
  type Fence,
  type ResourceDirectory,
  type SessionId,
  type System,
} from '#core';
import { fenceEpoch } from '#leases';
import { Directory } from '../../ownership/directory/directory.ts';
import { ClaimStorage } from '../support/claim-storage.ts';

export interface Network {
  /** Time that one way takes, or null: the message is lost, and the caller gives up after a while. */
  delayMs(): number | null;
}

export interface FakeDirectory {
  /** The decisions as they stand: another object after `restart` and `forget`. */
  readonly directory: Directory;
  readonly storage: ClaimStorage;
  port(network: Network): ResourceDirectory;
  /** The store starts again from what it had stored. */
  restart(): void;
  /** The store loses everything, and knows it: it collects for `collectMs`. */
  forget(collectMs: number): void;
}

const giveUpMs = 300;
/** By how much fences jump when the store has forgotten its counter. */
const forgottenFences = 1_000_000n;

export function createFakeDirectory(system: System): FakeDirectory {
  let counter = 0n;
  let ids = 0;
  let collectUntilMs: number | null = null;
  const storage = new ClaimStorage();
  const watchers = new Set<(events: DirectoryEvent[]) => void>();
  // The store's clock is not the host's: it counts from elsewhere.
  const nowMs = () => system.clock.monotonicMs() + 77_777;
  const start = () =>
    new Directory(
      {
        nextFence: () => ++counter as Fence,
        fenceAbove: above => (counter = (above > counter ? above : counter) + 1n) as Fence,
        fenceSeen: fence => void (counter = fence > counter ? fence : counter),
        newSessionId: () => `session-${++ids}` as SessionId,
        loadClaim: (pool, key) => storage.load(pool, key),
      },
      { sessions: storage.loadSessions(), collectUntilMs },
    );
  let directory = start();

  /** Decides, stores, tells: nothing of it can be seen before the whole of it is done. */
  function decide<T>(decision: (nowMs: number) => T): T {
    try {
      return decision(nowMs());
    } finally {
      const { changes, events } = directory.takeOutput();
      storage.write(changes);
      if (events.length > 0) for (const watcher of watchers) watcher(events);
    }
  }

  function port(network: Network): ResourceDirectory {
    async function call<T>(decision: (nowMs: number) => T): Promise<T> {
      const sentMs = system.clock.monotonicMs();
      const lost = async (): Promise<never> => {
        await system.timers.sleep(Math.max(0, sentMs + giveUpMs - system.clock.monotonicMs()));
        throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'no answer');
      };
      const out = network.delayMs();
      if (out === null) return lost();
      await system.timers.sleep(out);
      const answer = decide(decision); // executed, whether the answer arrives or not
      const back = network.delayMs();
      if (back === null) return lost();
      await system.timers.sleep(back);
      return answer;
    }
    return {
      openSession: request => call(now => directory.openSession(request, now)),
      renewSession: id => call(now => directory.renewSession(id, now)),
      resumeSession: (request, held) => call(now => directory.resumeSession(request, held, now)),
      adopt: (id, held) => call(now => directory.adopt(id, held, now)),
      updateSession: (id, change) => call(now => directory.updateSession(id, change, now)),
      closeSession: id => call(now => directory.closeSession(id, now)),
      endSessionsOf: id => call(now => directory.endSessionsOf(id, now)),
      claim: (pool, key) => call(now => directory.claim(pool, key, now)),
      claimMany: (pool, keys) => call(now => keys.map(key => directory.claim(pool, key, now))),
      raiseFence: (claim, above) => call(now => directory.raiseFence(claim, above, now)),
      confirmOpened: holding => call(now => directory.confirmOpened(holding, now)),
      lookup: (pool, key) => call(now => directory.lookup(pool, key, now)),
      release: holding => call(now => directory.release(holding, now)),
      releaseMany: holdings => call(now => holdings.map(holding => directory.release(holding, now))),
      transfer: (holding, to) => call(now => directory.transfer(holding, to, now)),
      pauseKey: (pool, key) => call(now => directory.pauseKey(pool, key, now)),
      isPaused: (pool, key) => call(() => directory.isPaused(pool, key)),
      resumeKey: (pool, key) => call(now => directory.resumeKey(pool, key, now)),
      setAlarm: (holding, atMs) => call(now => directory.setAlarm(holding, atMs, now)),
      settleAlarm: (holding, atMs) => call(now => directory.settleAlarm(holding, atMs, now)),
      dueAlarms: (pool, limit) => call(() => storage.dueAlarms(pool, limit, system.clock.wallMs())),
      sessions: pool => call(now => directory.sessions(pool, now)),
      list: query =>
        call(now => {
          directory.expire(now);
          return storage.list(query, id => directory.session(id));
        }),
      exportKeys: (cursor, limit) => call(() => storage.export(cursor, limit)),
      importKeys: records =>
        call(now => directory.importKeys(records, fenceEpoch(system.clock.wallMs()), now)),
      watch(listener) {
        // In order, as over one connection: nothing overtakes. What gets lost breaks it, and a new one begins with a reset.
        let arrivesMs = 0;
        let watching = true;
        const watcher = (events: DirectoryEvent[]) => {
          const delay = network.delayMs();
          arrivesMs = Math.max(arrivesMs, system.clock.monotonicMs() + (delay ?? giveUpMs));
          const told = delay === null ? [{ type: 'reset' } as const] : events;
          system.timers.after(arrivesMs - system.clock.monotonicMs(), () => {
            for (const event of told) if (watching) listener(event);
          });
        };
        watchers.add(watcher);
        return () => {
          watching = false;
          watchers.delete(watcher);
        };
      },
    };
  }

  function startAgain(): void {
    directory = start();
    for (const watcher of watchers) watcher([{ type: 'reset' }]);
  }
  return {
    get directory() {
      return directory;
    },
    storage,
    port,
    restart: startAgain,
    forget(collectMs) {
      storage.clear();
      counter += forgottenFences;
      collectUntilMs = nowMs() + collectMs;
      startAgain();
    },
  };
}
