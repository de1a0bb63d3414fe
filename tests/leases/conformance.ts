/**
 * What every lease adapter must do, against its real store. Use: `describe('… leases', () => leaseConformance(factory))`.
 */
import assert from 'node:assert/strict';
import { HoldfastError, type LeaseService } from '#core';
import { faultConformance } from './fault-conformance.ts';
import { acquire, expired, longMs, type LeaseHarness, type LeaseTraits } from './harness.ts';
import { holdConformance } from './hold-conformance.ts';
import { listConformance } from './list-conformance.ts';
import { watchConformance } from './watch-conformance.ts';

export { until, type LeaseHarness, type LeaseTraits } from './harness.ts';

export function leaseConformance(start: () => Promise<LeaseHarness>, traits: LeaseTraits = {}): void {
  const shortMs = traits.shortMs ?? 150;
  let harness: LeaseHarness;
  let leases: LeaseService;
  let other: LeaseService;

  beforeEach(async () => {
    harness = await start();
    ({ leases, other } = harness);
  });
  afterEach(() => harness.stop());

  it('gives a free lease to the first who asks and tells the second whose it is', async () => {
    const fence = await acquire(leases, 'a', 'one');
    const refused = await other.tryAcquire('a', 'two', longMs);
    assert(!refused.acquired);
    assert.equal(refused.holder, 'one');
    assert.equal(refused.fence, fence);
    assert(refused.expiresInMs > 0 && refused.expiresInMs <= longMs);
  });

  it('lets exactly one of many win', async () => {
    const grants = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 ? leases : other).tryAcquire('a', `h${index}`, longMs),
      ),
    );
    assert.equal(grants.filter(grant => grant.acquired).length, 1);
  });

  it('extends for the same holder, keeps the fence, and never shortens', async () => {
    const fence = await acquire(leases, 'a', 'one', longMs);
    const again = await other.tryAcquire('a', 'one', shortMs);
    assert(again.acquired);
    assert.equal(again.fence, fence);
    assert(again.expiresInMs > shortMs);
    const longer = await leases.renew('a', 'one', fence, 2 * longMs);
    assert(longer.acquired && longer.expiresInMs > longMs);
  });

  it('never revives an expired lease, neither by asking again nor by renewing', async () => {
    const first = await acquire(leases, 'a', 'one', shortMs);
    await expired(leases, 'a');
    const renewed = await leases.renew('a', 'one', first, longMs);
    assert(!renewed.acquired);
    assert.equal(renewed.holder, null);
    assert((await acquire(leases, 'a', 'one')) > first);
  });

  it('renews and releases only for the very holder and fence', async () => {
    const fence = await acquire(leases, 'a', 'one');
    assert(!(await leases.renew('a', 'two', fence, longMs)).acquired);
    assert(!(await leases.renew('a', 'one', fence + 1n, longMs)).acquired);
    assert(!(await leases.release('a', 'two', fence)));
    assert(!(await leases.release('a', 'one', fence + 1n)));
    assert.equal((await leases.inspect('a'))?.holder, 'one');
    assert(await other.release('a', 'one', fence));
    assert(!(await leases.release('a', 'one', fence)));
    assert.equal(await leases.inspect('a'), null);
  });

  it('inspects the live holder', async () => {
    assert.equal(await leases.inspect('a'), null);
    const fence = await acquire(leases, 'a', 'one');
    const found = await other.inspect('a');
    assert(found && found.expiresInMs > 0 && found.expiresInMs <= longMs);
    assert.deepEqual({ ...found, expiresInMs: 0 }, { name: 'a', holder: 'one', fence, expiresInMs: 0 });
  });

  it('raises the fence over release, expiry and restart', async () => {
    const released = await acquire(leases, 'a', 'one');
    await leases.release('a', 'one', released);
    const lapsed = await acquire(leases, 'a', 'two', shortMs);
    await expired(leases, 'a');
    const last = await acquire(leases, 'a', 'three');
    await leases.release('a', 'three', last);
    await harness.restart();
    const after = await acquire(leases, 'a', 'four');
    assert(released < lapsed && lapsed < last && last < after, `${released} ${lapsed} ${last} ${after}`);
  });

  it('keeps a live lease over a restart', async () => {
    const fence = await acquire(leases, 'a', 'one');
    await harness.restart();
    assert(!(await other.tryAcquire('a', 'two', longMs)).acquired);
    assert((await leases.renew('a', 'one', fence, longMs)).acquired);
  });

  it('keeps names apart', async () => {
    await acquire(leases, 'a', 'one');
    await acquire(leases, 'a/b', 'two');
    await acquire(leases, 'ä', 'three');
  });

  it('refuses unusable arguments with HF_LEASE_INVALID, naming the first bad one', async () => {
    const nothing = undefined as unknown as string;
    const bad: [Promise<unknown>, string][] = [
      [leases.tryAcquire('', 'h', longMs), 'name'],
      [leases.tryAcquire('x'.repeat(513), 'h', longMs), 'name'],
      [leases.tryAcquire('line\nbreak', '', 0), 'name'],
      [leases.tryAcquire(nothing, 'h', longMs), 'name'],
      [leases.tryAcquire('a', '', 0), 'holder'],
      [leases.tryAcquire('a', 'h', 0), 'ttlMs'],
      [leases.tryAcquire('a', 'h', 1.5), 'ttlMs'],
      [leases.tryAcquire('a', 'h', Number.NaN), 'ttlMs'],
      [leases.tryAcquire('a', 'h', 86_400_001), 'ttlMs'],
      [leases.renew('a', 'h', 0n, longMs), 'fence'],
      [leases.renew('a', 'h', 1n, -1), 'ttlMs'],
      [leases.release('a', 'h', 2n ** 63n), 'fence'],
      [leases.inspect(''), 'name'],
    ];
    for (const [call, argument] of bad) {
      await assert.rejects(call, (error: unknown) => {
        assert(error instanceof HoldfastError);
        assert.equal(error.code, 'HF_LEASE_INVALID');
        assert.equal(error.details['argument'], argument);
        return true;
      });
    }
  });

  if (traits.prefixes) {
    it('keeps prefixes apart', async () => {
      const elsewhere = await harness.openElsewhere!();
      await acquire(leases, 'a', 'one');
      await acquire(elsewhere, 'a', 'two');
      assert.deepEqual(
        (await elsewhere.list()).leases.map(lease => lease.holder),
        ['two'],
      );
      assert.equal((await leases.inspect('a'))?.holder, 'one');
    });
  }

  describe('list', () => listConformance(() => harness, { ...traits, shortMs }));
  describe('watch', () => watchConformance(() => harness, { ...traits, shortMs }));
  describe('hold', () => holdConformance(() => harness, { ...traits, shortMs }));
  if (traits.server) describe('faults', () => faultConformance(() => harness, traits));
}
