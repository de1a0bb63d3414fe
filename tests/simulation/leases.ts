/** The store's one lease: production decisions over a record that survives the store's process; and who worked under which fence. */
import type { Fence } from '#core';
import { decideLease, type LeaseRecord, type LeaseRequest } from '../../leases/decision.ts';
import { Violation } from './violation.ts';

export interface LeaseAnswer {
  acquired: boolean;
  fence: Fence | null;
  expiresInMs: number;
  holder: string | null;
}

export class Leases {
  readonly #nextFence: () => Fence;
  #record: LeaseRecord | null = null;
  #highest = 0n;
  readonly #workedUnder = new Map<bigint, string>();

  constructor(nextFence: () => Fence) {
    this.#nextFence = nextFence;
  }

  decide(request: LeaseRequest, nowMs: number): LeaseAnswer {
    const decision = decideLease(this.#record, request, nowMs);
    switch (decision.type) {
      case 'grant': {
        const fence = this.#nextFence();
        if (fence <= this.#highest) {
          throw new Violation(
            'I5-fences-increase',
            `the lease is given out under ${fence} after ${this.#highest}`,
          );
        }
        this.#highest = fence;
        this.#record = { holder: request.holder, fence, expiresAtMs: decision.expiresAtMs };
        return this.#answer(true, this.#record, nowMs);
      }
      case 'extend':
        if (this.#record!.expiresAtMs <= nowMs) {
          throw new Violation('I3-one-answerer', `the lease of ${request.holder} has ended, and lives again`);
        }
        this.#record = decision.record;
        return this.#answer(true, this.#record, nowMs);
      case 'end':
        if (request.type !== 'acquire' && request.fence !== this.#record!.fence) {
          throw new Violation(
            'I3-one-answerer',
            `the lease of ${request.holder} ends by a release that was not meant for it`,
          );
        }
        this.#record = null;
        return this.#answer(true, null, nowMs);
      case 'refuse':
        return this.#answer(false, decision.current, nowMs);
    }
  }

  /** Work begins: once under each fence, and never under a lower one. */
  use(fence: Fence, holder: string): void {
    const before = this.#workedUnder.get(fence);
    if (before !== undefined) {
      throw new Violation(
        'I1-commits-in-fence-order',
        `${holder} works under ${fence} of the lease, as ${before} did`,
      );
    }
    this.#workedUnder.set(fence, holder);
  }

  #answer(acquired: boolean, record: LeaseRecord | null, nowMs: number): LeaseAnswer {
    if (!record) return { acquired, fence: null, expiresInMs: 0, holder: null };
    const { fence, expiresAtMs, holder } = record;
    return { acquired, fence, expiresInMs: expiresAtMs - nowMs, holder };
  }
}
