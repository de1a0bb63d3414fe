/** A client's request, the attempts that a router makes of it, and what must be true of both. */
import type { ResourceKey } from '#core';
import type { KnownClaim } from '../../ownership/owners/owner-table.ts';
import type { Address } from './network.ts';
import type { Register } from './register.ts';
import { Violation } from './violation.ts';

/** `put` may be repeated: it adds its entry unless it is there. `post` adds one each time. */
export type RequestKind = 'read' | 'put' | 'post';

export type Answer =
  | { type: 'ok'; length: number }
  /** A 5xx of the host: nothing was run. */
  | { type: 'failed' }
  | { type: 'not-executed' }
  | { type: 'unknown' };

export class ClientRequest {
  readonly id: number;
  readonly key: ResourceKey;
  readonly kind: RequestKind;
  /** So many attempts can be made before too much of its body is gone. */
  readonly attemptsMax: number;
  readonly register: Register;
  readonly floorAtStart: number;
  executions = 0;
  answer: Answer | null = null;
  readonly #onAnswer: (answer: Answer) => void;

  constructor(facts: {
    id: number;
    register: Register;
    kind: RequestKind;
    attemptsMax: number;
    onAnswer: (answer: Answer) => void;
  }) {
    this.id = facts.id;
    this.register = facts.register;
    this.key = facts.register.key;
    this.kind = facts.kind;
    this.attemptsMax = facts.attemptsMax;
    this.floorAtStart = facts.register.floor;
    this.#onAnswer = facts.onAnswer;
  }

  /** The component begins to work on it. */
  execute(): void {
    this.executions++;
    if (this.kind === 'post' && this.executions > 1) {
      throw new Violation('executed-at-most-once', `request ${this.id} runs for the second time`);
    }
    if (this.answer?.type === 'not-executed') this.#executedAfterAll();
  }

  finish(answer: Answer): void {
    if (this.answer) throw new Violation('answered-exactly-once', `request ${this.id} is answered twice`);
    this.answer = answer;
    if (answer.type === 'not-executed' && this.executions > 0) this.#executedAfterAll();
    if (answer.type === 'ok') {
      const write = this.kind !== 'read';
      const { id: requestId, floorAtStart } = this;
      this.register.checkOrder({ requestId, length: answer.length, floorAtStart, write });
      if (write) this.register.acknowledge(requestId, answer.length);
    }
    this.#onAnswer(answer);
  }

  #executedAfterAll(): never {
    throw new Violation('not-executed-means-it', `request ${this.id} was run, and answered as not executed`);
  }
}

/** What became of an attempt, as the router sees it. */
export type AttemptOutcome =
  | { type: 'ok'; length: number }
  | { type: 'failed' }
  | { type: 'not-owner' | 'unreachable' | 'broken' | 'timeout' };

/** One sending of a request to one host. */
export class Attempt {
  readonly request: ClientRequest;
  readonly claim: KnownClaim;
  /** Where the router is. */
  readonly from: Address;
  readonly #onOutcome: (outcome: AttemptOutcome) => void;
  #settled = false;
  /** The host has begun to run it. */
  executed = false;
  /** The host has answered it, or broken its connection. */
  answered = false;

  constructor(
    facts: { request: ClientRequest; claim: KnownClaim; from: Address },
    onOutcome: (outcome: AttemptOutcome) => void,
  ) {
    this.request = facts.request;
    this.claim = facts.claim;
    this.from = facts.from;
    this.#onOutcome = onOutcome;
  }

  get settled(): boolean {
    return this.#settled;
  }

  /** In the host: the component gets it. */
  execute(): void {
    if (this.executed)
      throw new Violation('answered-exactly-once', `an attempt of ${this.request.id} runs twice`);
    this.executed = true;
    this.request.execute();
  }

  /** In the host: exactly once. */
  answer(outcome: AttemptOutcome): void {
    if (this.answered) {
      throw new Violation(
        'answered-exactly-once',
        `an attempt of request ${this.request.id} is answered twice`,
      );
    }
    this.answered = true;
    if (this.executed && outcome.type === 'not-owner') {
      throw new Violation(
        'not-executed-means-it',
        `request ${this.request.id} was run, and refused as not owned`,
      );
    }
  }

  /** In the router: the first word counts. */
  settle(outcome: AttemptOutcome): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#onOutcome(outcome);
  }
}
