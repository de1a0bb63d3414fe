/** The way between two parties: delay, loss, duplication, partitions in one or both directions. */
import type { World } from './world.ts';

/** Who takes part, as a number below 64. */
export type Address = number;

export const storeAddress: Address = 0;
/** Agents and operators, seen as one party. */
export const operatorAddress: Address = 1;

export class Network {
  readonly #world: World;
  readonly #blocked = new Set<number>();
  #addresses = 1;

  constructor(world: World) {
    this.#world = world;
  }

  newAddress(): Address {
    return ++this.#addresses;
  }

  block(from: Address, to: Address): void {
    this.#blocked.add(from * 1_024 + to);
  }

  unblock(from: Address, to: Address): void {
    this.#blocked.delete(from * 1_024 + to);
  }

  isBlocked(from: Address, to: Address): boolean {
    return this.#blocked.size > 0 && this.#blocked.has(from * 1_024 + to);
  }

  heal(): void {
    this.#blocked.clear();
  }

  /** How long one message takes, null: it never arrives. */
  delayMs(from: Address, to: Address): number | null {
    const { dice, plan, faulty, count } = this.#world;
    count('messages');
    if (this.isBlocked(from, to)) return null;
    if (faulty && plan.faults.has('loss') && dice.chance(plan.lossRate)) {
      count('lost');
      return null;
    }
    if (faulty && plan.faults.has('slowness') && dice.chance(0.1)) {
      count('slow');
      return dice.fraction() * dice.fraction() * plan.ttlMs * 1.5;
    }
    return 0.1 + dice.fraction() * 3;
  }

  duplicates(): boolean {
    const { dice, plan, faulty, count } = this.#world;
    if (!faulty || !plan.faults.has('duplication') || !dice.chance(0.1)) return false;
    count('duplicated');
    return true;
  }
}
