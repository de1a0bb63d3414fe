/**
 * Claims of one turn of the event loop as one call: however many keys are asked for, they cost one round trip and one commit. A key that
 * spoils the call for the others (its text is not acceptable, say) spoils it for itself only.
 */
import {
  HoldfastError,
  type ClaimOutcome,
  type InstanceId,
  type ResourceDirectory,
  type ResourceKey,
} from '#core';

interface Batch {
  keys: ResourceKey[];
  settle: { resolve: (outcome: ClaimOutcome) => void; reject: (error: unknown) => void }[];
}

/** More are another call, beside it. */
const batchMax = 1_000;

export function createClaimBatches(
  directory: Pick<ResourceDirectory, 'claim' | 'claimMany'>,
): ResourceDirectory['claim'] {
  const batches = new Map<InstanceId, Batch>();

  function flush(pool: InstanceId): void {
    const { keys, settle } = batches.get(pool)!;
    batches.delete(pool);
    for (let from = 0; from < keys.length; from += batchMax) {
      void claimBatch(pool, keys.slice(from, from + batchMax), settle.slice(from, from + batchMax));
    }
  }

  async function claimBatch(pool: InstanceId, keys: ResourceKey[], settle: Batch['settle']): Promise<void> {
    if (keys.length === 1) return claimAlone(pool, keys[0]!, settle[0]!);
    try {
      const outcomes = await directory.claimMany(pool, keys);
      settle.forEach(({ resolve, reject }, index) => {
        const outcome = outcomes[index];
        if (outcome) resolve(outcome);
        else reject(new HoldfastError('HF_INTERNAL', 'the directory left a key out'));
      });
    } catch (error) {
      const ofOneKey = error instanceof HoldfastError && !error.retryable;
      if (!ofOneKey) for (const { reject } of settle) reject(error);
      else await Promise.all(keys.map((key, index) => claimAlone(pool, key, settle[index]!)));
    }
  }

  function claimAlone(pool: InstanceId, key: ResourceKey, { resolve, reject }: Batch['settle'][number]) {
    return directory.claim(pool, key).then(resolve, reject);
  }

  return (pool, key) =>
    new Promise((resolve, reject) => {
      let batch = batches.get(pool);
      if (!batch) {
        batches.set(pool, (batch = { keys: [], settle: [] }));
        // After the poll phase: by then every request that has arrived meanwhile is in.
        setImmediate(flush, pool);
      }
      batch.keys.push(key);
      batch.settle.push({ resolve, reject });
    });
}
