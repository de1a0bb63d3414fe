/** What every adapter must do while its real server is frozen, dead, or back again. */
import assert from 'node:assert/strict';
import type { LeaseService } from '#core';
import { aborted } from './hold-conformance.ts';
import { type LeaseHarness, type LeaseTraits, acquire, longMs, until, type StoreServer } from './harness.ts';
import { follow } from './watch-conformance.ts';

export function faultConformance(current: () => LeaseHarness, traits: LeaseTraits): void {
  const ttlMs = traits.holdTtlMs ?? 600;
  let leases: LeaseService;
  let other: LeaseService;
  let server: StoreServer;
  beforeEach(() => {
    const harness = current();
    ({ leases, other } = harness);
    server = harness.server!;
  });

  /** Takes the lease away as soon as it can be taken; resolves to the fence. */
  async function takeWhenFree(name: string, onTaken: () => void): Promise<bigint> {
    let fence: bigint | null = null;
    await until(async () => {
      // The server may be away: then nobody takes anything.
      const grant = await other.tryAcquire(name, 'rival', longMs).catch(() => null);
      if (grant?.acquired) {
        onTaken();
        ({ fence } = grant);
      }
      return fence !== null;
    });
    return fence!;
  }

  it('aborts the work before a rival has the lease, when the server is frozen for longer than the time to live', async () => {
    const order: string[] = [];
    const outcome = await leases.hold('a', { holder: 'one', ttlMs }, async (signal, { fence }) => {
      signal.addEventListener('abort', () => order.push('aborted'));
      await server.pause();
      const taken = takeWhenFree('a', () => order.push('taken'));
      // Frozen until well after the lease has ended; nothing can be waited for meanwhile but time.
      setTimeout(() => server.resume(), 3 * ttlMs);
      await aborted(signal);
      assert.equal((signal.reason as { code: string }).code, 'HF_LEASE_LOST');
      assert((await taken) > fence);
    });
    assert.deepEqual(order, ['aborted', 'taken']);
    assert(outcome.acquired && !outcome.heldToTheEnd);
  });

  it('aborts the work before a rival has the lease, when every renewal fails', async () => {
    const order: string[] = [];
    await leases.hold('a', { holder: 'one', ttlMs }, async (signal, { fence }) => {
      signal.addEventListener('abort', () => order.push('aborted'));
      await server.kill();
      await aborted(signal);
      await server.start();
      assert((await takeWhenFree('a', () => order.push('taken'))) > fence);
    });
    assert.deepEqual(order, ['aborted', 'taken']);
  });

  it('goes on holding when the server was killed and is back in time', async () => {
    const outcome = await leases.hold('a', { holder: 'one', ttlMs: 15_000 }, async (signal, { fence }) => {
      await server.kill();
      await server.start();
      await until(async () => (await other.inspect('a').catch(() => null))?.fence === fence);
      assert(!signal.aborted);
    });
    assert(outcome.acquired && outcome.heldToTheEnd);
  });

  it('goes on holding when the server was frozen for less than the time to live', async () => {
    const outcome = await leases.hold('a', { holder: 'one', ttlMs: 15_000 }, async (signal, { fence }) => {
      await server.pause();
      const looking = other.inspect('a').catch(() => null);
      setTimeout(() => server.resume(), 200);
      await looking;
      await until(async () => (await other.inspect('a').catch(() => null))?.fence === fence);
      assert(!signal.aborted);
    });
    assert(outcome.acquired && outcome.heldToTheEnd);
  });

  it('rejects every call while the server is dead, and works by itself when it is back', async () => {
    const fence = await acquire(leases, 'a', 'one');
    await server.kill();
    const unavailable = { code: 'HF_COORDINATION_UNAVAILABLE' };
    await assert.rejects(leases.tryAcquire('b', 'one', longMs), unavailable);
    await assert.rejects(leases.renew('a', 'one', fence, longMs), unavailable);
    await assert.rejects(leases.release('a', 'one', fence), unavailable);
    await assert.rejects(leases.inspect('a'), unavailable);
    await assert.rejects(leases.list(), unavailable);
    await assert.rejects(
      leases.hold('b', { holder: 'one', ttlMs }, async () => {}),
      unavailable,
    );
    await assert.rejects(leases.tryAcquire('', 'one', longMs), { code: 'HF_LEASE_INVALID' });
    await server.start();
    await until(async () => {
      const grant = await leases.renew('a', 'one', fence, longMs).catch(() => null);
      return grant?.acquired === true;
    });
    assert.equal((await other.inspect('a'))?.holder, 'one');
  });

  it('answers within bounds while the server is frozen', async () => {
    await acquire(leases, 'a', 'one');
    await server.pause();
    try {
      await assert.rejects(leases.inspect('a'), { code: 'HF_COORDINATION_UNAVAILABLE' });
    } finally {
      server.resume();
    }
    await until(async () => (await leases.inspect('a').catch(() => null))?.holder === 'one');
  });

  it('goes on watching when the server was away', async () => {
    const watch = follow(leases, 'a');
    await watch.reaches(null);
    await server.kill();
    await server.start();
    let fence = 0n;
    await until(async () => {
      const grant = await other.tryAcquire('a', 'one', longMs).catch(() => null);
      if (grant?.acquired) ({ fence } = grant);
      return grant?.acquired === true;
    });
    await watch.reaches('one');
    assert.equal(watch.seen.at(-1)?.fence, fence);
    watch.stop();
  });

  it('raises the fence over kills of the server, and keeps no fence twice', async () => {
    const fences: bigint[] = [];
    for (let round = 0; round < 3; round++) {
      const fence = await acquire(leases, 'a', `h${round}`);
      fences.push(fence);
      await leases.release('a', `h${round}`, fence);
      await server.kill();
      await server.start();
      await until(async () => (await leases.inspect('a').catch(() => 'away')) === null);
    }
    assert(fences[0]! < fences[1]! && fences[1]! < fences[2]!, fences.join(' '));
  });
}
