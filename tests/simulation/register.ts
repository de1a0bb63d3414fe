/**
 * What a key stands for: a log that grows by one entry with each write. A *fenced* register checks the writer's fence in the same step
 * as the write, as a database would; an *unfenced* one takes what it gets, and notes who answered when.
 *
 * An owner reads the log when it opens the key, keeps it in memory, and writes all of it back with each write. So an owner that acts on
 * outdated memory destroys what others wrote meanwhile, and cannot but be found out.
 *
 * Entries have their place in the log, and places only grow: a history is linearizable if no request was given a place
 * that a request acknowledged before its start has or surpasses (for reads: surpasses). `floor` is what must be surpassed.
 */
import type { Fence, ResourceKey } from '#core';
import { Violation } from './violation.ts';

export interface Entry {
  readonly requestId: number;
  /** How long the log is with it. */
  readonly length: number;
  readonly before: Entry | null;
}

export class Register {
  readonly key: ResourceKey;
  readonly fenced: boolean;
  /** Installed by the newest opening. Zero: none yet. */
  fence = 0n as Fence;
  head: Entry | null = null;
  /** Length of the log that some acknowledged request has seen. */
  floor = 0;
  /** Whether what was promised without fences is still promised: the timing model was kept so far. */
  sound: boolean;
  #newestAnswer = 0n;
  readonly #ownerOf = new Map<bigint, string>();
  readonly #acknowledged = new Map<number, number>();

  constructor(key: ResourceKey, fenced: boolean, timed: boolean) {
    this.key = key;
    this.fenced = fenced;
    this.sound = fenced || timed;
  }

  /** Installs the fence of a new owner; the fence held, if that is not below it. */
  install(fence: Fence): Fence | null {
    if (this.fence >= fence) return this.fence;
    this.fence = fence;
    return null;
  }

  /** An answer is given, or a write done, under this fence. */
  use(fence: bigint, owner: string): void {
    if (!this.sound) return;
    if (fence < this.#newestAnswer) {
      const invariant = this.fenced ? 'I1-commits-in-fence-order' : 'I3-one-answerer';
      throw new Violation(
        invariant,
        `${owner} acts on ${this.key} under ${fence} after ${this.#newestAnswer}`,
      );
    }
    this.#newestAnswer = fence;
    const before = this.#ownerOf.get(fence);
    if (before === undefined) this.#ownerOf.set(fence, owner);
    else if (before !== owner) {
      throw new Violation(
        'I1-commits-in-fence-order',
        `${owner} and ${before} use ${this.key} under ${fence}`,
      );
    }
  }

  write(head: Entry): void {
    if (this.sound && head.before !== this.head) this.#checkAcknowledged(head, 'overwritten');
    this.head = head;
  }

  /** A write was acknowledged to its client. */
  acknowledge(requestId: number, length: number): void {
    if (!this.sound) return;
    this.#acknowledged.set(length, requestId);
    let entry = this.head;
    while (entry && entry.length > length) entry = entry.before;
    if (entry?.requestId !== requestId) this.#lost(requestId, 'missing when it is acknowledged');
  }

  /** A request that started at that floor saw the log this long (a write: its own entry included). */
  checkOrder(facts: { requestId: number; length: number; floorAtStart: number; write: boolean }): void {
    if (!this.sound) return;
    const { requestId, length, floorAtStart, write } = facts;
    if (write ? length <= floorAtStart : length < floorAtStart) {
      throw new Violation(
        'I4-linearizable',
        `request ${requestId} of ${this.key} saw ${length} entries, others had seen ${floorAtStart} before it began`,
      );
    }
    this.floor = Math.max(this.floor, length);
  }

  #checkAcknowledged(head: Entry, how: string): void {
    const found = new Map<number, number>();
    for (let entry: Entry | null = head; entry; entry = entry.before)
      found.set(entry.length, entry.requestId);
    for (const [length, requestId] of this.#acknowledged) {
      if (found.get(length) !== requestId) this.#lost(requestId, how);
    }
  }

  #lost(requestId: number, how: string): never {
    throw new Violation('I2-acknowledged-writes-stay', `write ${requestId} of ${this.key} is ${how}`);
  }
}
