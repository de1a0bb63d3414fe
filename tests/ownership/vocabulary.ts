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
  stop(): Promise<void>;
}

export const pool = 'databases' as InstanceId;
export const key = (name: string) => `/db/${name}` as ResourceKey;

export function host(name: string, more: Partial<OpenSession> = {}): OpenSession {
  return {
    pool,
    processId: `node-1-${name}` as ProcessId,
    nodeName: 'node-1' as NodeName,
    address: `http://127.0.0.1:1/${name}`,
    ownsResources: true,
    capacity: 1,
    ttlMs: 60_000,
    ...more,
  };
}

export async function claim(directory: ResourceDirectory, name: string, inPool = pool): Promise<Claim> {
  const outcome = await directory.claim(inPool, key(name));
  assert(outcome.owned, `${name} should have found an owner`);
  return outcome.claim;
}
