/**
 * `ResourceDirectory` over the production decisions, in memory, under a fake system: a network with delays and losses between
 * caller and store. For the guard's tests and the simulation; what a real store adds has its own tests.
 */
import { HoldfastError, type Fence, type ResourceDirectory, type SessionId, type System } from '#core';
import { Directory } from '../../ownership/directory/directory.ts';
import type { StoredClaim } from '../../ownership/directory/records.ts';

export interface Network {
  /** Time that one way takes, or null: the message is lost, and the caller gives up after a while. */
  delayMs(): number | null;
}

const giveUpMs = 300;

export function createFakeDirectory(system: System): {
  directory: Directory;
  port: (network: Network) => ResourceDirectory;
} {
  let counter = 0n;
  let ids = 0;
  const stored = new Map<string, StoredClaim>();
  const directory = new Directory({
    nextFence: () => ++counter as Fence,
    fenceAbove: above => (counter = (above > counter ? above : counter) + 1n) as Fence,
    newSessionId: () => `session-${++ids}` as SessionId,
    loadClaim: (pool, key) => stored.get(`${pool}\0${key}`) ?? null,
  });
  // The store's clock is not the host's: it counts from elsewhere.
  const nowMs = () => system.clock.monotonicMs() + 77_777;

  function port(network: Network): ResourceDirectory {
    async function call<T>(decide: (nowMs: number) => T): Promise<T> {
      const sentMs = system.clock.monotonicMs();
      const lost = async (): Promise<never> => {
        await system.timers.sleep(Math.max(0, sentMs + giveUpMs - system.clock.monotonicMs()));
        throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'no answer');
      };
      const out = network.delayMs();
      if (out === null) return lost();
      await system.timers.sleep(out);
      const answer = decide(nowMs()); // executed, whether the answer arrives or not
      const back = network.delayMs();
      if (back === null) return lost();
      await system.timers.sleep(back);
      return answer;
    }
    return {
      openSession: request => call(now => directory.openSession(request, now)),
      renewSession: id => call(now => directory.renewSession(id, now)),
      updateSession: (id, change) => call(now => directory.updateSession(id, change, now)),
      closeSession: id => call(now => directory.closeSession(id, now)),
      endSessionsOf: id => call(now => directory.endSessionsOf(id, now)),
      claim: (pool, key) => call(now => directory.claim(pool, key, now)),
      claimMany: (pool, keys) => call(now => keys.map(key => directory.claim(pool, key, now))),
      raiseFence: (claim, above) => call(now => directory.raiseFence(claim, above, now)),
      confirmOpened: claim => call(now => directory.confirmOpened(claim, now)),
      lookup: (pool, key) => call(now => directory.lookup(pool, key, now)),
      release: claim => call(now => directory.release(claim, now)),
      sessions: pool => call(now => directory.sessions(pool, now)),
      list: () => Promise.resolve({ claims: [], cursor: null }),
      watch: () => () => {},
    };
  }
  return { directory, port };
}
