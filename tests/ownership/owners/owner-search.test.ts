import assert from 'node:assert/strict';
import {
  createFakeSystem,
  type Fence,
  type InstanceId,
  type ProcessId,
  type ResourceKey,
  type SessionId,
} from '#core';
import { createOwnerSearch, type Finding } from '../../../ownership/owners/owner-search.ts';
import type { Owners } from '../../../ownership/owners/owners.ts';
import { createWaitingRoom } from '../../../ownership/owners/waiting-room.ts';

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
    const blamed = { found: false, reason: 'unavailable' };
    assert.deepEqual(await search(3_000, async nowMs => (nowMs > 1_000 ? never : true)), blamed);
    assert.deepEqual(await search(500, () => never), blamed);
    assert.deepEqual(await search(500, async () => false), blamed);
  });
});

describe('search after a refusal', () => {
  const key = '/a' as ResourceKey;
  const right = (sessionId: string, fence: bigint) => ({
    pool,
    key,
    sessionId: sessionId as SessionId,
    fence: fence as Fence,
    processId: `process-${sessionId}` as ProcessId,
    address: 'http://127.0.0.1:1',
  });
  type Right = ReturnType<typeof right>;

  /** A search after the host of `s` refused the key under fence 1; the directory goes on naming it. */
  function afterRefusal(known: { cached?: Right; moving?: Right } = {}) {
    const system = createFakeSystem();
    const room = createWaitingRoom(system, 1);
    let claims = 0;
    const owners = {
      kind: () => 'owned',
      find: () => known.cached,
      findMoving: () => known.moving,
      refuse: () => delete known.moving,
      isEnded: () => false,
      claim: async () => {
        claims += 1;
        return { owned: true, claim: right('s', 1n) };
      },
    } as unknown as Owners;
    const { search: run } = createOwnerSearch({ owners, upstreams: { inFlight: () => 0 }, system });
    const { processId, address, sessionId, ...rest } = right('s', 1n);
    const target = { processId, address, sessionId, claim: { ...rest, sessionId } };
    const found = run(
      {
        pool,
        key: () => key,
        place: room.enter()!,
        deadlineMs: 10_000,
        failed: { target, failure: 'not-owner' },
        failures: 1,
      },
      () => false,
    );
    const sessionOf = async () => {
      const finding = await found;
      return finding.found ? finding.target.sessionId : finding.reason;
    };
    return { system, room, known, sessionOf, claims: () => claims };
  }

  it('waits for news instead of asking again and again', async () => {
    const { system, room, known, sessionOf, claims } = afterRefusal();
    for (let at = 0; at < 490; at += 10) await system.advance(10);
    assert.equal(claims(), 1);
    known.cached = right('t', 2n);
    room.wake(pool, key);
    await system.advance(0);
    assert.equal(await sessionOf(), 't');
    assert.equal(claims(), 1);
  });

  it('asks nobody while the owner is giving the key away, and takes the new one that an event tells', async () => {
    const { system, room, known, sessionOf, claims } = afterRefusal({ moving: right('s', 1n) });
    for (let at = 0; at < 490; at += 10) await system.advance(10);
    known.cached = right('t', 2n);
    delete known.moving;
    room.wake(pool, key);
    await system.advance(0);
    assert.equal(await sessionOf(), 't');
    assert.equal(claims(), 0);
  });

  it('tries the same owner again when no news has come', async () => {
    const { system, sessionOf, claims } = afterRefusal({ moving: right('s', 1n) });
    for (let at = 0; at < 1_000; at += 10) await system.advance(10);
    assert.equal(await sessionOf(), 's');
    assert.ok(claims() >= 1);
  });

  it('is not led astray by news of something else', async () => {
    const { system, room, sessionOf, claims } = afterRefusal();
    for (let at = 0; at < 1_000; at += 10) {
      room.wake(pool);
      await system.advance(10);
      if (at < 400) assert.ok(claims() > 0);
    }
    assert.equal(await sessionOf(), 's');
  });
});
