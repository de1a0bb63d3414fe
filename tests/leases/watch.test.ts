import assert from 'node:assert/strict';
import { createFakeSystem, type FakeSystem, type LeaseHolder } from '#core';
import { createWatch } from '#leases';

const lease = (holder: string, fence: bigint, expiresInMs = 60_000): LeaseHolder => ({
  name: 'a',
  holder,
  fence,
  expiresInMs,
});

describe('watch', () => {
  let system: FakeSystem;
  let present: LeaseHolder | null;
  let looks: number;
  let failing: boolean;
  let told: (bigint | null)[];
  const inspect = async () => {
    looks++;
    if (failing) throw new Error('away');
    return present;
  };
  const listener = (holder: LeaseHolder | null) => void told.push(holder?.fence ?? null);
  beforeEach(() => {
    system = createFakeSystem();
    present = null;
    looks = 0;
    failing = false;
    told = [];
  });

  it('looks at a pace, and tells changes only', async () => {
    const stop = createWatch({ inspect, system })('a', listener);
    await system.advance(2_100);
    present = lease('one', 1n);
    await system.advance(600);
    stop();
    present = null;
    await system.advance(5_000);
    assert.deepEqual(told, [null, 1n]);
    assert(looks <= 7, `${looks}`);
  });

  it('looks when the lease is due to end', async () => {
    present = lease('one', 1n, 120);
    const stop = createWatch({ inspect, system, pollMs: 60_000 })('a', listener);
    await system.advance(1);
    present = null;
    await system.advance(130);
    assert.deepEqual(told, [1n, null]);
    stop();
  });

  it('looks at once when the store hints, also when it is looking', async () => {
    let hint = () => {};
    let hints = 1;
    const slow = async () => {
      const found = await inspect();
      await system.timers.sleep(50);
      return found;
    };
    const watch = createWatch({
      inspect: slow,
      system,
      hint: (_name, look) => {
        hint = look;
        return () => hints--;
      },
    });
    const stop = watch('a', listener);
    await system.advance(10);
    present = lease('one', 1n);
    hint();
    hint();
    await system.advance(110);
    assert.deepEqual(told, [null, 1n]);
    assert.equal(looks, 2);
    stop();
    stop();
    assert.equal(hints, 0);
  });

  it('goes on while the store is away, less and less often, and tells nothing meanwhile', async () => {
    present = lease('one', 1n);
    const stop = createWatch({ inspect, system })('a', listener);
    await system.advance(1);
    failing = true;
    await system.advance(20_000);
    assert(looks < 25, `${looks}`);
    failing = false;
    present = lease('two', 2n);
    await system.advance(3_000);
    assert.deepEqual(told, [1n, 2n]);
    stop();
  });

  it('refuses an unusable name at once', () => {
    assert.throws(() => createWatch({ inspect, system })('', listener), { code: 'HF_LEASE_INVALID' });
  });
});
