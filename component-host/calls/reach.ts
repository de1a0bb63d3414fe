/** The means to reach owners anywhere in the cluster: what is known of them, and connections. Loaded with the first call. */
import type { Logger, ResourceDirectory, System } from '#core';
import {
  createOwners,
  createOwnerSearch,
  createUpstreams,
  createWaitingRoom,
  type Owners,
  type OwnerSearch,
  type Upstreams,
  type WaitingRoom,
} from '#ownership';

export interface ReachDeps {
  system: System;
  log: Logger;
  directory: ResourceDirectory;
  clusterSecret: string;
}

export interface Reach {
  readonly owners: Owners;
  readonly search: OwnerSearch;
  readonly upstreams: Upstreams;
  readonly room: WaitingRoom;
  stop(): void;
}

/** Calls under way at once. */
export const callsMax = 1_024;
/** From the request sent to the first byte of the answer. */
const answerMs = 60_000;
/** A component calls fewer keys than a router serves. */
const knownKeysMax = 100_000;

export function createReach({ system, log, directory, clusterSecret }: ReachDeps): Reach {
  const upstreams = createUpstreams({
    system,
    secret: clusterSecret,
    ownerTimeoutMs: answerMs,
  });
  const room = createWaitingRoom(system, callsMax);
  const owners = createOwners({
    directory,
    system,
    log,
    keysMax: knownKeysMax,
    isAwaited: (pool, key) => room.isAwaited(pool, key),
    onEffect(effect) {
      switch (effect.type) {
        case 'wake':
          return room.wake(effect.pool, effect.key);
        case 'wake-all':
          return room.wakeAll();
        case 'retire':
          return upstreams.retire(effect.sessionId, effect.graceful);
      }
    },
  });
  owners.start();
  return {
    owners,
    search: createOwnerSearch({ owners, upstreams, system }),
    upstreams,
    room,
    stop() {
      owners.stop();
      upstreams.destroy();
    },
  };
}
