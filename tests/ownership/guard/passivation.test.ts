import assert from 'node:assert/strict';
import type { OwnershipGuard } from '#ownership';
import { key, pool } from '../vocabulary.ts';
import { GuardHarness } from './guard-harness.ts';

const idleMs = 1_000;

describe('passivation', () => {
  let harness: GuardHarness;
  let guard: OwnershipGuard;
  beforeEach(async () => {
    harness = new GuardHarness();
    guard = await harness.start('h1', { idleMs });
  });

  it('closes and gives back a key that nobody asked for, and serves the next request for it', async () => {
    const held = await harness.ready(guard, 'a');
    await harness.system.advance(idleMs - 1);
    assert.equal(guard.ownedKeys, 1);
    await harness.system.advance(idleMs / 4);
    assert.deepEqual([guard.ownedKeys, harness.closed], [0, [key('a')]]);
    assert.equal(await harness.settle(harness.directory.lookup(pool, held.key)), null);
    await assert.rejects(harness.ask(guard, held), { code: 'HF_NOT_OWNER' });
    const again = await harness.ready(guard, 'a');
    assert(again.fence > held.fence);
    assert.equal(guard.metrics.passivations, 1);
  });

  it('leaves a key alone that is asked for, that is being served, or that has just been', async () => {
    const [busy, asked] = [await harness.ready(guard, 'busy'), await harness.ready(guard, 'asked')];
    const slow = harness.slow(guard, busy);
    for (let count = 0; count < 30; count++) {
      await harness.system.advance(idleMs / 4);
      await harness.ask(guard, asked);
    }
    assert.deepEqual(harness.closed, []);
    slow.finish();
    await harness.settle(slow.answer);
    await harness.system.advance(idleMs / 2);
    assert.deepEqual(harness.closed, []);
  });

  it('gives many back at once, in few calls and with few timers', async () => {
    for (let index = 0; index < 400; index++) await harness.ready(guard, `k${index}`);
    await harness.system.advance(2 * idleMs);
    assert.deepEqual([guard.ownedKeys, guard.metrics.passivations], [0, 400]);
    const calls = harness.count('release') + harness.count('releaseMany');
    assert(calls < 10, `${calls} calls`);
  });

  it('gives back again what the directory did not hear of, so that the key is not stuck', async () => {
    const held = await harness.ready(guard, 'a');
    harness.answersToLose.set('release', 2);
    await harness.system.advance(idleMs * 1.5);
    assert.equal(harness.count('release'), 3);
    const again = await harness.ready(guard, 'a');
    assert(again.fence > held.fence);
  });

  it('is off unless asked for', async () => {
    const other = new GuardHarness();
    const always = await other.start();
    await other.ready(always, 'a');
    await other.system.advance(3_600_000);
    assert.equal(always.ownedKeys, 1);
  });
});
