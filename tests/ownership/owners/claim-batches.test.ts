import assert from 'node:assert/strict';
import { HoldfastError, type ClaimOutcome, type InstanceId, type ResourceKey } from '#core';
import { createClaimBatches } from '../../../ownership/directory/claim-batches.ts';

const pool = 'p' as InstanceId;
const outcome: ClaimOutcome = { owned: false, reason: 'paused' };

describe('claim batches', () => {
  function setUp(refuse: (keys: readonly string[]) => HoldfastError | null) {
    const calls: (string | string[])[] = [];
    const claim = createClaimBatches({
      async claim(_pool, key) {
        calls.push(key);
        const refusal = refuse([key]);
        if (refusal) throw refusal;
        return outcome;
      },
      async claimMany(_pool, keys) {
        calls.push(keys);
        const refusal = refuse(keys);
        if (refusal) throw refusal;
        return keys.map(() => outcome);
      },
    });
    const ask = (of: InstanceId, ...keys: string[]) =>
      Promise.allSettled(keys.map(key => claim(of, key as ResourceKey)));
    return { calls, ask };
  }

  it('ask once for the keys of a turn, for each pool, a thousand at most in a call', async () => {
    const { calls, ask } = setUp(() => null);
    await Promise.all([ask(pool, 'a', 'b'), ask('q' as InstanceId, 'a'), ask(pool, 'c')]);
    assert.deepEqual(calls, [['a', 'b', 'c'], 'a']);
    calls.length = 0;
    await ask(pool, ...Array.from({ length: 2_001 }, (_, index) => `k${index}`));
    assert.deepEqual(
      calls.map(keys => (typeof keys === 'string' ? 1 : keys.length)),
      [1_000, 1_000, 1],
    );
  });

  it('let one unusable key spoil its own claim only', async () => {
    const { ask } = setUp(keys =>
      keys.includes('bad') ? new HoldfastError('HF_REQUEST_INVALID', 'unusable') : null,
    );
    const settled = await ask(pool, 'a', 'bad', 'b');
    assert.deepEqual(
      settled.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
  });

  it('reject all when the store is away, without asking for each', async () => {
    const { calls, ask } = setUp(() => new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'away'));
    const settled = await ask(pool, 'a', 'b');
    assert.ok(settled.every(({ status }) => status === 'rejected'));
    assert.equal(calls.length, 1);
  });
});
