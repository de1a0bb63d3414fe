/** What `hold` must do on every adapter, against its real store. */
import assert from 'node:assert/strict';
import type { LeaseService } from '#core';
import { type LeaseHarness, type LeaseTraits, acquire, until } from './harness.ts';
import { createJumpySystem } from './jumpy-system.ts';

export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

export function holdConformance(current: () => LeaseHarness, traits: LeaseTraits): void {
  const ttlMs = traits.holdTtlMs ?? 600;
  let leases: LeaseService;
  let other: LeaseService;
  beforeEach(() => ({ leases, other } = current()));

  it('holds a free lease for the work, gives its result back, and releases', async () => {
    const outcome = await leases.hold('a', { holder: 'one', ttlMs }, async (signal, lease) => {
      const found = await other.inspect('a');
      assert.equal(found?.holder, 'one');
      assert.equal(found.fence, lease.fence);
      assert(!signal.aborted);
      return 'result';
    });
    assert(outcome.acquired && outcome.heldToTheEnd && outcome.value === 'result');
    assert.equal(await other.inspect('a'), null);
    assert((await acquire(other, 'a', 'two')) > outcome.fence);
  });

  it('answers whose the lease is when somebody else has it, and does not work', async () => {
    const fence = await acquire(other, 'a', 'two');
    const outcome = await leases.hold('a', { holder: 'one', ttlMs }, async () => assert.fail('worked'));
    assert(!outcome.acquired && outcome.holder === 'two' && outcome.fence === fence);
    assert(outcome.expiresInMs > 0);
  });

  it('takes over as soon as the lease is given back, when it was told to wait', async () => {
    const fence = await acquire(other, 'a', 'two');
    const waiting = leases.hold('a', { holder: 'one', ttlMs, waitMs: 60_000 }, async (_signal, lease) => {
      return lease.fence;
    });
    await other.release('a', 'two', fence);
    const outcome = await waiting;
    assert(outcome.acquired && outcome.value > fence);
  });

  it('takes over when the lease of a holder that vanished has run out', async () => {
    const fence = await acquire(other, 'a', 'two', traits.shortMs);
    const options = { holder: 'one', ttlMs, waitMs: 60_000 };
    const outcome = await leases.hold('a', options, async (_signal, lease) => lease.fence);
    assert(outcome.acquired && outcome.value > fence);
  });

  it('keeps the lease for longer than its time to live', async () => {
    const outcome = await leases.hold('a', { holder: 'one', ttlMs }, async (signal, { fence }) => {
      const endMs = performance.now() + 2.5 * ttlMs;
      await until(async () => {
        const grant = await other.tryAcquire('a', 'two', ttlMs);
        assert(!grant.acquired && grant.fence === fence && !signal.aborted);
        return performance.now() > endMs;
      });
    });
    assert(outcome.acquired && outcome.heldToTheEnd);
  });

  it('rejects with what the work threw, and releases', async () => {
    const failure = new Error('the work failed');
    const working = leases.hold('a', { holder: 'one', ttlMs }, () => Promise.reject(failure));
    await assert.rejects(working, failure);
    assert.equal(await other.inspect('a'), null);
  });

  it('aborts the signal when the lease is gone, and tells that it was not held to the end', async () => {
    const outcome = await leases.hold('a', { holder: 'one', ttlMs }, async (signal, { fence }) => {
      assert(await other.release('a', 'one', fence));
      await aborted(signal);
      assert.equal((signal.reason as { code: string }).code, 'HF_LEASE_LOST');
    });
    assert(outcome.acquired && !outcome.heldToTheEnd);
  });

  it('ends waiting when the caller cancels', async () => {
    await acquire(other, 'a', 'two');
    const cancel = new AbortController();
    const options = { holder: 'one', ttlMs, waitMs: 60_000, signal: cancel.signal };
    const waiting = leases.hold('a', options, async () => assert.fail('worked'));
    cancel.abort();
    assert(!(await waiting).acquired);
  });

  it('aborts the work when the caller cancels, and holds the lease until the work has ended', async () => {
    const cancel = new AbortController();
    const options = { holder: 'one', ttlMs, signal: cancel.signal };
    const outcome = await leases.hold('a', options, async signal => {
      cancel.abort(new Error('enough'));
      assert(signal.aborted);
      assert.equal((signal.reason as Error).message, 'enough');
      assert.equal((await other.inspect('a'))?.holder, 'one');
    });
    assert(outcome.acquired && outcome.heldToTheEnd);
    assert.equal(await other.inspect('a'), null);
  });

  it('runs one work at a time for a holder, although the store would extend its lease', async () => {
    const second = () => leases.hold('a', { holder: 'one', ttlMs }, async () => assert.fail('worked'));
    await leases.hold('a', { holder: 'one', ttlMs }, async () => {
      const refused = await second();
      assert(!refused.acquired && refused.holder === 'one');
    });
    assert((await leases.hold('a', { holder: 'one', ttlMs }, async () => {})).acquired);
  });

  it('lets one of many work at a time, with a higher fence each', async () => {
    const fences: bigint[] = [];
    let working = 0;
    const outcomes = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        (index % 2 ? leases : other).hold(
          'a',
          { holder: `h${index}`, ttlMs, waitMs: 60_000 },
          async (_signal, { fence }) => {
            assert.equal(++working, 1);
            fences.push(fence);
            await new Promise(resolve => setImmediate(resolve));
            working--;
          },
        ),
      ),
    );
    assert(outcomes.every(outcome => outcome.acquired && outcome.heldToTheEnd));
    assert.deepEqual(
      fences,
      [...fences].sort((a, b) => Number(a - b)),
    );
    assert.equal(new Set(fences).size, 6);
  });

  it('shows the signal aborted at the first look after the process was frozen past the deadline', async () => {
    const system = createJumpySystem();
    const frozen = await current().open(system);
    const outcome = await frozen.hold('a', { holder: 'one', ttlMs: 10_000 }, async signal => {
      assert(!signal.aborted);
      system.freeze(10_000);
      // No timer has had the chance to run.
      assert(signal.aborted);
      assert.throws(() => signal.throwIfAborted(), { code: 'HF_LEASE_LOST' });
    });
    assert(outcome.acquired && !outcome.heldToTheEnd);
  });

  it('is not touched by jumps of the wall clock', async () => {
    const system = createJumpySystem();
    const client = await current().open(system);
    await client.hold('a', { holder: 'one', ttlMs }, async (signal, { fence }) => {
      for (const jumpMs of [86_400_000, -2 * 86_400_000]) {
        system.setWall(jumpMs);
        assert((await client.renew('a', 'one', fence, ttlMs)).acquired);
        assert(!(await client.tryAcquire('a', 'two', ttlMs)).acquired);
        assert(!signal.aborted);
      }
    });
    await acquire(other, 'b', 'one');
    assert(!(await client.tryAcquire('b', 'two', ttlMs)).acquired);
  });

  it('refuses unusable arguments before it asks the store', async () => {
    const work = async () => {};
    const bad: [Promise<unknown>, string][] = [
      [leases.hold('', { holder: '', ttlMs: 0 }, work), 'name'],
      [leases.hold('a', { holder: '', ttlMs: 0 }, work), 'holder'],
      [leases.hold('a', { holder: 'h', ttlMs: 99, waitMs: -1 }, work), 'ttlMs'],
      [leases.hold('a', { holder: 'h', ttlMs: 100, waitMs: -1 }, work), 'waitMs'],
    ];
    for (const [call, argument] of bad) {
      await assert.rejects(call, { code: 'HF_LEASE_INVALID', details: { argument } });
    }
  });
}
