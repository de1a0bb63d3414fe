import assert from 'node:assert/strict';
import { createFakeSystem, type InstanceId, type ResourceKey } from '#core';
import { createOwnerSearch, type Finding } from '../../router/owner-search.ts';
import type { Owners } from '../../router/owners.ts';
import { createWaitingRoom } from '../../router/waiting-room.ts';

const pool = 'p' as InstanceId;
const never = new Promise<never>(() => {});

/** Searches in a pool without sessions until the deadline, with a directory that answers a listing as `refresh` says. */
async function search(holdMs: number, refresh: (nowMs: number) => Promise<boolean>): Promise<Finding> {
  const system = createFakeSystem();
  const now = system.clock.monotonicMs;
  const owners = { kind: () => 'unknown', refresh: () => refresh(now()) } as unknown as Owners;
  const { search: run } = createOwnerSearch({ owners, upstreams: { inFlight: () => 0 }, system });
  const place = createWaitingRoom(system, 1).enter()!;
  const found = run(
    { pool, key: () => '/a' as ResourceKey, place, deadlineMs: holdMs, failed: null, failures: 0 },
    () => false,
  );
  for (let at = 0; at < holdMs; at += 5) await system.advance(5);
  return found;
}

describe('search for an owner', () => {
  it('blames no directory that has answered, when the deadline cuts off a last look', async () => {
    const finding = await search(3_000, async nowMs => (nowMs > 2_500 ? never : true));
    assert.deepEqual(finding, { found: false, reason: 'no-owner' });
  });

  it('blames a directory that stopped answering, or never did', async () => {
    const blamed = { found: false, reason: 'coordination-unavailable' };
    assert.deepEqual(await search(3_000, async nowMs => (nowMs > 1_000 ? never : true)), blamed);
    assert.deepEqual(await search(500, () => never), blamed);
    assert.deepEqual(await search(500, async () => false), blamed);
  });
});
