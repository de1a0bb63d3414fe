/**
 * A map from key to value for a million keys on a request path. One Map of that size stops the process for 200 ms whenever it
 * makes room (and, once full, with every few ten thousand changes); here the keys are spread over many, each of which does
 * that in two or three.
 */

const shardCount = 64; // a power of two
/** What tells keys of one kind apart is mostly at their end. */
const hashedChars = 6;

export class KeyMap<Key extends string, Value> {
  readonly #shards: Map<Key, Value>[] = [];
  #size = 0;
  #handShard = 0;
  #hand: Iterator<[Key, Value]> | null = null;

  get size(): number {
    return this.#size;
  }

  get(key: Key): Value | undefined {
    return this.#shards[shardOf(key)]?.get(key);
  }

  set(key: Key, value: Value): void {
    const shard = (this.#shards[shardOf(key)] ??= new Map<Key, Value>());
    const before = shard.size;
    shard.set(key, value);
    this.#size += shard.size - before;
  }

  delete(key: Key): boolean {
    const deleted = this.#shards[shardOf(key)]?.delete(key) ?? false;
    if (deleted) this.#size -= 1;
    return deleted;
  }

  *keys(): Generator<Key> {
    for (const shard of this.#shards) if (shard) yield* shard.keys();
  }

  /** The next entry in a walk that never ends, and that comes by every entry before it comes by one again. Null if there is none. */
  next(): [Key, Value] | null {
    // Twice around: the walk may stand in a shard that has just become empty.
    for (let shards = 0; shards <= 2 * shardCount; shards += 1) {
      const next = this.#hand?.next();
      if (next && !next.done) return next.value;
      this.#handShard = (this.#handShard + 1) % shardCount;
      this.#hand = this.#shards[this.#handShard]?.entries() ?? null;
    }
    return null;
  }
}

function shardOf(key: string): number {
  let hash = key.length;
  for (let index = Math.max(0, key.length - hashedChars); index < key.length; index += 1) {
    hash = (Math.imul(hash, 31) + key.charCodeAt(index)) | 0;
  }
  return (hash ^ (hash >>> 6)) & (shardCount - 1);
}
