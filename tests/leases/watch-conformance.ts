/** What `watch` must do on every adapter, against its real store. */
import assert from 'node:assert/strict';
import type { LeaseHolder, LeaseService } from '#core';
import { type LeaseHarness, type LeaseTraits, acquire, until } from './harness.ts';

/** Collects what a watch tells. */
export function follow(leases: LeaseService, name: string) {
  const told: (string | null)[] = [];
  const seen: (LeaseHolder | null)[] = [];
  const stop = leases.watch(name, holder => {
    told.push(holder?.holder ?? null);
    seen.push(holder);
  });
  return { told, seen, stop, reaches: (last: string | null) => until(() => told.at(-1) === last) };
}

export function watchConformance(current: () => LeaseHarness, traits: LeaseTraits): void {
  let leases: LeaseService;
  let other: LeaseService;
  beforeEach(() => ({ leases, other } = current()));

  it('tells the present holder, and every change that lasts', async () => {
    const watch = follow(leases, 'a');
    await watch.reaches(null);
    const fence = await acquire(other, 'a', 'one');
    await watch.reaches('one');
    assert.equal(watch.seen.at(-1)?.fence, fence);
    await other.release('a', 'one', fence);
    await watch.reaches(null);
    const next = await acquire(other, 'a', 'two');
    await watch.reaches('two');
    assert.equal(watch.seen.at(-1)?.fence, next);
    assert.deepEqual(watch.told, [null, 'one', null, 'two']);
    watch.stop();
  });

  it('begins with the holder where there is one, and does not tell renewals', async () => {
    const fence = await acquire(other, 'a', 'one');
    const watch = follow(leases, 'a');
    await watch.reaches('one');
    await other.renew('a', 'one', fence, 120_000);
    await other.release('a', 'one', fence);
    await watch.reaches(null);
    assert.deepEqual(watch.told, ['one', null]);
    watch.stop();
  });

  it('tells when a lease has run out', async () => {
    await acquire(other, 'a', 'one', traits.shortMs);
    const watch = follow(leases, 'a');
    await watch.reaches(null);
    watch.stop();
  });

  it('tells a new holding by the same holder', async () => {
    const fence = await acquire(other, 'a', 'one');
    const watch = follow(leases, 'a');
    await watch.reaches('one');
    await other.release('a', 'one', fence);
    const next = await acquire(other, 'a', 'one');
    await until(() => watch.seen.at(-1)?.fence === next);
    watch.stop();
  });

  it('tells nothing any more once it was stopped', async () => {
    const stopped = follow(leases, 'a');
    stopped.stop();
    stopped.stop();
    const going = follow(leases, 'a');
    await going.reaches(null);
    await acquire(other, 'a', 'one');
    await going.reaches('one');
    going.stop();
    assert.deepEqual(stopped.told, []);
  });
}
