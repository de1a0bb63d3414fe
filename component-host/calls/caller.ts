/**
 * One call's way: owner → attempt → answer, or another owner and another attempt, as far as the rule allows that the router
 * keeps to as well. Loaded with the first call.
 */
import { DEFAULTS, HoldfastError, type InstanceId, type ResourceKey, type System } from '#core';
import { headerBlock } from '#frames';
import {
  canonicalTarget,
  decide,
  isIdempotent,
  notFound,
  type Failure,
  type Place,
  type Target,
} from '#ownership';
import { channelLine } from '../channel-lines.ts';
import { startAttempt, type Attempt, type Outcome } from './attempt.ts';
import { encodeChain } from './chain.ts';
import { currentFrame, type OutgoingCall } from './frames.ts';
import { askHost } from './question.ts';
import { callsMax, type Reach } from './reach.ts';
import { streamedBody, wholeBody, type CallBody } from './request-body.ts';

export interface CallTarget {
  pool: InstanceId;
  key: ResourceKey;
}

export interface CallMessage {
  request: Request;
  /** The request's body, where it is known as a whole. */
  whole: Buffer | null;
  /** More that is said to the host alone, see `channel-lines.ts`. */
  channel?: string;
}

export interface Caller {
  /** @throws HoldfastError as `RemoteResource.fetch`; the reason of the request's signal when that aborts */
  fetch(target: CallTarget, message: CallMessage): Promise<Response>;
}

/** Not a component's to say, or only of its own connection. */
const notPassed =
  /^(?:x-holdfast-.*|host|content-length|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|proxy-.*)$/;

export function createCaller(deps: { system: System; reach: Reach }): Caller {
  const { system, reach } = deps;
  let underWay = 0;

  return {
    async fetch(target, { request, whole, channel = '' }) {
      if (underWay >= callsMax) {
        throw new HoldfastError('HF_UNAVAILABLE', `more than ${callsMax} calls are under way already`);
      }
      underWay += 1;
      const stream = whole === null ? request.body : null;
      const body = stream ? streamedBody(stream) : wholeBody(whole);
      const call: OutgoingCall = { callId: system.random.id(16), ask: null };
      const frame = currentFrame();
      const headers = callHeaders(target, request);
      const requestId = request.headers.has('x-request-id') ? null : frame?.requestId();
      if (requestId) headers.push('x-request-id', requestId);
      const journey = new Journey({ system, reach, target, request, body, call });
      try {
        const chain = encodeChain({ callId: call.callId, links: frame?.links ?? [] });
        frame?.outgoing.add(call);
        return await journey.run(headerBlock(headers), channel + channelLine('calls', chain));
      } finally {
        frame?.outgoing.delete(call);
        underWay -= 1;
        journey.end();
      }
    },
  };
}

interface JourneyFacts {
  system: System;
  reach: Reach;
  target: CallTarget;
  request: Request;
  body: CallBody;
  call: OutgoingCall;
}

type FailedOutcome = Exclude<Outcome, { type: 'answered' | 'cycle' | 'cancelled' | 'invalid' }>;

class Journey {
  readonly #facts: JourneyFacts;
  #place: Place | null = null;
  #attempt: Attempt | null = null;
  #answered = false;
  #failed: { target: Target; failure: Failure } | null = null;
  #failures = 0;
  #brokenAttempts = 0;
  #deadlineMs = 0;

  constructor(facts: JourneyFacts) {
    this.#facts = facts;
    facts.request.signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  readonly #onAbort = (): void => {
    this.#place?.cancel();
    this.#attempt?.cancel(this.#facts.request.signal.reason as Error);
  };

  async run(headers: string, channel: string): Promise<Response> {
    const { system, reach, request, body, call } = this.#facts;
    const { path, query } = canonicalTarget(request.url);
    this.#holdFromNow();
    for (;;) {
      request.signal.throwIfAborted();
      const target = await this.#findTarget();
      request.signal.throwIfAborted();
      if (target instanceof HoldfastError) {
        if (this.#brokenAttempts === 0) throw target;
        throw outcomeUnknown('its owner broke off and no other came in time');
      }
      const upstream = reach.upstreams.get(target);
      call.ask = question => askHost(system, upstream, call.callId, question);
      this.#attempt = startAttempt(upstream, {
        method: request.method,
        target: path + query,
        headers,
        channel,
        body: body.open(),
        right: target.claim,
      });
      const outcome = await this.#attempt.outcome;
      call.ask = null;
      switch (outcome.type) {
        case 'answered':
          this.#answered = true;
          return outcome.response;
        case 'cycle':
          throw outcome.error;
        case 'cancelled':
          throw request.signal.reason;
        case 'invalid':
          throw new HoldfastError('HF_REQUEST_INVALID', `the call cannot be sent: ${outcome.cause.message}`);
        default:
          this.#afterFailure(outcome, target);
      }
    }
  }

  end(): void {
    // An answer may still be on its way; the request's signal ends it then.
    if (!this.#answered) this.#facts.request.signal.removeEventListener('abort', this.#onAbort);
    if (this.#answered) this.#facts.body.forget();
    else this.#facts.body.close();
  }

  #holdFromNow(): void {
    this.#deadlineMs = this.#facts.system.clock.monotonicMs() + DEFAULTS.holdMs;
  }

  async #findTarget(): Promise<Target | HoldfastError> {
    const { search, room } = this.#facts.reach;
    const { pool, key } = this.#facts.target;
    const cached = this.#failed === null ? search.immediate(pool, () => key) : null;
    if (cached) return cached;
    const place = room.enter();
    if (!place) return new HoldfastError('HF_UNAVAILABLE', 'too many calls wait for an owner already');
    this.#place = place;
    try {
      const finding = await search.search(
        {
          pool,
          key: () => key,
          place,
          deadlineMs: this.#deadlineMs,
          failed: this.#failed,
          failures: this.#failures,
        },
        () => this.#facts.request.signal.aborted,
      );
      return finding.found ? finding.target : notFound(finding.reason, pool);
    } finally {
      this.#place = null;
      place.leave();
    }
  }

  /** @throws HoldfastError when it must not be sent again */
  #afterFailure(outcome: FailedOutcome, target: Target): void {
    const { reach, request, body } = this.#facts;
    if (body.problem !== null) throw body.problem;
    this.#failed = { target, failure: outcome.type };
    this.#failures += 1;
    if (outcome.type === 'broken') {
      this.#brokenAttempts += 1;
      this.#holdFromNow();
    }
    if (target.claim && outcome.type !== 'timeout') reach.owners.refuse(target.claim);
    const decision = decide({
      failure: outcome.type,
      responseStarted: false,
      safe: isIdempotent(request.method) || request.headers.has('idempotency-key'),
      replayable: body.replayable,
      brokenAttempts: this.#brokenAttempts,
    });
    if (decision.type === 'retry') return;
    if (decision.type === 'answer' && decision.code === 'HF_NO_OWNER') {
      throw new HoldfastError(
        'HF_NO_OWNER',
        'the owner changed while the body was sent, too much of it to be sent again; nothing was executed',
      );
    }
    if (outcome.type === 'timeout') {
      throw new HoldfastError('HF_OWNER_TIMEOUT', 'the owner did not answer in time; it was not asked again');
    }
    throw outcomeUnknown('its owner broke off');
  }
}

function callHeaders({ pool }: CallTarget, request: Request): string[] {
  const headers: string[] = ['host', pool];
  for (const [name, value] of request.headers) if (!notPassed.test(name)) headers.push(name, value);
  // Answers are handed on as they come; nobody would undo a compression.
  if (!request.headers.has('accept-encoding')) headers.push('accept-encoding', 'identity');
  return headers;
}

function outcomeUnknown(why: string): HoldfastError {
  return new HoldfastError(
    'HF_OUTCOME_UNKNOWN',
    `the call was sent, but ${why}; it may or may not have been executed`,
  );
}
