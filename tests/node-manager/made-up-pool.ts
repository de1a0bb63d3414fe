/** A pool of hosts on coordination in memory that hand keys over as real ones do, without being processes. */
import {
  HoldfastError,
  type Claim,
  type InstanceId,
  type NodeName,
  type ProcessId,
  type ResourceKey,
  type SessionId,
} from '#core';
import type { HostClient } from '#client';
import { createInMemoryCoordination, type InMemoryCoordination } from '../support/in-memory-coordination.ts';
import type { System } from '#core';

export const pool = 'databases' as InstanceId;

export interface MadeUpPool {
  coordination: InMemoryCoordination;
  /** What was asked of hosts, in order. */
  asked: string[];
  /** While true, no host answers. */
  unreachable: boolean;
  join(name: string, capacity?: number): Promise<SessionId>;
  claim(...keys: string[]): Promise<Claim[]>;
  /** Keys per host. */
  keys(): Promise<Record<string, number>>;
  host(address: string): HostClient;
}

export function createPool(system: System): MadeUpPool {
  const coordination = createInMemoryCoordination({ system });
  const { directory } = coordination;
  const asked: string[] = [];

  async function handOver(claim: Claim, to: string | null, release = false): Promise<boolean> {
    if (release) return directory.release(claim);
    return (await directory.transfer(claim, to as SessionId | null)).held;
  }

  const made: MadeUpPool = {
    coordination,
    asked,
    unreachable: false,
    async join(name, capacity = 1) {
      const { sessionId } = await directory.openSession({
        pool,
        processId: name as ProcessId,
        nodeName: `node-of-${name}` as NodeName,
        address: `http://${name}`,
        ownsResources: true,
        capacity,
        ttlMs: 300_000,
        attempt: 1,
      });
      return sessionId;
    },
    async claim(...keys) {
      const outcomes = await directory.claimMany(pool, keys as ResourceKey[]);
      return outcomes.flatMap(outcome => (outcome.owned ? [outcome.claim] : []));
    },
    async keys() {
      const sessions = await directory.sessions(pool);
      return Object.fromEntries(sessions.map(session => [session.processId, session.keys]));
    },
    host(address) {
      const name = address.replace('http://', '');
      function enter(what: string): void {
        if (made.unreachable) throw new HoldfastError('HF_NODE_UNREACHABLE', `${address} does not answer`);
        asked.push(`${name}: ${what}`);
      }
      return {
        uri: address,
        async handOff({ key, fence, to, release }) {
          enter(`hand off ${key}`);
          const claim = await directory.lookup(pool, key as ResourceKey);
          if (!claim || claim.processId !== name || String(claim.fence) !== fence) return { moved: false };
          return { moved: await handOver(claim, to, release) };
        },
        async handOffMany({ count, to }) {
          enter(`hand off ${count}`);
          const { claims } = await directory.list({ pool });
          const own = claims.filter(claim => claim.processId === name).slice(0, count);
          for (const claim of own) await handOver(claim, to);
          return { moved: own.map(({ key }) => ({ key })) };
        },
      };
    },
  };
  return made;
}
