import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { SessionId } from '#core';
import {
  holds,
  marginOf,
  sessionWakeMs,
  stepSession,
  type HeldSession,
  type SessionEvent,
  type SessionState,
} from '../../../ownership/guard/session.ts';

const timing = { ttlMs: 3_000, marginMs: marginOf(3_000) };
const mine = 'mine' as SessionId;
const other = 'other' as SessionId;
const held: HeldSession = {
  sessionId: mine,
  ttlMs: 3_000,
  deadlineMs: 12_000,
  renewAtMs: 11_000,
  renewalSentAtMs: null,
};
const nowMs = 10_000;

const lostSession = { phase: 'resuming', held, attempt: 1, retryAtMs: 9_990, drain: false } as const;
const states: Record<string, SessionState> = {
  idle: { phase: 'idle' },
  opening: { phase: 'opening', attempt: 2, sentAtMs: 9_900 },
  waiting: { phase: 'waiting', attempt: 2, retryAtMs: 9_990 },
  live: { phase: 'live', held },
  marking: { phase: 'draining', held, mode: 'marking' },
  releasing: { phase: 'draining', held, mode: 'releasing' },
  'draining without release': { phase: 'draining', held, mode: 'closing' },
  'resuming, forgotten': { ...lostSession, cause: 'forgotten', sentAtMs: 9_900 },
  'resuming, over': { ...lostSession, cause: 'over', sentAtMs: 9_900 },
  'resuming, silent': { ...lostSession, cause: 'silent', sentAtMs: 9_900 },
  'resuming to drain': { ...lostSession, cause: 'forgotten', sentAtMs: 9_900, drain: true },
  'resuming again': { ...lostSession, cause: 'forgotten', sentAtMs: null },
  ending: { phase: 'ending', sessionId: mine },
  'ending without session': { phase: 'ending', sessionId: null },
  closing: { phase: 'closing', sessionId: mine },
  ended: { phase: 'ended' },
};
const events: Record<string, SessionEvent> = {
  start: { type: 'start' },
  tick: { type: 'tick' },
  opened: { type: 'session-opened', sessionId: mine, sentAtMs: 9_900, expiresInMs: 3_000 },
  'opened late': { type: 'session-opened', sessionId: other, sentAtMs: 1, expiresInMs: 3_000 },
  'open failed': { type: 'session-open-failed', sentAtMs: 9_900 },
  renewed: { type: 'session-renewed', sessionId: mine, sentAtMs: 9_950, alive: true, expiresInMs: 3_000 },
  over: { type: 'session-renewed', sessionId: mine, sentAtMs: 9_950, alive: false, expiresInMs: 0 },
  'other over': { type: 'session-renewed', sessionId: other, sentAtMs: 9_950, alive: false, expiresInMs: 0 },
  forgotten: {
    type: 'session-renewed',
    sessionId: mine,
    sentAtMs: 9_950,
    alive: false,
    expiresInMs: 0,
    forgotten: true,
  },
  resumed: {
    type: 'session-resumed',
    sessionId: other,
    sentAtMs: 9_900,
    expiresInMs: 3_000,
    refused: [],
  },
  'resumed before': {
    type: 'session-resumed',
    sessionId: other,
    sentAtMs: 9_800,
    expiresInMs: 3_000,
    refused: [],
  },
  'not resumed': { type: 'session-resume-failed', sentAtMs: 9_900, refused: false },
  'resuming refused': { type: 'session-resume-failed', sentAtMs: 9_900, refused: true },
  'renewal failed': { type: 'session-renewal-failed', sessionId: mine, sentAtMs: 9_950 },
  drain: { type: 'drain' },
  marked: { type: 'session-marked', sessionId: mine, alive: true },
  'marked over': { type: 'session-marked', sessionId: mine, alive: false },
  'not marked': { type: 'session-marked', sessionId: mine, alive: null },
  emptied: { type: 'emptied' },
  closed: { type: 'session-closed', sessionId: mine },
  abort: { type: 'abort' },
};

/** For each state, what events do: the phase after them and the effects. What is not listed changes nothing. */
const late = 'discard-session';
const resuming = {
  resumed: 'live: session-switched keep-keys',
  'resuming refused': 'opening: session-lost lose-keys open-session',
};
const table: Record<string, Record<string, string>> = {
  idle: {
    start: 'opening: open-session',
    opened: `idle: ${late}`,
    drain: 'ending:',
    abort: 'ending:',
  },
  opening: {
    opened: 'live:',
    'open failed': 'waiting:',
    drain: 'ending:',
    abort: 'ending:',
  },
  waiting: {
    tick: 'opening: open-session',
    opened: `waiting: ${late}`,
    drain: 'ending:',
    abort: 'ending:',
  },
  live: {
    opened: `live: ${late}`,
    renewed: 'live:',
    'renewal failed': 'live:',
    over: 'opening: session-lost lose-keys open-session',
    forgotten: 'resuming/forgotten: resume-session',
    drain: 'draining/marking: mark-draining',
    abort: 'ending: lose-keys',
  },
  marking: {
    opened: `draining/marking: ${late}`,
    renewed: 'draining/marking:',
    'renewal failed': 'draining/marking:',
    over: 'ending: session-lost lose-keys',
    forgotten: 'ending: session-lost lose-keys',
    marked: 'draining/releasing: drain-keys',
    'marked over': 'ending: session-lost lose-keys',
    'not marked': 'draining/closing: drain-keys',
    abort: 'ending: lose-keys',
  },
  releasing: {
    opened: `draining/releasing: ${late}`,
    renewed: 'draining/releasing:',
    'renewal failed': 'draining/releasing:',
    over: 'ending: session-lost lose-keys',
    forgotten: 'ending: session-lost lose-keys',
    'marked over': 'ending: session-lost lose-keys',
    emptied: 'closing: close-session',
    abort: 'ending: lose-keys',
  },
  'draining without release': {
    opened: `draining/closing: ${late}`,
    renewed: 'draining/closing:',
    'renewal failed': 'draining/closing:',
    over: 'ending: session-lost lose-keys',
    forgotten: 'ending: session-lost lose-keys',
    'marked over': 'ending: session-lost lose-keys',
    emptied: 'closing: close-session',
    abort: 'ending: lose-keys',
  },
  'resuming, forgotten': {
    opened: `resuming/forgotten: ${late}`,
    ...resuming,
    'not resumed': 'resuming/forgotten:',
    drain: 'resuming/forgotten:',
    abort: 'ending: lose-keys',
  },
  'resuming, over': {
    opened: `resuming/over: ${late}`,
    ...resuming,
    'not resumed': 'resuming/over:',
    drain: 'resuming/over:',
    abort: 'ending: lose-keys',
  },
  'resuming, silent': {
    opened: `resuming/silent: ${late}`,
    ...resuming,
    'not resumed': 'resuming/silent:',
    drain: 'resuming/silent:',
    abort: 'ending: lose-keys',
  },
  'resuming to drain': {
    opened: `resuming/forgotten: ${late}`,
    resumed: 'draining/marking: session-switched keep-keys mark-draining',
    'resuming refused': 'ending: session-lost lose-keys',
    'not resumed': 'resuming/forgotten:',
    abort: 'ending: lose-keys',
  },
  'resuming again': {
    opened: `resuming/forgotten: ${late}`,
    tick: 'resuming/forgotten: resume-session',
    resumed: `resuming/forgotten: ${late}`,
    drain: 'resuming/forgotten:',
    abort: 'ending: lose-keys',
  },
  ending: { opened: `ending: ${late}`, emptied: 'closing: close-session' },
  'ending without session': { opened: `ending: ${late}`, emptied: 'ended: finished' },
  closing: { opened: `closing: ${late}`, closed: 'ended: finished', abort: 'ended: finished' },
  ended: { opened: `ended: ${late}` },
};

describe('session machine', () => {
  for (const [stateName, state] of Object.entries(states)) {
    it(`does what the table says in ${stateName}`, () => {
      for (const [eventName, event] of Object.entries(events)) {
        const { state: after, effects } = stepSession(state, event, nowMs, timing);
        const detail = 'mode' in after ? `/${after.mode}` : 'cause' in after ? `/${after.cause}` : '';
        const phase = after.phase + detail;
        const did = `${phase}: ${effects.map(effect => effect.type).join(' ')}`.trim();
        const expected = table[stateName]![eventName];
        if (expected !== undefined) assert.equal(did, expected, eventName);
        else if (eventName === 'opened late' || eventName.startsWith('resumed'))
          assert.deepEqual(effects, [{ type: late, sessionId: other }]);
        else assert.deepEqual({ after, effects }, { after: state, effects: [] }, eventName);
      }
    });
  }

  it('loses a session whose deadline has come with whatever event, renewed or not', () => {
    const lasting = [
      'live',
      'marking',
      'releasing',
      'draining without release',
      'resuming, forgotten',
      'resuming, over',
    ];
    for (const state of lasting) {
      for (const [name, event] of Object.entries(events)) {
        if (name.startsWith('opened') || name.startsWith('resumed')) continue;
        const { state: after, effects } = stepSession(states[state]!, event, held.deadlineMs, timing);
        assert(
          effects.some(effect => effect.type === 'lose-keys'),
          `${state} ${name}`,
        );
        assert(['opening', 'ending', 'waiting'].includes(after.phase));
        assert(!holds(after, held.deadlineMs));
      }
    }
  });

  const fenced = { ...timing, onAuthorityLoss: 'serveFenced' } as const;
  const did = ({ effects }: { effects: readonly { type: string }[] }) => effects.map(effect => effect.type);

  it('goes on past the deadline only with serveFenced, and only while the directory is silent', () => {
    const atDeadline = stepSession(states['live']!, { type: 'tick' }, held.deadlineMs, fenced);
    assert.deepEqual(did(atDeadline), ['resume-session']);
    assert(holds(atDeadline.state, held.deadlineMs + 60_000));

    const told = stepSession(states['live']!, events['over']!, nowMs, fenced);
    assert.deepEqual(did(told), ['suspend-keys', 'resume-session']);
    assert(!holds(told.state, nowMs), 'acts on what the directory says is over');
    const late = stepSession(told.state, { type: 'tick' }, held.deadlineMs, fenced);
    assert.deepEqual(did(late), ['session-lost', 'lose-keys']);

    const forgotten = stepSession(states['live']!, events['forgotten']!, nowMs, fenced).state;
    assert(holds(forgotten, held.deadlineMs - 1) && !holds(forgotten, held.deadlineMs));
    const silent = stepSession(forgotten, { type: 'tick' }, held.deadlineMs, fenced).state;
    assert(silent.phase === 'resuming' && silent.cause === 'silent' && holds(silent, held.deadlineMs));
  });

  it('asks for what was forgotten again, after pauses that grow, until its deadline', () => {
    let { state } = stepSession(states['live']!, events['forgotten']!, nowMs, timing);
    const asked: number[] = [];
    for (let now = nowMs; state.phase === 'resuming';) {
      const event = { type: 'session-resume-failed', sentAtMs: state.sentAtMs!, refused: false } as const;
      asked.push(now);
      state = stepSession(state, event, now, timing).state;
      now = sessionWakeMs(state, timing)!;
      state = stepSession(state, { type: 'tick' }, now, timing).state;
    }
    assert.equal(state.phase, 'opening');
    assert.deepEqual(
      asked.slice(1).map((at, index) => at - asked[index]!),
      [50, 100, 200, 400, 800],
    );
  });

  it('opens no other session while one may still be granted in place of the lost one', () => {
    const lost = stepSession(states['resuming, over']!, { type: 'tick' }, held.deadlineMs, timing);
    assert.deepEqual(did(lost), ['session-lost', 'lose-keys']);
    const answered = stepSession(lost.state, events['resumed']!, held.deadlineMs, timing);
    assert.deepEqual(did(answered), [late, 'open-session']);
    const failed = stepSession(lost.state, events['not resumed']!, held.deadlineMs, timing);
    assert.deepEqual(did(failed), ['open-session']);
    const wake = sessionWakeMs(lost.state, timing)!;
    assert.equal(wake, held.deadlineMs + timing.ttlMs);
    assert.deepEqual(did(stepSession(lost.state, { type: 'tick' }, wake, timing)), ['open-session']);
  });

  it('does not believe in a session that took the place of a lost one too late', () => {
    const late = { ...events['resumed']!, expiresInMs: 100 } as SessionEvent;
    const after = stepSession(states['resuming, forgotten']!, late, nowMs, timing);
    assert.deepEqual(did(after), ['resume-session']);
    assert.equal(after.state.phase, 'resuming');
  });

  it('counts the deadline from before the request was sent, less the margin', () => {
    const { state } = stepSession(states['opening']!, events['opened']!, nowMs, timing);
    assert(state.phase === 'live');
    assert.equal(state.held.deadlineMs, 9_900 + 3_000 - timing.marginMs);
    const renewed = stepSession({ phase: 'live', held }, events['renewed']!, nowMs, timing).state;
    assert(renewed.phase === 'live');
    assert.equal(renewed.held.deadlineMs, 9_950 + 3_000 - timing.marginMs);
  });

  it('believes the directory when it grants less time than asked', () => {
    const event = { ...events['opened']!, expiresInMs: 1_000 } as SessionEvent;
    const { state } = stepSession(states['opening']!, event, nowMs, timing);
    assert(state.phase === 'live');
    assert.equal(state.held.deadlineMs, 9_900 + 1_000 - timing.marginMs);
  });

  it('does not use a session that was granted too late', () => {
    const { state, effects } = stepSession(states['opening']!, events['opened']!, 9_900 + 3_000, timing);
    assert.equal(state.phase, 'opening');
    assert.deepEqual(
      effects.map(effect => effect.type),
      [late, 'open-session'],
    );
  });

  it('renews every third of the time to live, and sooner and sooner while that fails', () => {
    let state = stepSession(states['opening']!, events['opened']!, 9_900, timing).state;
    const pauses: number[] = [];
    let now = 9_900;
    for (;;) {
      const next = sessionWakeMs(state, timing)!;
      const step = stepSession(state, { type: 'tick' }, next, timing);
      if (step.effects.some(effect => effect.type === 'session-lost')) break;
      assert.deepEqual(step.effects, [{ type: 'renew-session', sessionId: mine, sentAtMs: next }]);
      pauses.push(next - now);
      now = next;
      state = stepSession(
        step.state,
        { type: 'session-renewal-failed', sessionId: mine, sentAtMs: next },
        next,
        timing,
      ).state;
    }
    assert(Math.abs(pauses[0]! - (timing.ttlMs - timing.marginMs) / 3) < 1);
    for (let index = 1; index < pauses.length - 1; index++)
      assert(pauses[index]! <= pauses[index - 1]! + 1e-9);
    assert(pauses.length > 6 && pauses.length < 30, `${pauses.length}`);
    assert(pauses.every(pause => pause >= 20 - 1e-9));
  });

  it('sends another renewal when one stays unanswered, and still counts the late answer', () => {
    let state: SessionState = { phase: 'live', held: { ...held, renewalSentAtMs: 9_000 } };
    assert.equal(sessionWakeMs(state, timing), 10_000);
    const again = stepSession(state, { type: 'tick' }, 10_000, timing);
    assert.deepEqual(again.effects, [{ type: 'renew-session', sessionId: mine, sentAtMs: 10_000 }]);
    state = stepSession(
      again.state,
      { type: 'session-renewed', sessionId: mine, sentAtMs: 9_900, alive: true, expiresInMs: 3_000 },
      10_100,
      timing,
    ).state;
    assert(state.phase === 'live');
    assert.equal(state.held.deadlineMs, 12_900 - timing.marginMs);
    assert.equal(state.held.renewalSentAtMs, 10_000);
  });

  it('never holds past the directory, whatever the delays of its messages', () => {
    const delays = fc.record({ out: fc.nat(2_000), back: fc.nat(2_000), lost: fc.boolean() });
    fc.assert(
      fc.property(fc.array(delays, { minLength: 1, maxLength: 40, size: 'max' }), plan => {
        // The directory's clock runs 4 % faster than the host's.
        const rate = 1.04;
        let now = 0;
        let turn = 0;
        let directoryEndMs = -Infinity;
        type Arrival = { atMs: number; deliver: () => void };
        let arrivals: Arrival[] = [];
        let state: SessionState = { phase: 'idle' };
        const dispatch = (event: SessionEvent) => {
          const result = stepSession(state, event, now, timing);
          state = result.state;
          if (holds(state, now)) assert(now * rate < directoryEndMs, 'holds what has expired');
          for (const effect of result.effects) {
            if (effect.type !== 'open-session' && effect.type !== 'renew-session') continue;
            const { out, back, lost } = plan[turn++ % plan.length]!;
            const { sentAtMs } = effect;
            const atStore = now + out;
            arrivals.push({
              atMs: atStore,
              deliver() {
                const open = effect.type === 'open-session';
                const alive = open || atStore * rate < directoryEndMs;
                if (alive) directoryEndMs = atStore * rate + timing.ttlMs;
                const answer: SessionEvent = open
                  ? { type: 'session-opened', sessionId: mine, sentAtMs, expiresInMs: timing.ttlMs }
                  : { type: 'session-renewed', sessionId: mine, sentAtMs, alive, expiresInMs: timing.ttlMs };
                const failure: SessionEvent = open
                  ? { type: 'session-open-failed', sentAtMs }
                  : { type: 'session-renewal-failed', sessionId: mine, sentAtMs };
                arrivals.push({ atMs: atStore + back, deliver: () => dispatch(lost ? failure : answer) });
              },
            });
          }
        };
        dispatch({ type: 'start' });
        for (let count = 0; count < 150; count++) {
          const wake = sessionWakeMs(state, timing) ?? Infinity;
          arrivals.sort((a, b) => a.atMs - b.atMs);
          const next = arrivals[0];
          if (next && next.atMs <= wake) {
            arrivals = arrivals.slice(1);
            now = Math.max(now, next.atMs);
            next.deliver();
          } else if (wake < Infinity) {
            now = Math.max(now, wake);
            dispatch({ type: 'tick' });
          } else break;
        }
      }),
      { numRuns: 200 },
    );
  });
});
