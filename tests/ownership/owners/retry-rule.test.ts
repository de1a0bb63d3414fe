import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  pauseMs,
  brokenAttemptsMax,
  decide,
  failureOf,
  isIdempotent,
  type Decision,
  type Failure,
  type RetryFacts,
} from '../../../ownership/owners/retry-rule.ts';

const retry: Decision = { type: 'retry' };
const breakOff: Decision = { type: 'break-off' };
const noOwner: Decision = { type: 'answer', statusCode: 503, code: 'HF_NO_OWNER' };
const unknown: Decision = { type: 'answer', statusCode: 502, code: 'HF_OUTCOME_UNKNOWN' };
const late: Decision = { type: 'answer', statusCode: 504, code: 'HF_OUTCOME_UNKNOWN' };

/** failure, response started, safe, replayable, broken attempts → decision */
const table: [Failure, boolean, boolean, boolean, number, Decision][] = [
  ['not-owner', false, false, true, 0, retry],
  ['not-owner', false, true, true, 0, retry],
  ['not-owner', false, false, false, 0, noOwner],
  ['not-owner', false, true, false, 0, noOwner],
  ['not-owner', false, true, true, 1, retry],
  ['not-owner', false, true, false, 1, unknown],
  ['unreachable', false, false, true, 0, retry],
  ['unreachable', false, false, false, 0, noOwner],
  ['unreachable', false, true, true, 2, retry],
  ['unreachable', false, true, false, 1, unknown],
  ['broken', false, true, true, 1, retry],
  ['broken', false, true, true, 2, retry],
  ['broken', false, true, true, 3, unknown],
  ['broken', false, false, true, 1, unknown],
  ['broken', false, true, false, 1, unknown],
  ['broken', true, true, true, 1, breakOff],
  ['broken', true, false, false, 1, breakOff],
  ['timeout', false, true, true, 0, late],
  ['timeout', false, false, false, 0, late],
  ['timeout', true, true, true, 0, breakOff],
];

describe('retry rule', () => {
  for (const [failure, responseStarted, safe, replayable, brokenAttempts, expected] of table) {
    const facts: RetryFacts = { failure, responseStarted, safe, replayable, brokenAttempts };
    const words = [
      failure,
      responseStarted ? 'after the response began' : '',
      safe ? 'safe' : 'unsafe',
      replayable ? 'replayable' : 'not replayable',
      `broken ${brokenAttempts} times`,
    ].filter(Boolean);
    it(`${words.join(', ')} → ${expected.type === 'answer' ? expected.statusCode : expected.type}`, () => {
      assert.deepEqual(decide(facts), expected);
    });
  }

  it('never sends again what may have been executed, unless that does no harm', () => {
    const facts = fc.record({
      failure: fc.constantFrom<Failure>('not-owner', 'unreachable', 'broken', 'timeout'),
      responseStarted: fc.boolean(),
      safe: fc.boolean(),
      replayable: fc.boolean(),
      brokenAttempts: fc.nat(5),
    });
    fc.assert(
      fc.property(facts, given => {
        if (decide(given).type !== 'retry') return;
        assert.ok(given.replayable && !given.responseStarted);
        const neverExecuted = given.failure === 'not-owner' || given.failure === 'unreachable';
        assert.ok(
          neverExecuted ||
            (given.failure === 'broken' && given.safe && given.brokenAttempts < brokenAttemptsMax),
        );
      }),
    );
  });

  it('knows the idempotent methods', () => {
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])
      assert.ok(isIdempotent(method));
    for (const method of ['POST', 'PATCH', 'get', 'LOCK']) assert.ok(!isIdempotent(method));
  });

  it('pauses for 20 ms first and never more than 250 ms', () => {
    assert.deepEqual(
      [0, 1, 2, 3, 4, 100].map(tries => pauseMs('nobody', tries)),
      [20, 40, 80, 160, 250, 250],
    );
  });

  it('asks less often where news is sure to come', () => {
    assert.deepEqual([pauseMs('refused', 0), pauseMs('paused', 0)], [500, 1_000]);
  });

  it('tells a request that was never sent from one that was', () => {
    assert.equal(failureOf('unsent'), 'unreachable');
    assert.equal(failureOf('refused'), 'unreachable');
    assert.equal(failureOf('not-owner'), 'not-owner');
    assert.equal(failureOf('broken'), 'broken');
    assert.equal(failureOf('timeout'), 'timeout');
  });
});
