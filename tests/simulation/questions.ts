/**
 * What a host asks the store, and the event that each answer becomes: as `guard/directory-calls.ts` and `guard/giving.ts` do it with promises.
 */
import {
  HoldfastError,
  type Claim,
  type Fence,
  type OpenSession,
  type ResourceKey,
  type SessionId,
} from '#core';
import type { GuardEffect, GuardEvent } from '../../ownership/guard/step.ts';
import type { Component } from './component.ts';
import { pool, type Asker, type Question } from './store.ts';
import type { World } from './world.ts';

export type StoreEffect = Effect<
  | 'open-session'
  | 'resume-session'
  | 'renew-session'
  | 'mark-draining'
  | 'close-session'
  | 'discard-session'
  | 'verify'
  | 'raise'
  | 'confirm'
  | 'release'
  | 'transfer'
>;

export interface QuestionsPorts {
  readonly world: World;
  readonly asker: Asker;
  readonly facts: Omit<OpenSession, 'attempt' | 'endEarlier'>;
  readonly component: Component;
  /** The session under which the host may act at this moment. */
  heldSession(): SessionId | null;
  after(delayMs: number, run: () => void): void;
  dispatch(event: GuardEvent): void;
  isRunning(): boolean;
}

type Outcome = { held: true; claim: Claim | null } | { held: false };
type Effect<Type extends GuardEffect['type']> = Extract<GuardEffect, { type: Type }>;

export class Questions {
  readonly #ports: QuestionsPorts;
  readonly #world: World;

  constructor(ports: QuestionsPorts) {
    this.#ports = ports;
    this.#world = ports.world;
  }

  ask(effect: StoreEffect): void {
    switch (effect.type) {
      case 'open-session': {
        const { sentAtMs, attempt, clean } = effect;
        const { facts } = this.#ports;
        return this.#tell(
          (directory, nowMs) => {
            // A store that forgot has none to end: there a late opening is carried out, and the next one of the host ends that session.
            const ends =
              clean && directory.sessions(pool, nowMs).some(({ processId }) => processId === facts.processId);
            const granted = this.#unlessLate(() =>
              directory.openSession({ ...facts, attempt, endEarlier: clean }, nowMs),
            );
            if (ends) this.#checkNothingOpen();
            return granted;
          },
          granted => ({ type: 'session-opened', sentAtMs, ...granted }),
          { type: 'session-open-failed', sentAtMs },
        );
      }
      case 'resume-session':
        return this.#resume(effect);
      case 'renew-session': {
        const { sessionId, sentAtMs } = effect;
        return this.#tell(
          (directory, nowMs) => directory.renewSession(sessionId, nowMs),
          renewed => ({ type: 'session-renewed', sessionId, sentAtMs, ...renewed }),
          { type: 'session-renewal-failed', sessionId, sentAtMs },
        );
      }
      case 'mark-draining': {
        const { sessionId } = effect;
        return this.#tell(
          (directory, nowMs) => directory.updateSession(sessionId, { draining: true }, nowMs),
          alive => ({ type: 'session-marked', sessionId, alive }),
          { type: 'session-marked', sessionId, alive: null },
        );
      }
      case 'close-session':
      case 'discard-session': {
        const { sessionId } = effect;
        const closed: GuardEvent = { type: 'session-closed', sessionId };
        return this.#tell(
          (directory, nowMs) => {
            if (effect.type === 'close-session') this.#checkNothingOpen();
            directory.closeSession(sessionId, nowMs);
          },
          () => closed,
          closed,
        );
      }
      case 'verify':
      case 'raise':
      case 'confirm':
        return this.#askAboutKey(effect);
      case 'release':
      case 'transfer': {
        const { attempt } = effect;
        if (attempt === 1) return this.#give(effect);
        return this.#ports.after(Math.min(50 * 2 ** (attempt - 2), 1_000), () => this.#give(effect));
      }
    }
  }

  #resume({ sentAtMs, attempt, held }: Effect<'resume-session'>): void {
    const world = this.#world;
    const facts = this.#ports.facts;
    const keys = held.map(({ key, fence, opened }) => ({ key, fence, opened, alarmAtMs: null }));
    world.store.ask(
      this.#ports.asker,
      (directory, nowMs) => {
        world.adopting = true;
        return this.#unlessLate(() => directory.resumeSession({ ...facts, attempt }, keys, nowMs));
      },
      reply => {
        if (reply.type !== 'answer') {
          return this.#ports.dispatch({
            type: 'session-resume-failed',
            sentAtMs,
            refused: reply.type === 'refused',
          });
        }
        world.count('adopted', keys.length - reply.value.refused.length);
        world.count('adoptRefused', reply.value.refused.length);
        this.#ports.dispatch({ type: 'session-resumed', sentAtMs, ...reply.value });
      },
    );
  }

  #askAboutKey(effect: Effect<'verify' | 'raise' | 'confirm'>): void {
    const { key, openId } = effect;
    const sessionId = this.#ports.heldSession();
    const failed: GuardEvent = { type: 'failed', key, openId, error: 'unavailable' };
    const mine = (claim: { sessionId: SessionId; fence: Fence; hadOwner: boolean } | null) =>
      claim?.sessionId === sessionId ? claim : null;
    switch (effect.type) {
      case 'verify':
        return this.#tell(
          (directory, nowMs) => directory.lookup(pool, key, nowMs),
          claim => ({ type: 'verified', key, openId, verdict: mine(claim) }),
          failed,
        );
      case 'raise': {
        this.#world.count('raises');
        if (!sessionId) return this.#later({ type: 'raised', key, openId, verdict: null });
        return this.#tell(
          (directory, nowMs) => directory.raiseFence({ pool, key, sessionId }, effect.above, nowMs),
          claim => ({ type: 'raised', key, openId, verdict: mine(claim) }),
          failed,
        );
      }
      case 'confirm': {
        if (!sessionId) return this.#later({ type: 'confirmed', key, openId, owned: false });
        const held = { pool, key, sessionId, fence: effect.fence };
        return this.#tell(
          (directory, nowMs) => directory.confirmOpened(held, nowMs),
          owned => ({ type: 'confirmed', key, openId, owned }),
          failed,
        );
      }
    }
  }

  #give(effect: Effect<'release' | 'transfer'>): void {
    const { key, openId, fence } = effect;
    const sessionId = this.#ports.heldSession();
    const unanswered: GuardEvent = { type: 'unanswered', key, openId };
    if (effect.type === 'release') {
      const released: GuardEvent = { type: 'released', key, openId };
      if (!sessionId) return this.#later(released);
      const held = { pool, key, sessionId, fence };
      return this.#tell(
        (directory, nowMs) => {
          const was = directory.release(held, nowMs);
          if (was) this.#checkClosed(key, fence);
        },
        () => released,
        unanswered,
      );
    }
    const transferred = (outcome: Outcome): GuardEvent => ({ type: 'transferred', key, openId, outcome });
    if (!sessionId) return this.#later(transferred({ held: false }));
    const held = { pool, key, sessionId, fence };
    this.#world.store.ask<Outcome>(
      this.#ports.asker,
      (directory, nowMs) => {
        const outcome: Outcome =
          effect.to === 'nobody'
            ? givenBack(directory.release(held, nowMs))
            : directory.transfer(held, effect.to, nowMs);
        if (outcome.held) this.#checkClosed(key, fence);
        return outcome;
      },
      reply => {
        if (reply.type !== 'answer') return this.#ports.dispatch(unanswered);
        if (reply.value.held || effect.attempt === 1) return this.#ports.dispatch(transferred(reply.value));
        // An earlier try may have done it, whose answer was lost.
        this.#tell(
          (directory, nowMs) => directory.lookup(pool, key, nowMs),
          claim => {
            if (effect.to === 'nobody' && claim === null) return transferred(givenBack(true));
            const done = claim !== null && claim.sessionId !== sessionId && claim.fence > fence;
            return transferred(done ? { held: true, claim } : { held: false });
          },
          unanswered,
        );
      },
    );
  }

  #tell<Value>(question: Question<Value>, answered: (value: Value) => GuardEvent, lost: GuardEvent): void {
    this.#world.store.ask(this.#ports.asker, question, reply =>
      this.#ports.dispatch(reply.type === 'answer' ? answered(reply.value) : lost),
    );
  }

  /** Of two openings by one process the earlier may reach the store after the later one, and either of them twice. */
  #unlessLate<Value>(open: () => Value): Value {
    try {
      return open();
    } catch (error) {
      if (error instanceof HoldfastError && this.#ports.isRunning()) this.#world.count('lateOpenings');
      throw error;
    }
  }

  #later(event: GuardEvent): void {
    this.#ports.after(0, () => this.#ports.dispatch(event));
  }

  /** A process that is gone has nothing open. */
  #checkClosed(key: ResourceKey, fence: Fence): void {
    if (this.#ports.isRunning()) this.#ports.component.checkClosed(key, fence);
  }

  #checkNothingOpen(): void {
    if (this.#ports.isRunning()) this.#ports.component.checkNothingOpen();
  }
}

function givenBack(held: boolean): Outcome {
  return held ? { held, claim: null } : { held };
}
