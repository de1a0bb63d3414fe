/**
 * What to do after an attempt that did not answer. The rule that everything here serves: a request is sent again only
 * if it was certainly not executed, or if executing it twice does no harm. Pure.
 */
import type { RequestFailure } from '#frames';

/**
 * `not-owner`: the guard of a host refused, so nothing was executed. `unreachable`: nothing was sent. `broken`: the
 * connection ended after something was sent. `timeout`: the owner did not begin to answer in time.
 */
export type Failure = 'not-owner' | 'unreachable' | 'broken' | 'timeout';

/** What a failed exchange means for the retry rule. */
export function failureOf(type: Exclude<RequestFailure['type'], 'cycle'>): Failure {
  switch (type) {
    case 'not-owner':
      return 'not-owner';
    case 'unsent':
    case 'refused':
      return 'unreachable';
    case 'broken':
      return 'broken';
    case 'timeout':
      return 'timeout';
  }
}

export interface RetryFacts {
  failure: Failure;
  /** The first byte of a response has gone to the client. */
  responseStarted: boolean;
  /** The method is idempotent, or the client sent an idempotency key. */
  safe: boolean;
  /** All of the body that was read is still here. */
  replayable: boolean;
  /** How many attempts broke after something was sent, this one included. */
  brokenAttempts: number;
}

export type Decision =
  | { type: 'retry' }
  /** Nothing was executed, but the request cannot be sent again from here. */
  | { type: 'answer'; statusCode: 503; code: 'HF_NO_OWNER' }
  | { type: 'answer'; statusCode: 502 | 504; code: 'HF_OUTCOME_UNKNOWN' }
  /** The client must see that its response is not whole. */
  | { type: 'break-off' };

/** More would let one request that kills its owner go through every host of a pool. */
export const brokenAttemptsMax = 3;

const idempotentMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

export function isIdempotent(method: string): boolean {
  return idempotentMethods.has(method);
}

export function decide(facts: RetryFacts): Decision {
  if (facts.responseStarted) return { type: 'break-off' };
  switch (facts.failure) {
    case 'not-owner':
    case 'unreachable':
      if (facts.replayable) return { type: 'retry' };
      return facts.brokenAttempts > 0
        ? { type: 'answer', statusCode: 502, code: 'HF_OUTCOME_UNKNOWN' }
        : { type: 'answer', statusCode: 503, code: 'HF_NO_OWNER' };
    case 'broken':
      return facts.safe && facts.replayable && facts.brokenAttempts < brokenAttemptsMax
        ? { type: 'retry' }
        : { type: 'answer', statusCode: 502, code: 'HF_OUTCOME_UNKNOWN' };
    case 'timeout':
      return { type: 'answer', statusCode: 504, code: 'HF_OUTCOME_UNKNOWN' };
  }
}

/**
 * What a look for the owner found that calls for another one. `same-right`: the directory names the very right that has just
 * failed; `refused` if the host itself said no, which happens only when an event about the key or its session is on its way.
 */
export type Fruitless = 'nobody' | 'same-right' | 'refused' | 'paused' | 'recovering' | 'unavailable';

/** Pause before the next look, milliseconds; events cut it short, and some are sure to come. */
export function pauseMs(why: Fruitless, tries: number): number {
  if (why === 'paused') return 1_000;
  if (why === 'refused') return 500;
  return Math.min(250, 20 * 2 ** Math.min(tries, 4));
}
