/**
 * One host's part in a contest for a lease: the production machine of `hold` and its registry of holders, with a synchronous shell as
 * `leases/hold.ts` has one with promises. The store decides by `decideLease`.
 *
 * Not simulated where the store forgets: how a store keeps its leases apart then is its own affair, and has its own tests.
 */
import type { Fence, ProcessId } from '#core';
import { beginHold, holdWakeMs, leaseMarginMs, stepHold } from '../../leases/hold-machine.ts';
import type { HoldEffect, HoldEvent, HoldState, HoldStep, HoldTiming } from '../../leases/hold-machine.ts';
import { createHolderRegistry, type HolderTurn } from '../../leases/holder-registry.ts';
import type { LeaseAnswer, Leases } from './leases.ts';
import type { Asker, Reply } from './store.ts';
import { describe } from './trace.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

const name = 'lease';

export interface LeaseHolderPorts {
  readonly world: World;
  readonly asker: Asker;
  readonly processId: ProcessId;
  nowMs(): number;
  after(delayMs: number, run: () => void): void;
  /** The holders of other processes that live. */
  others(): Iterable<LeaseHolder>;
}

export class LeaseHolder {
  readonly #ports: LeaseHolderPorts;
  readonly #world: World;
  readonly #timing: HoldTiming;
  readonly #registry = createHolderRegistry();
  #turn: HolderTurn;
  #state!: HoldState;
  #wakes = 0;
  /** Counts calls of `hold`: an answer to an earlier one means nothing to a later one. */
  #hold = 0;
  /** Counts holdings: work of an earlier one does not end a later one. */
  #holdings = 0;

  constructor(ports: LeaseHolderPorts) {
    this.#ports = ports;
    this.#world = ports.world;
    const { ttlMs } = ports.world.plan;
    this.#timing = { ttlMs, marginMs: leaseMarginMs(ttlMs) };
    this.#turn = this.#registry.enter(name, ports.processId);
    this.#begin();
  }

  /** Whether work goes on that believes in the lease. */
  get believes(): boolean {
    return this.#state.phase === 'held' && this.#ports.nowMs() < this.#state.deadlineMs;
  }

  #begin(): void {
    this.#hold++;
    this.#apply(beginHold(this.#ports.nowMs(), this.#timing.ttlMs * 3));
  }

  #handle(event: HoldEvent): void {
    this.#world.trace?.(`${this.#ports.processId} lease ◀ ${describe(event)}`);
    this.#apply(stepHold(this.#state, event, this.#ports.nowMs(), this.#timing));
  }

  #apply({ state, effects }: HoldStep): void {
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
    const wake = ++this.#wakes;
    const wakeMs = holdWakeMs(state, this.#timing);
    if (wakeMs !== null) {
      this.#ports.after(Math.max(1, wakeMs - this.#ports.nowMs()), () => {
        if (wake === this.#wakes) this.#handle({ type: 'tick' });
      });
    }
    if (state.phase !== 'ended') return;
    this.#turn.end();
    this.#turn = this.#registry.enter(name, this.#ports.processId);
    const holding = this.#holdings;
    this.#ports.after(this.#timing.ttlMs * this.#world.dice.fraction(), () => {
      if (this.#world.faulty && this.#state.phase === 'ended' && holding === this.#holdings) this.#begin();
    });
  }

  #perform(effect: HoldEffect): void {
    switch (effect.type) {
      case 'acquire':
        return this.#acquire(effect.sentAtMs);
      case 'renew':
        return this.#renew(effect.fence, effect.sentAtMs);
      case 'release':
        return this.#release(effect.fence);
      case 'start-work':
        return this.#work(effect.fence);
      case 'abort-work': {
        // It takes the work a moment to notice.
        this.#world.count('leasesLost');
        const holding = this.#holdings;
        return this.#ports.after(2, () => this.#endWork(holding));
      }
    }
  }

  #acquire(sentAtMs: number): void {
    const { processId: holder } = this.#ports;
    const { ttlMs } = this.#timing;
    this.#turn.take();
    this.#ask(
      (leases, nowMs) => leases.decide({ type: 'acquire', holder, ttlMs }, nowMs),
      reply => {
        if (reply.type !== 'answer') return this.#handle({ type: 'acquire-failed', sentAtMs });
        const { acquired, fence, expiresInMs } = reply.value;
        if (!acquired) {
          this.#world.count('leasesContended');
          return this.#handle({ type: 'acquire-refused', sentAtMs, refusal: reply.value });
        }
        const spent = this.#turn.isSpent(fence!);
        this.#handle({ type: 'acquire-granted', sentAtMs, fence: fence!, expiresInMs, spent });
      },
    );
  }

  #renew(fence: bigint, sentAtMs: number): void {
    const { processId: holder } = this.#ports;
    const { ttlMs } = this.#timing;
    this.#ask(
      (leases, nowMs) => leases.decide({ type: 'renew', holder, fence, ttlMs }, nowMs),
      reply => {
        if (reply.type !== 'answer') return this.#handle({ type: 'renewal-failed', sentAtMs });
        const { acquired, expiresInMs } = reply.value;
        this.#handle(
          acquired ? { type: 'renewal-granted', sentAtMs, expiresInMs } : { type: 'renewal-refused' },
        );
      },
    );
  }

  #release(fence: bigint): void {
    const { world, asker, processId: holder } = this.#ports;
    const turn = this.#turn;
    const hold = this.#hold;
    turn.spend(fence);
    world.store.ask(
      asker,
      (_directory, nowMs, leases) => leases.decide({ type: 'release', holder, fence }, nowMs),
      reply => {
        const answered = reply.type === 'answer';
        if (answered) turn.forget(fence);
        if (hold === this.#hold) this.#handle({ type: answered ? 'released' : 'release-failed', fence });
      },
    );
  }

  #ask(
    question: (leases: Leases, nowMs: number) => LeaseAnswer,
    reply: (reply: Reply<LeaseAnswer>) => void,
  ): void {
    const { world, asker } = this.#ports;
    const hold = this.#hold;
    world.store.ask(
      asker,
      (_directory, nowMs, leases) => question(leases, nowMs),
      answer => {
        if (hold === this.#hold) reply(answer);
      },
    );
  }

  #work(fence: bigint): void {
    const { world } = this.#ports;
    const holding = ++this.#holdings;
    world.count('leasesHeld');
    world.store.leases.use(fence as Fence, this.#ports.processId);
    this.#checkAlone();
    const workMs = this.#timing.ttlMs * world.dice.fraction() * 2;
    // In the middle of it, and at its end.
    this.#ports.after(workMs / 2, () => {
      if (holding !== this.#holdings) return;
      this.#handle({ type: 'tick' }); // as whoever reads the signal's state does
      if (this.#state.phase === 'held') this.#checkAlone();
    });
    this.#ports.after(workMs, () => this.#endWork(holding));
  }

  #endWork(holding: number): void {
    if (holding !== this.#holdings) return;
    this.#handle({ type: 'tick' });
    if (this.#state.phase === 'held') this.#checkAlone();
    this.#holdings++;
    this.#handle({ type: 'work-ended' });
  }

  #checkAlone(): void {
    if (this.#world.plan.regime !== 'timed') return;
    for (const other of this.#ports.others()) {
      if (other !== this && other.believes) {
        throw new Violation(
          'I3-one-answerer',
          `${this.#ports.processId} works under a lease that another believes in`,
        );
      }
    }
  }
}
