/**
 * One host process: the production guard (`step`) with a synchronous shell around it, that does what `guard/guard.ts` does with promises
 * and timers. The process can be frozen (it executes nothing, then everything late), suspended with its machine, killed.
 */
import {
  createSteadyClock,
  type Claim,
  type NodeName,
  type ProcessId,
  type ResourceKey,
  type SessionId,
} from '#core';
import type { HandOffTarget } from '../../ownership/guard/key-model.ts';
import { holds } from '../../ownership/guard/session.ts';
import {
  initialGuard,
  ownsOpening,
  step,
  wakeMs,
  type GuardEffect,
  type GuardEvent,
  type GuardOptions,
} from '../../ownership/guard/step.ts';
import { HostClock } from './clock.ts';
import { Component } from './component.ts';
import { LeaseHolder } from './lease-holder.ts';
import type { Address } from './network.ts';
import { hostRate } from './plan.ts';
import { Questions } from './questions.ts';
import type { Attempt, AttemptOutcome } from './request.ts';
import { pool, type Asker } from './store.ts';
import { Violation } from './violation.ts';
import { describe } from './trace.ts';
import type { World } from './world.ts';

type Effect<Type extends GuardEffect['type']> = Extract<GuardEffect, { type: Type }>;

export class Host implements Asker {
  readonly name: string;
  readonly processId: ProcessId;
  readonly address: Address;
  readonly clock: HostClock;
  /** `dead`: killed. `ended`: left by itself. */
  life: 'running' | 'dead' | 'ended' = 'running';
  drainAsked = false;
  readonly #world: World;
  readonly #limits: GuardOptions;
  readonly #steadyMs: () => number;
  readonly #component: Component;
  readonly #questions: Questions;
  readonly #leaseHolder: LeaseHolder | null = null;
  #guard = initialGuard();
  readonly #events: GuardEvent[] = [];
  #stepping = false;
  #wakeMs: number | null = null;
  #wakes = 0;
  #frozen = false;
  #missed: (() => void)[] = [];
  readonly #waiting = new Map<number, Attempt>();
  readonly #underWay = new Set<Attempt>();
  /** Hand-offs that somebody waits for. */
  readonly #handOffs = new Map<ResourceKey, object>();
  #requestIds = 0;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
    this.processId = `p-${name}` as ProcessId;
    this.address = world.network.newAddress();
    const { plan, scheduler, count } = world;
    const { rate, atTheBound } = hostRate(plan, world.dice);
    if (atTheBound) count('scheduleAtTheRateBound');
    this.clock = new HostClock(rate, () => scheduler.nowMs);
    this.#steadyMs = createSteadyClock(this.clock);
    const { ttlMs, marginMs, concurrency, idleMs, onAuthorityLoss } = plan;
    this.#limits = { ttlMs, marginMs, concurrency, idleMs, onAuthorityLoss, openMs: ttlMs * 2 };
    const after = (delayMs: number, run: () => void) => this.#after(delayMs, run);
    const dispatch = (event: GuardEvent) => this.#dispatch(event);
    this.#component = new Component({
      world,
      name,
      processId: this.processId,
      nowMs: this.#steadyMs,
      after,
      dispatch,
      answer: (attempt, outcome) => this.#answer(attempt, outcome),
      owns: (key, openId) => ownsOpening(this.#guard, key, openId, this.#steadyMs()),
      checkAlone: key => this.#checkAlone(key),
      withoutAuthority: () => this.withoutAuthority,
    });
    this.#questions = new Questions({
      world,
      asker: this,
      facts: {
        pool,
        processId: this.processId,
        nodeName: `n-${name}` as NodeName,
        address: name,
        ownsResources: true,
        capacity: 1,
        ttlMs,
      },
      component: this.#component,
      heldSession: () => this.#heldSession(),
      after,
      dispatch,
      isRunning: () => this.life === 'running',
    });
    if (plan.leases) {
      this.#leaseHolder = new LeaseHolder({
        world,
        asker: this,
        processId: this.processId,
        nowMs: this.#steadyMs,
        after,
        others: () => Array.from(world.hosts).flatMap(host => host.leaseHolder ?? []),
      });
    }
    this.#dispatch({ type: 'start' });
  }

  get leaseHolder(): LeaseHolder | null {
    return this.#leaseHolder;
  }

  // What happens to it -----------------------------------------------------------------------------------------------

  /** What comes from outside: it is handled when the process runs. */
  deliver(run: () => void): void {
    if (this.life !== 'running') return;
    if (this.#frozen) this.#missed.push(run);
    else run();
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  freeze(machineToo: boolean): void {
    this.#frozen = true;
    if (machineToo) this.clock.suspend();
  }

  thaw(): void {
    this.clock.wake();
    if (!this.#frozen) return;
    this.#frozen = false;
    const missed = this.#missed;
    this.#missed = [];
    // What waited for the process comes in no order that could be relied on.
    if (this.#world.dice.chance(0.5)) missed.reverse();
    for (const run of missed) this.deliver(run);
  }

  kill(): void {
    if (this.life !== 'running') return;
    this.#world.trace?.(`${this.name} is killed`);
    this.#leave('dead');
  }

  drain(): void {
    if (this.drainAsked) return;
    this.drainAsked = true;
    this.#world.count('drains');
    this.deliver(() => this.#dispatch({ type: 'drain' }));
    // As the host's own deadline for a stop: what is left then ends hard, and the process with it.
    this.#after(this.#world.plan.ttlMs * 6, () => {
      if (this.#guard.session.phase === 'ended') return;
      if (!this.#world.faulty && this.#world.plan.faults.size === 0) {
        throw new Violation('drains-end', `${this.name} is still ${this.#guard.session.phase}`);
      }
      this.#dispatch({ type: 'abort' });
      this.#leave('ended');
    });
  }

  /** An operator or a balancer wants the key elsewhere (null: wherever the directory chooses), or given back. */
  handOff({ key, fence }: Claim, to: HandOffTarget): void {
    this.#world.count('moves');
    this.deliver(() => {
      if (this.#handOffs.has(key)) return this.#dispatch({ type: 'hand-off', key, fence, to });
      const asked = {};
      this.#handOffs.set(key, asked);
      this.#dispatch({ type: 'hand-off', key, fence, to });
      this.#after(this.#world.plan.ttlMs * 2, () => {
        if (this.#handOffs.get(key) === asked) this.#dispatch({ type: 'hand-off-late', key });
      });
    });
  }

  get sessionId(): SessionId | null {
    return this.#heldSession();
  }

  /** A request arrives. */
  serve(attempt: Attempt): void {
    this.#underWay.add(attempt);
    this.deliver(() => {
      const requestId = ++this.#requestIds;
      this.#waiting.set(requestId, attempt);
      const { key, sessionId, fence } = attempt.claim;
      this.#dispatch({ type: 'request', key, requestId, sessionId, fence });
    });
  }

  // What is checked --------------------------------------------------------------------------------------------------

  /** Past its deadline, and going on because every commit is fenced. */
  get withoutAuthority(): boolean {
    const { session } = this.#guard;
    return (
      session.phase === 'resuming' &&
      session.cause === 'silent' &&
      this.#steadyMs() >= session.held.deadlineMs
    );
  }

  /** Whether this host, if it looked now, would believe that it alone may act for the key. */
  believes(key: ResourceKey): boolean {
    if (this.life !== 'running' || this.withoutAuthority) return false;
    const found = this.#guard.keys.get(key);
    if (!found || found.phase === 'verifying' || found.phase === 'raising') return false;
    return ownsOpening(this.#guard, key, found.openId, this.#steadyMs());
  }

  get phase(): string {
    return this.#guard.session.phase;
  }

  get busy(): boolean {
    return this.#underWay.size > 0;
  }

  describe(): string {
    const keys = Array.from(this.#guard.keys, ([key, { phase }]) => `${key} ${phase}`);
    return `${this.name} ${this.life}${this.#frozen ? ' frozen' : ''} ${this.phase} [${keys.join(', ')}]`;
  }

  #checkAlone(key: ResourceKey): void {
    if (!this.#world.plan.oneAnswerer || this.withoutAuthority) return;
    for (const other of this.#world.hosts) {
      if (other !== this && other.believes(key)) {
        throw new Violation(
          'I3-one-answerer',
          `${this.name} acts for ${key} while ${other.name} believes to own it`,
        );
      }
    }
  }

  // Events in, effects out -------------------------------------------------------------------------------------------

  #dispatch(event: GuardEvent): void {
    this.#events.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    for (let next = this.#events.shift(); next; next = this.#events.shift()) {
      const nowMs = this.#steadyMs();
      this.#world.count('steps');
      this.#world.trace?.(`${this.name} ◀ ${describe(next)}`);
      const { state, effects } = step(this.#guard, next, nowMs, this.#limits);
      this.#guard = state;
      for (const effect of effects) this.#perform(effect);
    }
    this.#stepping = false;
    this.#schedule();
  }

  #schedule(): void {
    const next = wakeMs(this.#guard, this.#limits);
    if (next === this.#wakeMs) return;
    this.#wakeMs = next;
    const wake = ++this.#wakes;
    if (next === null) return;
    this.#after(Math.max(1, next - this.#steadyMs()), () => {
      if (wake !== this.#wakes) return;
      this.#wakeMs = null;
      this.#dispatch({ type: 'tick' });
    });
  }

  /** On this host's clock. */
  #after(delayMs: number, run: () => void): void {
    this.#world.scheduler.after(delayMs / this.clock.rate, () => this.deliver(run));
  }

  #perform(effect: GuardEffect): void {
    this.#world.trace?.(`${this.name} ▶ ${describe(effect)}`);
    switch (effect.type) {
      case 'session-lost':
        return this.#noteLoss();
      case 'session-switched':
        return this.#world.count('sessionsResumed');
      case 'passivated':
        return this.#world.count('passivations', effect.count);
      case 'handed-off':
        this.#handOffs.delete(effect.key);
        return this.#world.count(effect.moved ? 'handedOff' : 'notHandedOff');
      case 'finished':
        // The process ends when what it had under way has been answered.
        return this.#after(5, () => this.#leave('ended'));
      case 'reject':
        return this.#reject(effect);
      case 'end-right':
        return this.#component.endRight(effect.openId);
      case 'run':
        return this.#run(effect);
      case 'open':
        return this.#component.open(effect);
      case 'close':
        return this.#component.close(effect);
      default:
        return this.#questions.ask(effect);
    }
  }

  #noteLoss(): void {
    const { plan, store, count } = this.#world;
    count('sessionsLost');
    const onlyForgets = [...plan.faults].every(kind => kind === 'storeForgets' || kind === 'wallClock');
    const short = store.absences === 1 && store.longestAbsenceMs < plan.ttlMs * 0.2;
    if (plan.regime === 'timed' && !this.drainAsked && onlyForgets && short && this.#guard.keys.size > 0) {
      throw new Violation('forgetting-moves-nothing', `${this.name} loses its keys to a store that forgot`);
    }
  }

  #heldSession(): SessionId | null {
    const { session } = this.#guard;
    return holds(session, this.#steadyMs()) ? session.held.sessionId : null;
  }

  #run(effect: Effect<'run'>): void {
    const attempt = this.#waiting.get(effect.requestId);
    if (!attempt)
      throw new Violation('answered-exactly-once', `${this.name} runs a request that it has answered`);
    this.#waiting.delete(effect.requestId);
    this.#component.run(effect, attempt);
  }

  #reject({ requestId, reason }: Effect<'reject'>): void {
    const attempt = this.#waiting.get(requestId);
    if (!attempt)
      throw new Violation('answered-exactly-once', `${this.name} answers request ${requestId} again`);
    this.#waiting.delete(requestId);
    if (reason.type === 'not-owner') {
      this.#world.count('refusals');
      return this.#answer(attempt, { type: 'not-owner' });
    }
    this.#answer(attempt, { type: 'failed' });
  }

  #answer(attempt: Attempt, outcome: AttemptOutcome): void {
    attempt.answer(outcome);
    this.#underWay.delete(attempt);
    const backMs = this.#world.network.delayMs(this.address, attempt.from);
    if (backMs === null)
      this.#world.scheduler.after(this.#world.plan.ttlMs, () => attempt.settle({ type: 'broken' }));
    else this.#world.scheduler.after(backMs, () => attempt.settle(outcome));
  }

  #leave(life: 'dead' | 'ended'): void {
    if (this.life !== 'running') return;
    this.life = life;
    this.#missed = [];
    this.#world.hosts.delete(this);
    // Its machine resets the connections.
    for (const attempt of this.#underWay) {
      this.#world.scheduler.after(1, () => attempt.settle({ type: 'broken' }));
    }
  }
}
