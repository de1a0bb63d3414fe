/**
 * The records of keys that are in memory. Storage has them all, so memory keeps only those that were asked for lately: two
 * generations, of which the older is dropped as a whole when the younger is full. That costs nothing per key, and a million keys do
 * not live in memory for ever because they were claimed once.
 */
import type { InstanceId, ResourceKey } from '#core';
import type { ClaimRecord, KeyOf } from './records.ts';

type Generation = Map<InstanceId, Map<ResourceKey, ClaimRecord>>;

export class RecordCache {
  readonly #recordsMax: number;
  #young: Generation = new Map();
  #old: Generation = new Map();
  #youngSize = 0;

  /** `recordsMax`: about how many records it keeps at most (a few more until `shrink`). */
  constructor(recordsMax: number) {
    this.#recordsMax = recordsMax;
  }

  get({ pool, key }: KeyOf): ClaimRecord | null {
    const young = this.#young.get(pool)?.get(key);
    if (young) return young;
    const old = this.#old.get(pool)?.get(key);
    return old ? this.add(old) : null;
  }

  add(record: ClaimRecord): ClaimRecord {
    const pool = this.#young.get(record.pool);
    if (pool) pool.set(record.key, record);
    else this.#young.set(record.pool, new Map([[record.key, record]]));
    this.#youngSize++;
    return record;
  }

  /** Call when storage has (or, before it is asked again, will have) every record as it is here. */
  shrink(): void {
    if (this.#youngSize < this.#recordsMax / 2) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#youngSize = 0;
  }
}
