/**
 * The component of one host: opens registers, works on requests, closes. What it does takes time, and the time between its last check
 * of ownership and the effect is drawn anew for each request.
 */
import type { Fence, ProcessId, ResourceKey } from '#core';
import type { GuardEffect, GuardEvent } from '../../ownership/guard/step.ts';
import { effectDelayMsMax } from './plan.ts';
import type { Entry, Register } from './register.ts';
import type { Attempt, AttemptOutcome } from './request.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

/** What a host is to its component. */
export interface ComponentPorts {
  readonly world: World;
  readonly name: string;
  readonly processId: ProcessId;
  /** The host's clock. */
  nowMs(): number;
  after(delayMs: number, run: () => void): void;
  dispatch(event: GuardEvent): void;
  answer(attempt: Attempt, outcome: AttemptOutcome): void;
  /** Whether this opening may act at this moment. */
  owns(key: ResourceKey, openId: number): boolean;
  /** Throws if another host believes in the key too. */
  checkAlone(key: ResourceKey): void;
  withoutAuthority(): boolean;
}

/** One opening of a key in the component. */
interface Opening {
  readonly openId: number;
  readonly register: Register;
  readonly fence: Fence;
  /** The log as this owner knows it. */
  memory: Entry | null;
  /** `Resource.signal` has aborted. */
  over: boolean;
}

type Effect<Type extends GuardEffect['type']> = Extract<GuardEffect, { type: Type }>;

export class Component {
  readonly #ports: ComponentPorts;
  readonly #world: World;
  readonly #openings = new Map<number, Opening>();
  /** Keys that are open, or being opened, with their fence. */
  readonly #open = new Map<ResourceKey, Fence>();

  constructor(ports: ComponentPorts) {
    this.#ports = ports;
    this.#world = ports.world;
  }

  endRight(openId: number): void {
    const opening = this.#openings.get(openId);
    if (opening) opening.over = true;
  }

  open({ key, openId, fence, hadOwner }: Effect<'open'>): void {
    const { dice, plan, faulty, count, registers } = this.#world;
    if (this.#open.has(key)) {
      throw new Violation('one-opening-per-component', `${this.#ports.name} opens ${key} twice at once`);
    }
    this.#ports.checkAlone(key);
    this.#open.set(key, fence);
    count('opens');
    const register = registers.find(one => one.key === key)!;
    const opening: Opening = { openId, register, fence, memory: null, over: false };
    this.#openings.set(openId, opening);
    const leave = () => {
      this.#open.delete(key);
      this.#openings.delete(openId);
    };
    const delayMs = this.#delayMs(faulty && dice.chance(0.1) ? plan.ttlMs : 3);
    if (register.fenced) {
      const held = register.install(fence);
      if (held !== null) {
        return this.#ports.after(delayMs, () => {
          count('opensFenced');
          leave();
          this.#ports.dispatch({ type: 'open-fenced', key, openId, held, error: 'fenced' });
        });
      }
    }
    const fails = faulty && plan.faults.has('openFailure') && dice.chance(0.1);
    this.#ports.after(delayMs, () => {
      if (fails) {
        count('openFailures');
        leave();
        return this.#ports.dispatch({ type: 'failed', key, openId, error: 'cannot open' });
      }
      if (!hadOwner && register.head && plan.faults.size === 0) {
        throw new Violation('I2-acknowledged-writes-stay', `${key} is said to be new, and is not`);
      }
      opening.memory = register.head;
      this.#ports.dispatch({ type: 'opened', key, openId });
    });
  }

  close({ key, openId }: Effect<'close'>): void {
    const { dice, plan, faulty, count } = this.#world;
    count('closes');
    this.#ports.after(this.#delayMs(faulty && dice.chance(0.1) ? plan.ttlMs * 0.5 : 3), () => {
      const opening = this.#openings.get(openId)!;
      // It may still write what it held back, if it may act at all.
      const { register, fence } = opening;
      const refused = register.fenced && register.fence !== fence;
      if (!refused && this.#mayAct(opening)) register.use(fence, this.#ports.processId);
      this.#open.delete(key);
      this.#ports.dispatch({ type: 'closed', key, openId });
      this.#openings.delete(openId);
    });
  }

  run({ key, openId }: Effect<'run'>, attempt: Attempt): void {
    const { dice, plan, faulty, count } = this.#world;
    const opening = this.#openings.get(openId);
    if (!opening)
      throw new Violation('no-crash', `${this.#ports.name} runs a request on ${key}, which is not open`);
    this.#ports.checkAlone(key);
    attempt.execute();
    count('executions');
    const finish = (outcome: AttemptOutcome) => {
      if (!this.#ports.owns(key, openId)) count('overruns');
      if (this.#ports.withoutAuthority() && outcome.type === 'ok') count('commitsWithoutAuthority');
      this.#ports.answer(attempt, outcome);
      this.#ports.dispatch({ type: 'done', key, openId });
    };
    const workMs = this.#delayMs(
      dice.chance(0.15) ? plan.ttlMs * (faulty && plan.faults.size > 0 ? 1.3 : 0.2) : 4,
    );
    this.#ports.after(workMs, () => {
      if (!this.#mayAct(opening)) {
        count('refusedByGuard');
        return finish({ type: 'broken' });
      }
      const checkedAtMs = this.#ports.nowMs();
      const stallMs =
        plan.regime === 'untimed' && this.#world.faulty && dice.chance(0.2)
          ? plan.ttlMs * 2
          : effectDelayMsMax - 1;
      const act = () => {
        if (this.#ports.nowMs() - checkedAtMs > effectDelayMsMax && !opening.register.fenced)
          opening.register.sound = false;
        const outcome = this.#act(attempt, opening);
        finish(outcome ?? { type: 'broken' });
        if (!outcome) this.#ports.dispatch({ type: 'fenced', key, openId });
      };
      if (dice.chance(0.6)) act();
      else this.#ports.after(dice.fraction() * stallMs, act);
    });
  }

  /** The effect: one step at the resource. Null: the resource refuses the fence. */
  #act({ request }: Attempt, opening: Opening): AttemptOutcome | null {
    const { register, fence } = opening;
    const { count } = this.#world;
    if (register.fenced && register.fence !== fence) {
      count('refusedByFence');
      return null;
    }
    register.use(fence, this.#ports.processId);
    if (request.kind === 'read') {
      count('reads');
      return { type: 'ok', length: opening.memory?.length ?? 0 };
    }
    if (request.kind === 'put') {
      for (let entry = opening.memory; entry; entry = entry.before) {
        if (entry.requestId === request.id) return { type: 'ok', length: entry.length };
      }
    }
    count('commits');
    if (!register.fenced) count('unfencedCommits');
    const length = (opening.memory?.length ?? 0) + 1;
    opening.memory = { requestId: request.id, length, before: opening.memory };
    register.write(opening.memory);
    return { type: 'ok', length };
  }

  #mayAct(opening: Opening): boolean {
    const { openId, register } = opening;
    return !opening.over && this.#ports.owns(register.key, openId);
  }

  /** Mostly short. */
  #delayMs(most: number): number {
    return this.#world.dice.fraction() * most;
  }

  /** In the store, when a session ends at the wish of its host. */
  checkNothingOpen(): void {
    if (this.#open.size === 0) return;
    throw new Violation(
      'closed-before-handed-on',
      `${this.#ports.name} ends its session with ${this.#open.size} keys open`,
    );
  }

  /** In the store, when a key is handed on as planned. */
  checkClosed(key: ResourceKey, fence: Fence): void {
    const open = this.#open.get(key);
    if (open !== undefined && open <= fence) {
      throw new Violation(
        'closed-before-handed-on',
        `${this.#ports.name} hands on ${key} (${fence}), which it has open`,
      );
    }
  }
}
