/**
 * One router: the production cache of owners (`owner-table`) and retry rule, with a synchronous shell that does what `owners/owners.ts`,
 * `owners/owner-search.ts` and `router/forwarding.ts` do with promises. Events of the store reach it in order, or not at all: after a gap
 * it gets `reset`.
 */
import type { ClaimOutcome, DirectoryEvent, ResourceKey } from '#core';
import { createOwnerTable, type OwnerTable } from '../../ownership/owners/owner-entries.ts';
import {
  findClaim,
  findMoving,
  sameRight,
  step,
  type KnownClaim,
  type OwnerEvent,
} from '../../ownership/owners/owner-table.ts';
import {
  decide,
  isIdempotent,
  pauseMs,
  type Failure,
  type Fruitless,
} from '../../ownership/owners/retry-rule.ts';
import type { Host } from './host.ts';
import { storeAddress, type Address } from './network.ts';
import { Attempt, type Answer, type AttemptOutcome, type ClientRequest } from './request.ts';
import { pool, type Asker, type Reply } from './store.ts';
import { describe } from './trace.ts';
import type { World } from './world.ts';

/** As in owner-search: so many failures may follow each other without a pause. */
const quickFailuresMax = 3;

interface Journey {
  readonly request: ClientRequest;
  deadlineMs: number;
  failed: { claim: KnownClaim; failure: Failure } | null;
  failures: number;
  brokenAttempts: number;
  /** In the present search. */
  tries: number;
  pausedSinceMs: number | null;
  /** Has waited in vain for news. */
  again: boolean;
  /** News have come since it began to look. */
  heard: boolean;
  /** Ends the wait under way. */
  wake: ((news: boolean) => void) | null;
}

export class Router implements Asker {
  readonly name: string;
  readonly address: Address;
  readonly #world: World;
  readonly #hostAt: (address: string) => Host | undefined;
  readonly #table: OwnerTable;
  readonly #claiming = new Map<ResourceKey, ((reply: Reply<ClaimOutcome>) => void)[]>();
  readonly #searching = new Set<Journey>();
  readonly #attempts = new Set<Attempt>();
  #listing = false;
  #listAgain = false;
  #stream: { arrivalMs: number; stop: () => void } | null = null;

  constructor(world: World, name: string, hostAt: (address: string) => Host | undefined) {
    this.#world = world;
    this.name = name;
    this.address = world.network.newAddress();
    this.#hostAt = hostAt;
    this.#table = createOwnerTable(world.dice.chance(0.3) ? 2 : 100);
    this.#connect();
  }

  deliver(run: () => void): void {
    run();
  }

  send(request: ClientRequest): void {
    const journey: Journey = {
      request,
      deadlineMs: this.#nowMs + this.#holdMs,
      failed: null,
      failures: 0,
      brokenAttempts: 0,
      tries: 0,
      pausedSinceMs: null,
      again: false,
      heard: false,
      wake: null,
    };
    const cached = this.#find(request.key);
    if (cached) this.#attempt(journey, cached);
    else this.#search(journey);
  }

  get #nowMs(): number {
    return this.#world.scheduler.nowMs;
  }

  get #holdMs(): number {
    return this.#world.plan.ttlMs * 2 + 2_000;
  }

  #find(key: ResourceKey): KnownClaim | undefined {
    return findClaim(this.#table, pool, key);
  }

  // The stream of events ---------------------------------------------------------------------------------------------

  #connect(): void {
    const { network, scheduler, store } = this.#world;
    const again = () => scheduler.after(this.#world.plan.ttlMs * 0.2, () => this.#connect());
    const outMs = network.delayMs(this.address, storeAddress);
    if (outMs === null || !store.up) return again();
    const stream = { arrivalMs: this.#nowMs + outMs, stop: () => {} };
    const lost = () => {
      if (this.#stream !== stream) return;
      this.#stream = null;
      stream.stop();
      this.#world.count('eventsReset');
      again();
    };
    stream.stop = store.watch(event => this.#pushed(stream, event, lost), lost);
    this.#stream = stream;
    this.#pushed(stream, { type: 'reset' }, lost);
  }

  #pushed(stream: { arrivalMs: number }, event: DirectoryEvent, lost: () => void): void {
    const { network, scheduler } = this.#world;
    const delayMs = network.delayMs(storeAddress, this.address);
    if (delayMs === null) return lost();
    stream.arrivalMs = Math.max(stream.arrivalMs, this.#nowMs + delayMs);
    scheduler.after(stream.arrivalMs - this.#nowMs, () => {
      if (event.type === 'moved' && this.#isAwaited(event.claim.key)) {
        this.#apply({ type: 'claimed', claim: event.claim });
      }
      this.#apply(event);
    });
  }

  #apply(event: OwnerEvent): void {
    const { scheduler, trace } = this.#world;
    trace?.(`${this.name} ◀ ${describe(event)}`);
    for (const effect of step(this.#table, event)) {
      switch (effect.type) {
        case 'list-sessions':
          scheduler.after(effect.afterMs, () => this.#list());
          break;
        case 'wake-all':
          this.#wake(null);
          break;
        case 'wake':
          this.#wake(effect.key ?? null);
          break;
        case 'retire':
          trace?.(`${this.name} ▶ ${describe(effect)}`);
          if (effect.graceful) break;
          for (const attempt of Array.from(this.#attempts)) {
            if (attempt.claim.sessionId === effect.sessionId) attempt.settle({ type: 'broken' });
          }
      }
    }
  }

  /** One at a time: an older listing must not follow a newer one. */
  #list(): void {
    if (this.#listing) {
      this.#listAgain = true;
      return;
    }
    this.#listing = true;
    this.#listAgain = false;
    this.#apply({ type: 'listing-began' });
    this.#world.store.ask(
      this,
      (directory, nowMs) => directory.sessions(undefined, nowMs),
      reply => {
        this.#listing = false;
        if (reply.type !== 'answer') return; // those who wait ask again
        this.#apply({ type: 'listed', sessions: reply.value, nowMs: this.#nowMs });
        if (this.#listAgain) this.#list();
      },
    );
  }

  #wake(key: ResourceKey | null): void {
    for (const journey of Array.from(this.#searching)) {
      if (key !== null && journey.request.key !== key) continue;
      journey.heard = true;
      journey.wake?.(true);
    }
  }

  #isAwaited(key: ResourceKey): boolean {
    for (const { request } of this.#searching) if (request.key === key) return true;
    return false;
  }

  // The search for an owner ------------------------------------------------------------------------------------------

  #search(journey: Journey): void {
    journey.tries = Math.max(0, journey.failures - 1);
    journey.pausedSinceMs = null;
    journey.again = false;
    this.#searching.add(journey);
    this.#look(journey);
  }

  #look(journey: Journey): void {
    if (journey.deadlineMs <= this.#nowMs) {
      this.#searching.delete(journey);
      return this.#finish(journey, { type: journey.brokenAttempts > 0 ? 'unknown' : 'not-executed' });
    }
    journey.heard = false;
    const { key } = journey.request;
    const cached = this.#find(key);
    if (cached) return this.#found(journey, cached);
    if (findMoving(this.#table, pool, key)) return this.#pause(journey, 'refused');
    const told = (reply: Reply<ClaimOutcome>) => {
      if (reply.type !== 'answer') return this.#pause(journey, 'unavailable');
      const outcome = reply.value;
      if (!outcome.owned)
        return this.#pause(journey, outcome.reason === 'no-live-host' ? 'nobody' : outcome.reason);
      const newer = this.#find(key);
      if (newer) return this.#found(journey, newer);
      if (this.#table.ended.has(outcome.claim.sessionId)) return this.#pause(journey, 'nobody');
      this.#found(journey, outcome.claim);
    };
    const callbacks = this.#claiming.get(key);
    if (callbacks) return void callbacks.push(told);
    const all = [told];
    this.#claiming.set(key, all);
    this.#world.store.ask(
      this,
      (directory, nowMs) => directory.claim(pool, key, nowMs),
      reply => {
        this.#claiming.delete(key);
        if (reply.type === 'answer') {
          if (reply.value.owned) this.#apply({ type: 'claimed', claim: reply.value.claim });
          else if (reply.value.reason === 'paused') this.#world.count('pausedAnswers');
          else if (reply.value.reason === 'recovering') this.#world.count('recoveringAnswers');
        }
        for (const tell of all) tell(reply);
      },
    );
  }

  #found(journey: Journey, claim: KnownClaim): void {
    const { failed } = journey;
    const repeats = failed !== null && sameRight(claim, failed.claim);
    if (journey.again || (journey.failures <= quickFailuresMax && !repeats)) {
      this.#searching.delete(journey);
      return this.#attempt(journey, claim);
    }
    const why = repeats && failed.failure === 'not-owner' ? 'refused' : 'same-right';
    // Either the next look asks the directory, or nobody asks anybody until there is news.
    this.#apply({ type: why === 'refused' ? 'moving' : 'refused', claim });
    this.#pause(journey, why);
  }

  #pause(journey: Journey, why: Fruitless): void {
    const { key } = journey.request;
    journey.pausedSinceMs ??= this.#nowMs;
    const wake = (news: boolean) => {
      if (journey.wake !== wake) return;
      journey.wake = null;
      if (!news) {
        journey.again = true;
        journey.tries++;
        journey.pausedSinceMs = null;
        const moving = why === 'refused' && findMoving(this.#table, pool, key);
        if (moving) this.#apply({ type: 'unmoved', claim: moving });
      }
      this.#look(journey);
    };
    journey.wake = wake;
    // Not at once, so that what is being told to others at this moment is told to the end.
    if (journey.heard) return this.#world.scheduler.after(0, () => wake(true));
    const leftMs = journey.deadlineMs - this.#nowMs;
    const pause = journey.pausedSinceMs + pauseMs(why, journey.tries) - this.#nowMs;
    this.#world.scheduler.after(Math.min(pause, leftMs), () => wake(false));
  }

  // Attempts ---------------------------------------------------------------------------------------------------------

  #attempt(journey: Journey, claim: KnownClaim): void {
    const { network, scheduler, dice, plan } = this.#world;
    const attempt = new Attempt({ request: journey.request, claim, from: this.address }, outcome => {
      this.#attempts.delete(attempt);
      this.#ended(journey, claim, outcome);
    });
    this.#attempts.add(attempt);
    const timeoutMs = plan.ttlMs * 6;
    const host = this.#hostAt(claim.address);
    if (!host || host.life !== 'running') {
      return scheduler.after(1, () => attempt.settle({ type: 'unreachable' }));
    }
    const outMs = network.delayMs(this.address, host.address);
    if (outMs === null) {
      // Lost with the connection that was to be made for it, or on one that had been there.
      if (dice.chance(0.5))
        return scheduler.after(plan.ttlMs * 0.3, () => attempt.settle({ type: 'unreachable' }));
      return scheduler.after(dice.chance(0.5) ? timeoutMs : plan.ttlMs * 0.3, () =>
        attempt.settle({ type: dice.chance(0.5) ? 'timeout' : 'broken' }),
      );
    }
    scheduler.after(outMs, () => {
      if (host.life === 'running') host.serve(attempt);
      else attempt.settle({ type: dice.chance(0.5) ? 'unreachable' : 'broken' });
    });
    scheduler.after(timeoutMs, () => attempt.settle({ type: 'timeout' }));
  }

  #ended(journey: Journey, claim: KnownClaim, outcome: AttemptOutcome): void {
    const { request } = journey;
    this.#world.trace?.(
      `${this.name} request ${request.id} (${request.kind} ${request.key}): ${outcome.type}`,
    );
    if (outcome.type === 'ok' || outcome.type === 'failed') return this.#finish(journey, outcome);
    this.#countFailure(outcome.type);
    journey.failed = { claim, failure: outcome.type };
    journey.failures++;
    if (outcome.type === 'broken') {
      journey.brokenAttempts++;
      journey.deadlineMs = this.#nowMs + this.#holdMs;
    }
    const decision = decide({
      failure: outcome.type,
      responseStarted: false,
      safe: isIdempotent({ read: 'GET', put: 'PUT', post: 'POST' }[request.kind]),
      replayable: journey.failures < request.attemptsMax,
      brokenAttempts: journey.brokenAttempts,
    });
    if (outcome.type !== 'timeout') this.#apply({ type: 'refused', claim });
    if (decision.type === 'retry') {
      this.#world.count('retries');
      return this.#search(journey);
    }
    const notExecuted = decision.type === 'answer' && decision.code === 'HF_NO_OWNER';
    this.#finish(journey, { type: notExecuted ? 'not-executed' : 'unknown' });
  }

  #countFailure(failure: Failure): void {
    const { count } = this.#world;
    if (failure === 'unreachable') count('unreachable');
    if (failure === 'broken') count('broken');
    if (failure === 'timeout') count('timeouts');
  }

  #finish(journey: Journey, answer: Answer): void {
    const { count, trace } = this.#world;
    trace?.(`${this.name} answers request ${journey.request.id}: ${answer.type}`);
    if (answer.type === 'ok') count('acknowledged');
    if (answer.type === 'failed') count('failed');
    if (answer.type === 'not-executed') count('notExecuted');
    if (answer.type === 'unknown') count('unknownOutcomes');
    journey.request.finish(answer);
  }
}
