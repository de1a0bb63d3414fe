import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Fence } from '#core';
import { decideLease, leaseMarginMs, type LeaseRecord } from '#leases';
import {
  beginHold,
  holdWakeMs,
  stepHold,
  type HoldEffect,
  type HoldEvent,
  type HoldState,
  type HoldStep,
} from '../../leases/hold-machine.ts';

const ttlMs = 300;
const timing = { ttlMs, marginMs: leaseMarginMs(ttlMs) };

/** How a call fares: lost on the way there or back, and how long each way takes. */
const fate = fc.record({
  there: fc.integer({ min: 0, max: 500 }),
  back: fc.integer({ min: 0, max: 500 }),
  lost: fc.constantFrom('no', 'no', 'no', 'no', 'there', 'back'),
});
const script = fc.record({
  fates: fc.array(fate, { minLength: 1, maxLength: 40, size: 'max' }),
  /** By how much the holder's clock is slower or faster than the store's. */
  rate: fc.double({ min: 0.96, max: 1.04, noNaN: true }),
  workMs: fc.integer({ min: 0, max: 3_000 }),
  waitMs: fc.constantFrom(0, 50, 1_000),
  rivalUntilMs: fc.constantFrom(0, 200, 600),
  cancelAtMs: fc.option(fc.integer({ min: 0, max: 1_500 })),
  freezeAtMs: fc.option(fc.integer({ min: 0, max: 1_500 })),
});
type Script = typeof script extends fc.Arbitrary<infer Value> ? Value : never;

interface Seen {
  started: bigint[];
  ended: Extract<HoldState, { phase: 'ended' }> | null;
  problems: string[];
}

/** Runs the machine against a store that follows `decideLease`, on a clock of its own. */
function simulate(given: Script): Seen {
  const seen: Seen = { started: [], ended: null, problems: [] };
  const queue: { atMs: number; order: number; run: () => void }[] = [];
  let order = 0;
  let nowMs = 0; // the holder's clock
  let frozenUntilMs = 0;
  let calls = 0;
  let record: LeaseRecord | null = given.rivalUntilMs
    ? { holder: 'rival', fence: 1n as Fence, expiresAtMs: given.rivalUntilMs }
    : null;
  let lastFence = 1n;
  let state: HoldState;
  const storeMs = (atMs: number) => atMs * given.rate;
  const at = (atMs: number, run: () => void) => queue.push({ atMs, order: order++, run });

  function ask(request: Parameters<typeof decideLease>[1], atMs: number): ReturnType<typeof decideLease> {
    const decision = decideLease(record, request, storeMs(atMs));
    if (decision.type === 'grant') {
      record = {
        holder: request.holder,
        fence: ++lastFence as Fence,
        expiresAtMs: decision.expiresAtMs,
      };
    } else if (decision.type === 'extend') {
      ({ record } = decision);
    } else if (decision.type === 'end') {
      record = null;
    }
    return decision;
  }

  function call(
    request: Parameters<typeof decideLease>[1],
    answer: (atMs: number, granted: boolean) => HoldEvent,
  ) {
    const { there, back, lost } = given.fates[calls++ % given.fates.length]!;
    const failed: HoldEvent =
      request.type === 'acquire'
        ? { type: 'acquire-failed', sentAtMs: nowMs }
        : request.type === 'renew'
          ? { type: 'renewal-failed', sentAtMs: nowMs }
          : { type: 'release-failed', fence: request.fence };
    const sentAtMs = nowMs;
    if (lost === 'there') return at(sentAtMs + there, () => handle(failed));
    at(sentAtMs + there, () => {
      // The store acts on its own time, whatever the holder is doing.
      const atMs = sentAtMs + there;
      const { type } = ask(request, atMs);
      const event = lost === 'back' ? failed : answer(atMs, type === 'grant' || type === 'extend');
      at(atMs + back, () => handle(event));
    });
  }

  function carryOut(effect: HoldEffect): void {
    switch (effect.type) {
      case 'acquire': {
        const { sentAtMs } = effect;
        return void call({ type: 'acquire', holder: 'me', ttlMs }, (atMs, granted) => {
          const expiresInMs = record ? record.expiresAtMs - storeMs(atMs) : 0;
          if (!granted) {
            return {
              type: 'acquire-refused',
              sentAtMs,
              refusal: { fence: record!.fence, expiresInMs, holder: record!.holder },
            };
          }
          return { type: 'acquire-granted', sentAtMs, fence: record!.fence, expiresInMs, spent: false };
        });
      }
      case 'renew': {
        const { sentAtMs, fence } = effect;
        return void call({ type: 'renew', holder: 'me', fence, ttlMs }, (atMs, granted) =>
          granted
            ? { type: 'renewal-granted', sentAtMs, expiresInMs: record!.expiresAtMs - storeMs(atMs) }
            : { type: 'renewal-refused' },
        );
      }
      case 'release':
        return void call({ type: 'release', holder: 'me', fence: effect.fence }, () => ({
          type: 'released',
          fence: effect.fence,
        }));
      case 'start-work':
        seen.started.push(effect.fence);
        return void at(nowMs + given.workMs, () => handle({ type: 'work-ended' }));
      case 'abort-work':
        return;
    }
  }

  function check(): void {
    // The holder believes in its lease: then the store must have it, at this very moment.
    if (state.phase !== 'held' || nowMs >= state.deadlineMs) return;
    const live = record && storeMs(nowMs) < record.expiresAtMs ? record : null;
    if (live?.holder !== 'me' || live.fence !== state.fence) seen.problems.push(`believes at ${nowMs}`);
  }

  function apply(step: HoldStep): void {
    ({ state } = step);
    step.effects.forEach(carryOut);
    if (state.phase === 'ended') seen.ended ??= state;
    const wakeMs = holdWakeMs(state, timing);
    if (wakeMs !== null) at(Math.max(nowMs, wakeMs, frozenUntilMs), () => handle({ type: 'tick' }));
  }

  function handle(event: HoldEvent): void {
    if (nowMs < frozenUntilMs) return void at(frozenUntilMs, () => handle(event));
    check();
    apply(stepHold(state, event, nowMs, timing));
    check();
  }

  if (given.freezeAtMs !== null) at(given.freezeAtMs, () => (frozenUntilMs = nowMs + 2 * ttlMs));
  if (given.cancelAtMs !== null) at(given.cancelAtMs, () => handle({ type: 'cancel' }));
  apply(beginHold(0, given.waitMs));
  for (let steps = 0; queue.length > 0 && steps < 5_000; steps++) {
    queue.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
    const next = queue.shift()!;
    nowMs = Math.max(nowMs, next.atMs);
    next.run();
  }
  return seen;
}

describe('the hold machine', () => {
  it('believes in the lease only while the store has it for this holder, works at most once, and comes to an end', () => {
    fc.assert(
      fc.property(script, given => {
        const { started, ended, problems } = simulate(given);
        assert.deepEqual(problems, []);
        assert(started.length <= 1);
        assert(ended, 'it did not come to an end');
        assert.equal(ended.outcome.type === 'worked', started.length === 1);
      }),
      { numRuns: 3_000 },
    );
  });

  it('says that it was held to the end only when the lease lasted as long as the work', () => {
    fc.assert(
      fc.property(script, given => {
        const { outcome } = simulate({ ...given, freezeAtMs: null, rivalUntilMs: 0 }).ended!;
        const allLost = given.fates.every(({ lost }) => lost === 'there');
        if (allLost) assert(outcome.type === 'unreachable' || outcome.type === 'cancelled');
        if (outcome.type === 'worked' && outcome.heldToTheEnd === false) assert(given.workMs > 0);
      }),
      { numRuns: 500 },
    );
  });

  const held = (nowMs = 0): HoldState => {
    const { state } = beginHold(nowMs, 0);
    const granted: HoldEvent = {
      type: 'acquire-granted',
      sentAtMs: nowMs,
      fence: 5n,
      expiresInMs: ttlMs,
      spent: false,
    };
    return stepHold(state, granted, nowMs, timing).state;
  };

  it('counts the deadline from before the call was sent, less the margin', () => {
    const { state } = beginHold(1_000, 0);
    const granted: HoldEvent = {
      type: 'acquire-granted',
      sentAtMs: 1_000,
      fence: 5n,
      expiresInMs: ttlMs,
      spent: false,
    };
    const step = stepHold(state, granted, 1_100, timing);
    assert(step.state.phase === 'held');
    assert.equal(step.state.deadlineMs, 1_000 + ttlMs - timing.marginMs);
  });

  it('does not count on more than it asked for, when the lease lasts longer anyway', () => {
    const { state } = beginHold(0, 0);
    const step = stepHold(
      state,
      { type: 'acquire-granted', sentAtMs: 0, fence: 5n, expiresInMs: 90_000, spent: false },
      0,
      timing,
    );
    assert(step.state.phase === 'held' && step.state.deadlineMs === ttlMs - timing.marginMs);
  });

  it('gives a grant back that came too late to be used', () => {
    const { state } = beginHold(0, 0);
    const step = stepHold(
      state,
      { type: 'acquire-granted', sentAtMs: 0, fence: 5n, expiresInMs: ttlMs, spent: false },
      ttlMs,
      timing,
    );
    assert.deepEqual(step.effects, [{ type: 'release', fence: 5n }]);
    assert.equal(step.state.phase, 'discarding');
  });

  it('does nothing about an answer to an attempt that it has given up on', () => {
    const first = beginHold(0, 10_000);
    const waiting = stepHold(first.state, { type: 'tick' }, ttlMs, timing);
    const second = stepHold(waiting.state, { type: 'tick' }, ttlMs + 50, timing);
    assert.deepEqual(second.effects, [{ type: 'acquire', sentAtMs: ttlMs + 50 }]);
    const late: HoldEvent = {
      type: 'acquire-granted',
      sentAtMs: 0,
      fence: 5n,
      expiresInMs: ttlMs,
      spent: false,
    };
    // Giving it back could end the lease that the second attempt is being granted: for the store they are one.
    assert.deepEqual(stepHold(second.state, late, ttlMs + 60, timing), { state: second.state, effects: [] });
  });

  it('does not work under a spent fence, but asks for a new one, also when it was not to wait', () => {
    const { state } = beginHold(0, 0);
    const discarding = stepHold(
      state,
      { type: 'acquire-granted', sentAtMs: 0, fence: 5n, expiresInMs: ttlMs, spent: true },
      1,
      timing,
    );
    assert.deepEqual(discarding.effects, [{ type: 'release', fence: 5n }]);
    const asking = stepHold(discarding.state, { type: 'released', fence: 5n }, 2, timing);
    assert.deepEqual(asking.effects, [{ type: 'acquire', sentAtMs: 2 }]);
  });

  it('is not brought back by a renewal whose answer comes after the deadline', () => {
    const late: HoldEvent = { type: 'renewal-granted', sentAtMs: 10, expiresInMs: ttlMs };
    const step = stepHold(held(), late, ttlMs, timing);
    assert.equal(step.state.phase, 'lost');
    assert.deepEqual(step.effects, [{ type: 'abort-work', cause: 'deadline' }]);
  });

  it('keeps its deadline when renewals fail or hang, and tries ever more often', () => {
    let state = held();
    assert(state.phase === 'held');
    const { deadlineMs } = state;
    let sent = 0;
    for (let nowMs = 0; nowMs < deadlineMs; nowMs++) {
      const step = stepHold(state, { type: 'tick' }, nowMs, timing);
      ({ state } = step);
      for (const effect of step.effects) {
        assert(effect.type === 'renew');
        if (++sent !== 2) {
          ({ state } = stepHold(state, { type: 'renewal-failed', sentAtMs: effect.sentAtMs }, nowMs, timing));
        }
      }
      assert(state.phase === 'held' && state.deadlineMs === deadlineMs);
    }
    assert(sent >= 3, `${sent}`);
    assert.equal(stepHold(state, { type: 'tick' }, deadlineMs, timing).state.phase, 'lost');
  });

  it('asks at once when the lease is given back while its own question is under way', () => {
    const first = beginHold(0, 10_000);
    const { state: hinted } = stepHold(first.state, { type: 'vacant' }, 1, timing);
    const refusal = { fence: 3n, expiresInMs: 9_000, holder: 'rival' };
    const { state } = stepHold(hinted, { type: 'acquire-refused', sentAtMs: 0, refusal }, 2, timing);
    assert(holdWakeMs(state, timing)! <= 2 + 20);
  });

  it('asks a last time when the time to wait is over', () => {
    const first = beginHold(0, 500);
    const refusal = { fence: 3n, expiresInMs: 9_000, holder: 'rival' };
    const { state } = stepHold(first.state, { type: 'acquire-refused', sentAtMs: 0, refusal }, 1, timing);
    assert.equal(holdWakeMs(state, timing), 500);
    const last = stepHold(state, { type: 'tick' }, 500, timing);
    assert.deepEqual(last.effects, [{ type: 'acquire', sentAtMs: 500 }]);
    const end = stepHold(last.state, { type: 'acquire-refused', sentAtMs: 500, refusal }, 501, timing).state;
    assert(end.phase === 'ended' && end.outcome.type === 'contended');
  });
});
