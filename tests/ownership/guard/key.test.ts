import assert from 'node:assert/strict';
import type { Claim, Fence, SessionId } from '#core';
import {
  openTriesMax,
  stepKey,
  waitersMax,
  type KeyEvent,
  type KeyState,
  type Waiter,
} from '../../../ownership/guard/key.ts';

const fence = (value: number) => BigInt(value) as Fence;
const waiter: Waiter = { requestId: 1, fence: fence(5) };
const opening = { openId: 7, fence: fence(5), hadOwner: false, tries: 1, waiters: [waiter] };

const target = 'target' as SessionId;
const [release, lost, late] = [{ type: 'release' }, { type: 'lost' }, { type: 'late' }] as const;
const transfer = { type: 'transfer', to: target, fence: fence(5) } as const;

const states: Record<string, KeyState | null> = {
  unknown: null,
  verifying: { phase: 'verifying', openId: 7, fence: fence(5), waiters: [waiter] },
  opening: { phase: 'opening', ...opening },
  'opening known state': { phase: 'opening', ...opening, hadOwner: true },
  'opening the last time': { phase: 'opening', ...opening, tries: openTriesMax },
  raising: { phase: 'raising', ...opening },
  confirming: { phase: 'confirming', ...opening },
  ready: { phase: 'ready', openId: 7, fence: fence(5), inFlight: 0, waiters: [] },
  busy: { phase: 'ready', openId: 7, fence: fence(5), inFlight: 1, waiters: [waiter] },
  draining: { phase: 'draining', openId: 7, fence: fence(5), inFlight: 1, after: release },
  'draining two': { phase: 'draining', openId: 7, fence: fence(5), inFlight: 2, after: release },
  'draining to hand off': { phase: 'draining', openId: 7, fence: fence(5), inFlight: 1, after: transfer },
  discarding: { phase: 'discarding', openId: 7, fence: fence(5), after: release, waiters: [] },
  'discarding, lost': { phase: 'discarding', openId: 7, fence: fence(5), after: lost, waiters: [waiter] },
  'discarding, late': { phase: 'discarding', openId: 7, fence: fence(5), after: late, waiters: [] },
  'discarding to hand off': { phase: 'discarding', openId: 7, fence: fence(5), after: transfer, waiters: [] },
  closing: { phase: 'closing', openId: 7, fence: fence(5), after: release, waiters: [] },
  'closing, kept': { phase: 'closing', openId: 7, fence: fence(5), after: { type: 'keep' }, waiters: [] },
  'closing, lost': { phase: 'closing', openId: 7, fence: fence(5), after: lost, waiters: [waiter] },
  'closing, late': { phase: 'closing', openId: 7, fence: fence(5), after: late, waiters: [] },
  'closing to hand off': { phase: 'closing', openId: 7, fence: fence(5), after: transfer, waiters: [] },
  releasing: { phase: 'releasing', openId: 7, fence: fence(5), attempt: 1 },
  transferring: { phase: 'transferring', openId: 7, fence: fence(5), to: target, attempt: 1 },
};
const verdict = { fence: fence(5), hadOwner: false };
const events: Record<string, KeyEvent> = {
  request: { type: 'request', requestId: 2, fence: fence(5) },
  'newer request': { type: 'request', requestId: 2, fence: fence(6) },
  verified: { type: 'verified', openId: 7, verdict },
  'not mine': { type: 'verified', openId: 7, verdict: null },
  opened: { type: 'opened', openId: 7 },
  fenced: { type: 'open-fenced', openId: 7, held: fence(9), error: 'fenced' },
  raised: { type: 'raised', openId: 7, verdict: { fence: fence(10), hadOwner: true } },
  'raised not mine': { type: 'raised', openId: 7, verdict: null },
  confirmed: { type: 'confirmed', openId: 7, owned: true },
  'not confirmed': { type: 'confirmed', openId: 7, owned: false },
  failed: { type: 'failed', openId: 7, error: 'why' },
  done: { type: 'done', openId: 7 },
  'refused by the fence': { type: 'fenced', openId: 7 },
  closed: { type: 'closed', openId: 7 },
  released: { type: 'released', openId: 7 },
  drain: { type: 'drain-key', release: true },
  'drain, keep': { type: 'drain-key', release: false },
  'hand off': { type: 'hand-off', fence: fence(4), to: target },
  'hand off late': { type: 'hand-off-late' },
  'open late': { type: 'open-late', openId: 7 },
  unanswered: { type: 'unanswered', openId: 7 },
  transferred: {
    type: 'transferred',
    openId: 7,
    outcome: { held: true, claim: { sessionId: target } as Claim },
  },
  'not transferred': { type: 'transferred', openId: 7, outcome: { held: false } },
  suspend: { type: 'suspend' },
  lose: { type: 'lose' },
};

const wait = { request: 'same+1', 'newer request': 'same+1' };
const refuse = { request: 'same: reject', 'newer request': 'same: reject' };
const keep = { drain: 'same', 'drain, keep': 'same' };
const leaveOpening = {
  suspend: 'opening: reject',
  drain: 'discarding: reject',
  'drain, keep': 'discarding: reject',
  'hand off': 'discarding: reject',
  'open late': 'discarding: end-right reject',
  lose: 'discarding: end-right reject',
};
/** What events do: the phase after them (`+n`: with n waiting) and the effects. What is not listed changes nothing. */
const table: Record<string, Record<string, string>> = {
  unknown: {
    request: 'verifying+1: verify',
    'newer request': 'verifying+1: verify',
    'hand off': 'transferring: transfer',
  },
  verifying: {
    ...wait,
    verified: 'opening+1: open',
    'not mine': 'gone: reject',
    failed: 'gone: reject',
    drain: 'releasing: reject release',
    'drain, keep': 'gone: reject',
    'hand off': 'transferring: reject transfer',
    suspend: 'gone: reject',
    lose: 'gone: reject',
  },
  opening: {
    ...wait,
    opened: 'confirming+1: confirm',
    fenced: 'raising+1: end-right raise',
    failed: 'gone: end-right reject',
    ...leaveOpening,
  },
  'opening known state': {
    ...wait,
    opened: 'ready: run',
    fenced: 'raising+1: end-right raise',
    failed: 'gone: end-right reject',
    ...leaveOpening,
  },
  'opening the last time': {
    ...wait,
    opened: 'confirming+1: confirm',
    fenced: 'gone: end-right reject',
    failed: 'gone: end-right reject',
    ...leaveOpening,
  },
  raising: {
    ...wait,
    raised: 'opening+1: open',
    'raised not mine': 'gone: reject',
    failed: 'gone: reject',
    drain: 'releasing: reject release',
    'drain, keep': 'gone: reject',
    'hand off': 'transferring: reject transfer',
    suspend: 'gone: reject',
    lose: 'gone: reject',
  },
  confirming: {
    ...wait,
    confirmed: 'ready: run',
    'not confirmed': 'closing: end-right reject close',
    failed: 'closing: end-right reject close',
    drain: 'closing: reject close',
    'drain, keep': 'closing: reject close',
    'hand off': 'closing: reject close',
    suspend: 'confirming: reject',
    lose: 'closing: end-right reject close',
  },
  ready: {
    request: 'ready: run',
    'refused by the fence': 'closing: close',
    'newer request': 'closing: close reject',
    drain: 'closing: close',
    'drain, keep': 'closing: close',
    'hand off': 'closing: close',
    lose: 'closing: end-right close',
  },
  busy: {
    request: 'ready+2:',
    'refused by the fence': 'draining: reject',
    'newer request': 'draining: reject reject',
    done: 'ready: run',
    drain: 'draining: reject',
    'drain, keep': 'draining: reject',
    'hand off': 'draining: reject',
    suspend: 'ready: reject',
    lose: 'closing: end-right reject close',
  },
  draining: {
    ...refuse,
    ...keep,
    done: 'closing: close',
    'hand off': 'draining:',
    lose: 'closing: end-right close',
  },
  'draining two': {
    ...refuse,
    ...keep,
    done: 'draining:',
    'hand off': 'draining:',
    lose: 'closing: end-right close',
  },
  'draining to hand off': {
    ...refuse,
    ...keep,
    done: 'closing: close',
    'hand off late': 'closing: end-right close',
    lose: 'closing: end-right handed-off close',
  },
  discarding: {
    ...refuse,
    ...keep,
    opened: 'closing: close',
    fenced: 'releasing: end-right release',
    failed: 'releasing: end-right release',
    'hand off': 'discarding:',
    lose: 'discarding: end-right',
  },
  'discarding, lost': {
    ...wait,
    drain: 'discarding: reject',
    'drain, keep': 'discarding: reject',
    'hand off': 'discarding: handed-off reject',
    suspend: 'discarding: reject',
    opened: 'closing+1: close',
    fenced: 'verifying+1: end-right verify',
    failed: 'verifying+1: end-right verify',
    lose: 'discarding: end-right reject',
  },
  'discarding, late': {
    ...refuse,
    ...keep,
    'hand off': 'same: handed-off',
    opened: 'closing: close',
    fenced: 'gone: end-right',
    failed: 'gone: end-right',
    lose: 'discarding: end-right',
  },
  'discarding to hand off': {
    ...refuse,
    ...keep,
    opened: 'closing: close',
    fenced: 'transferring: end-right transfer',
    failed: 'transferring: end-right transfer',
    'hand off late': 'same: end-right',
    lose: 'discarding: end-right handed-off',
  },
  closing: {
    ...refuse,
    ...keep,
    closed: 'releasing: end-right release',
    'hand off': 'closing:',
    lose: 'closing: end-right',
  },
  'closing, kept': {
    ...refuse,
    ...keep,
    closed: 'gone: end-right',
    'hand off': 'closing:',
    lose: 'closing: end-right',
  },
  'closing, lost': {
    ...wait,
    drain: 'closing: reject',
    'drain, keep': 'closing: reject',
    'hand off': 'closing: handed-off reject',
    suspend: 'closing: reject',
    closed: 'verifying+1: end-right verify',
    lose: 'closing: end-right reject',
  },
  'closing, late': {
    ...refuse,
    ...keep,
    'hand off': 'same: handed-off',
    closed: 'gone: end-right',
    lose: 'closing: end-right',
  },
  'closing to hand off': {
    ...refuse,
    ...keep,
    closed: 'transferring: end-right transfer',
    'hand off late': 'same: end-right',
    lose: 'closing: end-right handed-off',
  },
  releasing: {
    ...refuse,
    ...keep,
    released: 'gone:',
    unanswered: 'releasing: release',
    'hand off': 'same: handed-off',
    lose: 'gone:',
  },
  transferring: {
    ...refuse,
    ...keep,
    transferred: 'gone: handed-off',
    'not transferred': 'gone: handed-off',
    unanswered: 'transferring: transfer',
    lose: 'gone: handed-off',
  },
};

const waiting = (state: KeyState | null) => (state && 'waiters' in state ? state.waiters.length : 0);

describe('key machine', () => {
  for (const [stateName, state] of Object.entries(states)) {
    it(`does what the table says in ${stateName}`, () => {
      for (const [eventName, event] of Object.entries(events)) {
        if (stateName === 'ready' && eventName === 'done') continue; // breaks an invariant, see below
        const { state: after, effects } = stepKey(state, event, { concurrency: 1, newOpenId: 8 });
        const did = effects.map(effect => effect.type).join(' ');
        const expected = table[stateName]![eventName];
        if (expected === undefined || expected === 'same') {
          assert.deepEqual({ after, effects }, { after: state, effects: [] }, eventName);
        } else if (expected === 'same+1') {
          assert.equal(waiting(after), waiting(state) + 1, eventName);
          assert.equal(after?.phase, state?.phase);
        } else if (expected.startsWith('same: ')) {
          assert.equal(did, expected.slice(6), eventName);
          assert.deepEqual(after, state, eventName);
        } else {
          const shown = after ? after.phase + (waiting(after) ? `+${waiting(after)}` : '') : 'gone';
          assert.equal(`${shown}: ${did}`.trim(), expected, eventName);
        }
      }
    });
  }

  it('ignores answers to something older, in every state', () => {
    for (const state of Object.values(states)) {
      for (const event of Object.values(events)) {
        if (!('openId' in event)) continue;
        const { state: after, effects } = stepKey(
          state,
          { ...event, openId: 6 },
          { concurrency: 1, newOpenId: 8 },
        );
        assert.deepEqual({ after, effects }, { after: state, effects: [] });
      }
    }
  });

  it('serves as many at once as it may, the rest in the order of their arrival', () => {
    let state = states['opening known state'] as KeyState | null;
    const ran: number[] = [];
    const apply = (event: KeyEvent) => {
      const result = stepKey(state, event, { concurrency: 2, newOpenId: 9 });
      state = result.state;
      for (const effect of result.effects) if (effect.type === 'run') ran.push(effect.requestId);
    };
    for (const requestId of [2, 3, 4, 5]) apply({ type: 'request', requestId, fence: fence(5) });
    apply({ type: 'opened', openId: 7 });
    assert.deepEqual(ran, [1, 2]);
    for (let count = 0; count < 3; count++) apply({ type: 'done', openId: 7 });
    assert.deepEqual(ran, [1, 2, 3, 4, 5]);
    apply({ type: 'done', openId: 7 });
    apply({ type: 'done', openId: 7 });
    assert.throws(() => apply({ type: 'done', openId: 7 }), /invariant/);
  });

  it('lets only so many wait', () => {
    let state: KeyState | null = states['verifying']!;
    let refused = 0;
    for (let requestId = 2; requestId < waitersMax + 10; requestId++) {
      const result = stepKey(
        state,
        { type: 'request', requestId, fence: fence(5) },
        { concurrency: 0, newOpenId: 8 },
      );
      state = result.state;
      refused += result.effects.filter(effect => effect.type === 'reject').length;
    }
    assert.equal(waiting(state), waitersMax);
    assert.equal(refused, 9);
  });

  it('asks for a fence above what the resource holds', () => {
    const { effects } = stepKey(states['opening']!, events['fenced']!, { concurrency: 0, newOpenId: 8 });
    assert.deepEqual(effects.at(-1), { type: 'raise', openId: 7, above: fence(9) });
    const lower: KeyEvent = { type: 'open-fenced', openId: 7, held: fence(0), error: 'fenced' };
    const again = stepKey(states['opening']!, lower, { concurrency: 0, newOpenId: 8 });
    assert.deepEqual(again.effects.at(-1), { type: 'raise', openId: 7, above: fence(5) });
  });

  it('hands a key over under the highest fence that is known, and asks again until it is answered', () => {
    const event = { type: 'hand-off', fence: fence(9), to: target } as const;
    const closing = stepKey(states['ready']!, event, { concurrency: 0, newOpenId: 8 });
    const given = stepKey(closing.state, events['closed']!, { concurrency: 0, newOpenId: 9 });
    const again = stepKey(given.state, events['unanswered']!, { concurrency: 0, newOpenId: 10 });
    const asked = { type: 'transfer', openId: 7, fence: fence(9), to: target };
    assert.deepEqual(given.effects.at(-1), { ...asked, attempt: 1 });
    assert.deepEqual(again.effects, [{ ...asked, attempt: 2 }]);
    const { effects } = stepKey(again.state, events['transferred']!, { concurrency: 0, newOpenId: 11 });
    assert.deepEqual(effects, [{ type: 'handed-off', moved: true, claim: { sessionId: target } }]);
  });

  it('says what is wrong to those who want a key that takes too long to open', () => {
    const { effects } = stepKey(states['opening']!, events['open late']!, { concurrency: 0, newOpenId: 8 });
    assert.deepEqual(effects.at(-1), { type: 'reject', requestId: 1, reason: { type: 'open-late' } });
    const next = stepKey(states['discarding, late']!, events['request']!, { concurrency: 0, newOpenId: 8 });
    assert.deepEqual(next.effects, [{ type: 'reject', requestId: 2, reason: { type: 'open-late' } }]);
  });
});
