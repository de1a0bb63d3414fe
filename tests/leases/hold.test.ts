import assert from 'node:assert/strict';
import { createFakeSystem, type FakeSystem, type LeaseService } from '#core';
import { createHold, leaseMarginMs } from '#leases';
import { createInMemoryLeases } from '../support/in-memory-leases.ts';

const ttlMs = 1_000;
const never = new Promise<never>(() => {});

describe('hold', () => {
  let system: FakeSystem;
  let store: LeaseService;
  let primitives: LeaseService;
  let hold: LeaseService['hold'];
  beforeEach(() => {
    system = createFakeSystem();
    store = createInMemoryLeases({ system, enter: async () => {} });
    primitives = { ...store };
    hold = createHold({ primitives, system });
  });

  /** Work that goes on until it is told to stop; resolves to when that was. */
  const untilAborted = (signal: AbortSignal) =>
    new Promise<number>(resolve => {
      signal.addEventListener('abort', () => resolve(system.clock.monotonicMs()), { once: true });
    });

  for (const [what, fault] of [
    ['throws', () => Promise.reject(new Error('no'))],
    ['hangs', () => never],
    [
      'throws before it returns a promise',
      (): never => {
        throw new Error('no');
      },
    ],
  ] as const) {
    it(`aborts by the deadline of the last answered call when renewing ${what}`, async () => {
      let renewals = 0;
      primitives.renew = (...given) => (++renewals === 1 ? store.renew(...given) : fault());
      const holding = hold('a', { holder: 'one', ttlMs }, untilAborted);
      await system.advance(10 * ttlMs);
      const outcome = await holding;
      assert(outcome.acquired && !outcome.heldToTheEnd);
      const firstRenewalMs = (ttlMs - leaseMarginMs(ttlMs)) / 3;
      const expectedMs = firstRenewalMs + ttlMs - leaseMarginMs(ttlMs);
      assert(Math.abs(outcome.value - expectedMs) <= 2, `${outcome.value} and not ${expectedMs}`);
    });
  }

  it('gives up an attempt that hangs, after one time to live', async () => {
    primitives.tryAcquire = () => never;
    const holding = hold('a', { holder: 'one', ttlMs }, untilAborted);
    const rejected = assert.rejects(holding, { code: 'HF_COORDINATION_UNAVAILABLE' });
    await system.advance(ttlMs);
    await rejected;
  });

  it('asks again while the store cannot be asked, for as long as it may wait', async () => {
    let failing = true;
    primitives.tryAcquire = (...given) =>
      failing ? Promise.reject(new Error('no')) : store.tryAcquire(...given);
    const holding = hold('a', { holder: 'one', ttlMs, waitMs: 60_000 }, async () => 'done');
    await system.advance(10_000);
    failing = false;
    await system.advance(1_500);
    const outcome = await holding;
    assert(outcome.acquired && outcome.value === 'done');
  });

  it('does not act upon a grant whose answer comes after everything is over', async () => {
    const answer = Promise.withResolvers<void>();
    primitives.tryAcquire = async (...given) => {
      const grant = await store.tryAcquire(...given);
      await answer.promise;
      return grant;
    };
    let released = 0;
    primitives.release = (...given) => (released++, store.release(...given));
    const rejected = assert.rejects(
      hold('a', { holder: 'one', ttlMs }, async () => assert.fail('worked')),
      { code: 'HF_COORDINATION_UNAVAILABLE' },
    );
    await system.advance(ttlMs);
    await rejected;
    answer.resolve();
    await system.advance(ttlMs);
    assert.equal(released, 0);
  });

  it('takes a fence that may still be released behind its back for no lease', async () => {
    // The release of the first holding is sent, times out, and is executed only in the middle of the second one.
    let late = () => {};
    primitives.release = (...given) => {
      primitives.release = store.release;
      late = () => void store.release(...given);
      return Promise.reject(new Error('timed out'));
    };
    const first = await hold('a', { holder: 'one', ttlMs }, async (_signal, lease) => lease.fence);
    const second = hold('a', { holder: 'one', ttlMs }, async (_signal, lease) => {
      late();
      await system.timers.sleep(2 * ttlMs);
      return lease.fence;
    });
    await system.advance(3 * ttlMs);
    const outcome = await second;
    assert(first.acquired && outcome.acquired);
    assert(outcome.fence > first.fence);
    assert(outcome.heldToTheEnd);
  });

  it('does not wait for a release that hangs for longer than the lease lasts', async () => {
    primitives.release = () => never;
    const holding = hold('a', { holder: 'one', ttlMs }, async () => 'done');
    await system.advance(ttlMs);
    const outcome = await holding;
    assert(outcome.acquired && outcome.value === 'done');
  });

  it('gives back at once what it got after the caller had cancelled', async () => {
    const cancel = new AbortController();
    const answer = Promise.withResolvers<void>();
    primitives.tryAcquire = async (...given) => {
      const grant = await store.tryAcquire(...given);
      await answer.promise;
      return grant;
    };
    const options = { holder: 'one', ttlMs, signal: cancel.signal };
    const holding = hold('a', options, async () => assert.fail('worked'));
    await system.advance(1);
    cancel.abort();
    answer.resolve();
    await system.advance(1);
    assert(!(await holding).acquired);
    assert.equal(await store.inspect('a'), null);
  });

  it('does nothing at all when it was cancelled before', async () => {
    primitives.tryAcquire = () => assert.fail('asked');
    const outcome = await hold('a', { holder: 'one', ttlMs, signal: AbortSignal.abort() }, untilAborted);
    assert(!outcome.acquired);
  });

  it('shows the loss to whoever listens to a signal made of this one', async () => {
    primitives.renew = () => never;
    let seen = false;
    const holding = hold('a', { holder: 'one', ttlMs }, async signal => {
      AbortSignal.any([signal]).addEventListener('abort', () => (seen = true));
      await untilAborted(signal);
    });
    await system.advance(2 * ttlMs);
    await holding;
    assert(seen);
  });
});
