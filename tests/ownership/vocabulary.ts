/** Hosts, keys and claims as the tests of the directory name them. */
import assert from 'node:assert/strict';
import type {
  Claim,
  Coordination,
  InstanceId,
  NodeName,
  OpenSession,
  ProcessId,
  ResourceDirectory,
  ResourceKey,
} from '#core';

export interface DirectoryHarness {
  /** A client of the store, and another as another process would have. */
  readonly one: Coordination;
  readonly two: Coordination;
  /** Stops the store hard and starts it again; both clients go on working. */
  restart(): Promise<void>;
  /**
   * Makes the store lose everything it knows and start again, as it would in the field; both clients go on working. The store must
   * collect for at least `RECOVERY_TTL_MS` afterwards, and for less than 10 s.
   */
  forget(): Promise<void>;
  stop(): Promise<void>;
}

/** The time to live of all sessions in tests of a store that forgets. */
export const RECOVERY_TTL_MS = 2_000;

export const pool = 'databases' as InstanceId;
export const key = (name: string) => `/db/${name}` as ResourceKey;

let attempts = 0;

/** What a host says of itself; each call is another attempt. */
export function host(name: string, more: Partial<OpenSession> = {}): OpenSession {
  return {
    pool,
    processId: `node-1-${name}` as ProcessId,
    nodeName: 'node-1' as NodeName,
    address: `http://127.0.0.1:1/${name}`,
    ownsResources: true,
    capacity: 1,
    ttlMs: 60_000,
    attempt: ++attempts,
    ...more,
  };
}

export async function claim(directory: ResourceDirectory, name: string, inPool = pool): Promise<Claim> {
  const outcome = await directory.claim(inPool, key(name));
  assert(outcome.owned, `${name} should have found an owner`);
  return outcome.claim;
}
