/** Clocks that lie: each at its own rate and from its own start, as the production code's `Clock` sees them. */
import type { Clock } from '#core';
import { tickMs } from './plan.ts';

const onTick = (ms: number) => Math.floor(ms / tickMs) * tickMs;

/** A host's clocks. The monotonic one stands still while the machine is suspended, the wall clock can be set. */
export class HostClock implements Clock {
  readonly rate: number;
  readonly #trueMs: () => number;
  readonly #startMs: number;
  #suspendedMs = 0;
  #suspendedAtMs: number | null = null;
  #wallOffsetMs = 1_700_000_000_000;

  constructor(rate: number, trueMs: () => number) {
    this.rate = rate;
    this.#trueMs = trueMs;
    this.#startMs = trueMs() - 12_345;
  }

  #elapsedMs(): number {
    return (this.#trueMs() - this.#startMs) * this.rate;
  }

  monotonicMs(): number {
    const now = this.#elapsedMs();
    const asleepMs = this.#suspendedAtMs === null ? 0 : now - this.#suspendedAtMs;
    return now - this.#suspendedMs - asleepMs;
  }

  bootMs(): number {
    return onTick(this.#elapsedMs());
  }

  wallMs(): number {
    return this.#elapsedMs() + this.#wallOffsetMs;
  }

  suspend(): void {
    this.#suspendedAtMs ??= this.#elapsedMs();
  }

  wake(): void {
    if (this.#suspendedAtMs === null) return;
    this.#suspendedMs += this.#elapsedMs() - this.#suspendedAtMs;
    this.#suspendedAtMs = null;
  }

  /** By minutes: a step that undoes a suspension to the millisecond, within the second in which it ended, is not modelled. */
  setWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }
}

/** The store's clock: counts in ticks, and may be moved. */
export class StoreClock {
  readonly #rate: number;
  readonly #trueMs: () => number;
  #offsetMs = 900_000;

  constructor(rate: number, trueMs: () => number) {
    this.#rate = rate;
    this.#trueMs = trueMs;
  }

  nowMs(): number {
    return onTick(this.#trueMs() * this.#rate + this.#offsetMs);
  }

  move(byMs: number): void {
    this.#offsetMs += byMs;
  }
}
