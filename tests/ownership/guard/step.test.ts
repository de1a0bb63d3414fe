import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Fence, ResourceKey, SessionId } from '#core';
import { marginOf } from '../../../ownership/guard/session.ts';
import {
  initialGuard,
  ownsOpening,
  step,
  wakeMs,
  type GuardEffect,
  type GuardEvent,
  type GuardOptions,
} from '../../../ownership/guard/step.ts';

const keys = ['a', 'b', 'c'] as ResourceKey[];
const ttlMs = 1_000;

/** True once in a while. */
const seldom = fc.nat(9).map(value => value === 0);

/** One move of a hostile world; numbers pick from what is possible at that moment. */
const move = fc.oneof(
  {
    weight: 40,
    arbitrary: fc.record({
      type: fc.constant('time' as const),
      ms: fc.oneof({ weight: 9, arbitrary: fc.nat(60) }, { weight: 1, arbitrary: fc.nat(700) }),
    }),
  },
  {
    weight: 80,
    arbitrary: fc.record({
      type: fc.constant('request' as const),
      key: fc.nat(2),
      stale: seldom,
      ahead: seldom,
    }),
  },
  {
    weight: 160,
    arbitrary: fc.record({ type: fc.constant('answer' as const), pick: fc.nat(3), how: fc.nat(9) }),
  },
  { weight: 50, arbitrary: fc.record({ type: fc.constant('done' as const), pick: fc.nat(50) }) },
  {
    weight: 8,
    arbitrary: fc.record({ type: fc.constant('drain-key' as const), key: fc.nat(2), release: fc.boolean() }),
  },
  {
    weight: 10,
    arbitrary: fc.record({ type: fc.constant('hand-off' as const), key: fc.nat(2), ahead: seldom }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('hand-off-late' as const), key: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.constant({ type: 'forget' as const }) },
  { weight: 3, arbitrary: fc.constant({ type: 'end' as const }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('fenced' as const), pick: fc.nat(50) }) },
  { weight: 20, arbitrary: fc.record({ type: fc.constant('late' as const), pick: fc.nat(20) }) },
  { weight: 3, arbitrary: fc.constant({ type: 'drain' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'abort' as const }) },
);
const world = fc.record({
  concurrency: fc.nat(2),
  idleMs: fc.constantFrom(0, 150),
  openMs: fc.constantFrom(Infinity, 100),
  onAuthorityLoss: fc.constantFrom('stop' as const, 'serveFenced' as const),
  moves: fc.array(move, { minLength: 30, maxLength: 150, size: 'max' }),
});

type Question = Exclude<
  GuardEffect,
  {
    type:
      | 'run'
      | 'reject'
      | 'end-right'
      | 'handed-off'
      | 'passivated'
      | 'session-lost'
      | 'session-switched'
      | 'finished';
  }
>;

describe('guard step', () => {
  it('keeps its promises in every hostile world', () => {
    fc.assert(fc.property(world, run), { numRuns: 2_000 });
  });

  it('forgets with the session what was given back in it', () => {
    const options: GuardOptions = { ttlMs, marginMs: marginOf(ttlMs), concurrency: 0 };
    const { state } = step(initialGuard(), { type: 'start' }, 0, options);
    state.tombstones.set(keys[0]!, 5n as Fence);
    const opened = {
      type: 'session-opened',
      sessionId: 's' as SessionId,
      sentAtMs: 0,
      expiresInMs: ttlMs,
    } as const;
    assert.equal(step(state, opened, 0, options).state.tombstones.size, 0);
  });
});

function run({ moves, ...given }: typeof world extends fc.Arbitrary<infer World> ? World : never): void {
  const options: GuardOptions = { ttlMs, marginMs: marginOf(ttlMs), ...given };
  const { concurrency } = options;
  let state = initialGuard();
  let nowMs = 0;
  let ids = 0;
  let fences = 0n;
  const questions: Question[] = [];
  const openHandlers = new Map<number, ResourceKey>();
  const closing = new Set<number>();
  const ended = new Set<number>();
  const running: { key: ResourceKey; openId: number; requestId: number }[] = [];
  const unanswered = new Set<number>();
  /** The directory's view: the end of each session, and the fence of each key. */
  const sessions = new Map<SessionId, number>();
  const records = new Map<ResourceKey, { sessionId: SessionId; fence: bigint }>();
  /** Until when the directory, having forgotten everything, collects what hosts hold. */
  let collectUntilMs = 0;
  /** Keys that somebody wants moved, and was not told yet what became of it. */
  const handing = new Set<ResourceKey>();
  /** What was given back: requests sent under it before may still be on their way. */
  const givenBack: { key: ResourceKey; sessionId: SessionId; fence: Fence }[] = [];
  let finished = false;

  /** Whether a directory that ended a session by itself has not told yet: the one thing that no deadline can tell. */
  let toldToEnd = false;
  const fenced = () => {
    const { session } = state;
    if (session.phase !== 'resuming' || session.cause !== 'silent') return false;
    assert.equal(options.onAuthorityLoss, 'serveFenced', 'serves past the deadline');
    return true;
  };
  const bury = ({ key, fence }: { key: ResourceKey; fence: Fence }, sessionId: SessionId) =>
    givenBack.push({ key, fence, sessionId });
  const openFor = (key: ResourceKey) =>
    [...openHandlers.values()].filter(open => open === key).length +
    questions.filter(question => question.type === 'open' && question.key === key).length;

  function dispatch(event: GuardEvent): void {
    const result = step(state, event, nowMs, options);
    state = result.state;
    for (const effect of result.effects) {
      switch (effect.type) {
        case 'run': {
          assert(unanswered.delete(effect.requestId), 'answered twice');
          assert(openHandlers.has(effect.openId) && !closing.has(effect.openId), 'runs on what is not open');
          assert(!ended.has(effect.openId), 'runs without the right to');
          assert(ownsOpening(state, effect.key, effect.openId, nowMs));
          const { session } = state;
          assert('held' in session);
          if (!fenced()) {
            assert(nowMs < session.held.deadlineMs, 'admitted after the deadline');
            const endMs = sessions.get(session.held.sessionId) ?? collectUntilMs;
            assert(nowMs < endMs || toldToEnd, 'admitted after expiry');
          }
          running.push(effect);
          const atOnce = running.filter(one => one.openId === effect.openId).length;
          assert(concurrency === 0 || atOnce <= concurrency, 'too many at once');
          break;
        }
        case 'reject':
          assert(unanswered.delete(effect.requestId), 'answered twice');
          break;
        case 'end-right':
          ended.add(effect.openId);
          break;
        case 'open':
          assert.equal(openFor(effect.key), 0, 'two opens at once');
          questions.push(effect);
          break;
        case 'close':
          assert(openHandlers.has(effect.openId), 'closes what is not open');
          assert(!closing.has(effect.openId), 'closes twice');
          assert(
            ended.has(effect.openId) || !running.some(one => one.openId === effect.openId),
            'closes under a request',
          );
          closing.add(effect.openId);
          questions.push(effect);
          break;
        case 'close-session':
          assert.equal(openHandlers.size, 0, 'gives the session up with something open');
          questions.push(effect);
          break;
        case 'open-session':
          if (effect.clean) assert.equal(openHandlers.size, 0, 'not clean');
          questions.push(effect);
          break;
        case 'handed-off':
          handing.delete(effect.key);
          break;
        case 'transfer':
        case 'release':
          assert.equal(openFor(effect.key), 0, 'gives back what is open');
          assert('held' in state.session);
          if (effect.type === 'release') bury(effect, state.session.held.sessionId);
          questions.push(effect);
          break;
        case 'finished':
          finished = true;
          break;
        case 'session-lost':
        case 'session-switched':
        case 'passivated':
          break;
        default:
          questions.push(effect);
      }
    }
    for (const [key, found] of state.keys) {
      if (found.phase === 'ready' || found.phase === 'draining') {
        const inFlight = running.filter(one => one.openId === found.openId).length;
        assert.equal(found.inFlight, inFlight, `in flight of ${key}`);
      }
    }
    for (const [openId, key] of openHandlers) {
      const { session } = state;
      const held = 'held' in session && (fenced() || nowMs < session.held.deadlineMs);
      assert(held || ended.has(openId), 'a right outlives its session');
      const over = session.phase === 'resuming' && session.cause === 'over';
      assert(!over || !ownsOpening(state, key, openId, nowMs), 'acts on what the directory says is over');
    }
  }

  function answer(question: Question, how: number): void {
    const fails = how === 0;
    switch (question.type) {
      case 'open-session': {
        const { sentAtMs } = question;
        if (fails) return dispatch({ type: 'session-open-failed', sentAtMs });
        const sessionId = `s${++ids}` as SessionId;
        if (question.clean) sessions.clear();
        sessions.set(sessionId, nowMs + ttlMs);
        return dispatch({ type: 'session-opened', sessionId, sentAtMs, expiresInMs: ttlMs });
      }
      case 'renew-session': {
        const { sessionId, sentAtMs } = question;
        if (fails) return dispatch({ type: 'session-renewal-failed', sessionId, sentAtMs });
        const alive = nowMs < (sessions.get(sessionId) ?? -1);
        if (alive) sessions.set(sessionId, nowMs + ttlMs);
        return dispatch({
          type: 'session-renewed',
          sessionId,
          sentAtMs,
          alive,
          expiresInMs: alive ? ttlMs : 0,
          ...(!alive && nowMs < collectUntilMs ? { forgotten: true } : {}),
        });
      }
      case 'resume-session': {
        const { sentAtMs, held } = question;
        // A call that was given up long ago is not carried out any more.
        if (fails || nowMs - sentAtMs >= ttlMs) {
          return dispatch({ type: 'session-resume-failed', sentAtMs, refused: false });
        }
        if (how === 1) return dispatch({ type: 'session-resume-failed', sentAtMs, refused: true });
        const sessionId = `s${++ids}` as SessionId;
        sessions.clear();
        toldToEnd = false;
        sessions.set(sessionId, nowMs + ttlMs);
        const refused = held.filter(({ key, fence }) => {
          const record = records.get(key);
          if (record ? record.fence !== fence || record.sessionId === 'rival' : nowMs >= collectUntilMs)
            return true;
          records.set(key, { sessionId, fence });
          return false;
        });
        const openBefore = new Map(state.keys);
        dispatch({
          type: 'session-resumed',
          sentAtMs,
          sessionId,
          expiresInMs: ttlMs,
          refused: refused.map(({ key }) => key),
        });
        for (const { key, openId } of refused) {
          assert(!ownsOpening(state, key, openId, nowMs), 'keeps what was refused');
        }
        if (state.session.phase !== 'live') return;
        for (const { key, openId, fence } of held) {
          const [before, after] = [openBefore.get(key), state.keys.get(key)];
          const kept = records.get(key)?.sessionId === sessionId && before?.phase === 'ready';
          if (kept && before.openId === openId && before.fence === fence) {
            assert(after?.openId === openId && !ended.has(openId), 'loses what was granted');
          }
        }
        return;
      }
      case 'mark-draining': {
        const { sessionId } = question;
        return dispatch({ type: 'session-marked', sessionId, alive: fails ? null : sessions.has(sessionId) });
      }
      case 'close-session':
      case 'discard-session':
        sessions.delete(question.sessionId);
        return dispatch({ type: 'session-closed', sessionId: question.sessionId });
      case 'verify':
      case 'raise': {
        const { key, openId } = question;
        if (fails) return dispatch({ type: 'failed', key, openId, error: 'directory' });
        const record = records.get(key);
        const { session } = state;
        const mine = record && 'held' in session && record.sessionId === session.held.sessionId;
        if (mine && question.type === 'raise')
          record.fence = fences = question.above > fences ? question.above + 1n : fences + 1n;
        const verdict = mine ? { fence: record.fence as Fence, hadOwner: how === 2 } : null;
        return dispatch({ type: question.type === 'raise' ? 'raised' : 'verified', key, openId, verdict });
      }
      case 'confirm': {
        const { key, openId } = question;
        if (fails) return dispatch({ type: 'failed', key, openId, error: 'directory' });
        return dispatch({ type: 'confirmed', key, openId, owned: how !== 1 });
      }
      case 'release': {
        const { key, openId, fence } = question;
        if (fails) return dispatch({ type: 'unanswered', key, openId });
        if (records.get(key)?.fence === fence) records.delete(key);
        return dispatch({ type: how === 1 ? 'unanswered' : 'released', key, openId });
      }
      case 'transfer': {
        const { key, openId, fence } = question;
        if (fails) return dispatch({ type: 'unanswered', key, openId });
        const { session } = state;
        const mine = 'held' in session && records.get(key)?.sessionId === session.held.sessionId;
        const held = mine && records.get(key)?.fence === fence;
        if (held) records.set(key, { sessionId: 'rival' as SessionId, fence: ++fences });
        if (how === 1) return dispatch({ type: 'unanswered', key, openId });
        if (held && state.keys.get(key)?.openId === openId) bury({ key, fence }, session.held.sessionId);
        const outcome = held ? ({ held: true, claim: null } as const) : ({ held: false } as const);
        return dispatch({ type: 'transferred', key, openId, outcome });
      }
      case 'open': {
        const { key, openId, fence } = question;
        if (how === 0) return dispatch({ type: 'failed', key, openId, error: 'component' });
        if (how === 1) {
          return dispatch({ type: 'open-fenced', key, openId, held: (fence + 3n) as Fence, error: 'fenced' });
        }
        openHandlers.set(openId, key);
        return dispatch({ type: 'opened', key, openId });
      }
      case 'close': {
        const { key, openId } = question;
        openHandlers.delete(openId);
        return dispatch({ type: 'closed', key, openId });
      }
    }
  }

  function finishOne(pick: number): void {
    const [done] = running.splice(pick % running.length, 1);
    dispatch({ type: 'done', key: done!.key, openId: done!.openId });
  }

  dispatch({ type: 'start' });
  for (const one of moves) {
    switch (one.type) {
      case 'time': {
        nowMs += one.ms;
        const wake = wakeMs(state, options);
        // A stalled process wakes late: every other time, something else comes before the timer.
        if (wake !== null && wake <= nowMs && one.ms % 2) dispatch({ type: 'tick' });
        break;
      }
      case 'request': {
        const key = keys[one.key]!;
        const { session } = state;
        const live = 'held' in session ? session.held.sessionId : ('none' as SessionId);
        let record = records.get(key);
        const over = !record || nowMs >= (sessions.get(record.sessionId) ?? -1);
        if (!record || (over && nowMs >= collectUntilMs) || one.ahead) {
          // Now and then somebody else gets what the host has lost.
          record = { sessionId: over && one.stale ? ('rival' as SessionId) : live, fence: ++fences };
          records.set(key, record);
        }
        const requestId = ++ids;
        unanswered.add(requestId);
        const sessionId = one.stale ? ('stale' as SessionId) : record.sessionId;
        dispatch({ type: 'request', key, requestId, sessionId, fence: record.fence as Fence });
        if (one.stale) assert(!unanswered.has(requestId), 'a request for another session waits');
        break;
      }
      case 'answer': {
        if (questions.length === 0) break;
        const [question] = questions.splice(one.pick % questions.length, 1);
        answer(question!, one.how);
        break;
      }
      case 'late': {
        const late = givenBack[one.pick % Math.max(1, givenBack.length)];
        if (!late) break;
        const requestId = ++ids;
        unanswered.add(requestId);
        dispatch({ type: 'request', ...late, requestId });
        assert(!unanswered.has(requestId), 'takes a request from before the key was given back');
        break;
      }
      case 'done':
        if (running.length > 0) finishOne(one.pick);
        break;
      case 'fenced': {
        const refused = running[one.pick % Math.max(1, running.length)];
        if (!refused) break;
        const { key, openId } = refused;
        dispatch({ type: 'fenced', key, openId });
        const found = state.keys.get(key);
        assert(found?.openId !== openId || found.phase !== 'ready', 'serves on what refuses it');
        break;
      }
      case 'drain-key':
        dispatch({ type: 'drain-key', key: keys[one.key]!, release: one.release });
        break;
      case 'hand-off': {
        const key = keys[one.key]!;
        const fence = (records.get(key)?.fence ?? 1n) + (one.ahead ? 1n : 0n);
        handing.add(key);
        dispatch({ type: 'hand-off', key, fence: fence as Fence, to: null });
        const found = state.keys.get(key);
        const refused = state.session.phase === 'resuming';
        const serves = found?.phase === 'ready' || found?.phase === 'opening';
        assert(refused || !serves, 'serves what it hands off');
        break;
      }
      case 'hand-off-late':
        dispatch({ type: 'hand-off-late', key: keys[one.key]! });
        break;
      case 'forget':
        sessions.clear();
        records.clear();
        collectUntilMs = nowMs + ttlMs;
        break;
      case 'end':
        // An operator, or proof of a death that was none: the host hears of it with its next renewal.
        sessions.clear();
        toldToEnd = true;
        break;
      default:
        dispatch(one);
    }
  }

  // The world calms down: the guard ends, with nothing open, nothing waiting, nothing held.
  dispatch({ type: 'drain' });
  for (let count = 0; !finished && count < 2_000; count++) {
    const question = questions.shift();
    if (question) answer(question, 2);
    else if (running.length > 0) finishOne(0);
    else {
      nowMs = Math.max(nowMs, wakeMs(state, options) ?? nowMs + 1);
      dispatch({ type: 'tick' });
    }
  }
  assert(finished, `did not end: ${state.session.phase}`);
  assert.equal(openHandlers.size, 0, 'left something open');
  assert.equal(unanswered.size, 0, 'left a request unanswered');
  assert.equal(handing.size, 0, 'did not say what became of a hand-off');
  assert.equal(state.keys.size, 0);
  while (running.length > 0) finishOne(0);
}
