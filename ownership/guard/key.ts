/**
 * One key in a host, as a pure machine. `null` is a key that the host knows nothing of.
 *
 * ```
 *  null ─request─▶ verifying ─▶ opening ─▶ confirming ─▶ ready ─drain, hand-off─▶ draining ─▶ closing ─┬▶ releasing ────▶ null
 *   │                            │   ▲                                                                 │      ▲ ┆ asked again
 *   │                    fenced  ▼   │                                                                 └▶ transferring ─▶ null
 *   │                           raising          discarding: an opening that nobody waits for any more;       ▲ ┆ asked again
 *   └─hand-off─▶ transferring                                closed when it is done, then as after closing
 * ```
 *
 * What must hold:
 * - Between an `open` effect and its answer, and from there to the answer to `close`, no other `open` is asked for: the
 *   component never has a key open twice, also not across two sessions.
 * - Each opening that succeeded is closed exactly once, after the requests in flight unless ownership was lost, or a
 *   hand-off took too long: then the right ends first.
 * - A key is released or transferred only when nothing of it is open here.
 * - A request runs only in `ready`; it is answered by exactly one of `run` and `reject`.
 * - A key whose resource refuses our fence does not stay open: it is given back.
 * - Whoever asked for a hand-off is told by `handed-off`, whatever comes in between.
 * - Answers carry the `openId` of what asked; one that belongs to something older changes nothing.
 */
import type { Fence } from '#core';
import type {
  KeyEffect,
  KeyEvent,
  KeyOptions,
  KeyState,
  KeyStep,
  Opening,
  Rejection,
  Verdict,
  Waiter,
} from './key-model.ts';
import {
  afterClosing,
  close,
  closeUnserved,
  discard,
  giveBack,
  notOwner,
  reject,
  stepGiveUp,
  stepHandOff,
  stepHandOffLate,
  stepLose,
  stepSuspend,
  to,
  transfer,
} from './leaving.ts';

export type { KeyEffect, KeyEvent, KeyState, Waiter } from './key-model.ts';

/** Openings in a row that may be refused by the resource's fence. */
export const openTriesMax = 5;
/** Requests that may wait for one key. */
export const waitersMax = 1_000;

export function stepKey(state: KeyState | null, event: KeyEvent, options: KeyOptions): KeyStep {
  if (event.type === 'request') return stepRequest(state, event, options);
  if (event.type === 'hand-off') return stepHandOff(state, event, options);
  if (state === null) return to(null);
  if (event.type === 'lose') return stepLose(state);
  if (event.type === 'suspend') return stepSuspend(state);
  if (event.type === 'drain-key') return stepGiveUp(state, { type: event.release ? 'release' : 'keep' });
  if (event.type === 'hand-off-late') return stepHandOffLate(state);
  if (event.openId !== state.openId) return to(state);
  switch (state.phase) {
    case 'verifying':
      if (event.type === 'verified') return open(state, event.verdict, { ...state, tries: 0 }, options);
      if (event.type === 'failed') return fail(state.waiters, event.error);
      return to(state);
    case 'opening':
      if (event.type === 'opened') {
        if (state.hadOwner) return serve(state, options);
        return to(
          { ...state, phase: 'confirming' },
          { type: 'confirm', openId: state.openId, fence: state.fence },
        );
      }
      if (event.type === 'failed')
        return fail(state.waiters, event.error, { type: 'end-right', openId: state.openId });
      if (event.type === 'open-late') {
        const over: KeyEffect = { type: 'end-right', openId: state.openId };
        return discard(state, { type: 'late' }, [over, ...reject(state.waiters, { type: 'open-late' })]);
      }
      if (event.type === 'open-fenced') {
        const over: KeyEffect = { type: 'end-right', openId: state.openId };
        if (state.tries >= openTriesMax) return fail(state.waiters, event.error, over);
        const above = event.held > state.fence ? event.held : state.fence;
        return to({ ...state, phase: 'raising' }, over, { type: 'raise', openId: state.openId, above });
      }
      return to(state);
    case 'raising':
      if (event.type === 'raised') return open(state, event.verdict, state, options);
      if (event.type === 'failed') return fail(state.waiters, event.error);
      return to(state);
    case 'confirming':
      if (event.type === 'confirmed') {
        return event.owned ? serve(state, options) : closeUnserved(state, reject(state.waiters, notOwner));
      }
      if (event.type === 'failed') {
        return closeUnserved(state, reject(state.waiters, { type: 'error', error: event.error }));
      }
      return to(state);
    case 'ready':
      if (event.type === 'done') return finishInReady(state);
      // What is open here can never be of use again. Given back, it is claimed anew, under a higher fence.
      return event.type === 'fenced' ? stepGiveUp(state, { type: 'release' }) : to(state);
    case 'draining': {
      if (event.type !== 'done') return to(state);
      const inFlight = oneLess(state.inFlight);
      return inFlight > 0 ? to({ ...state, inFlight }) : close(state, state.after);
    }
    case 'discarding':
      if (event.type === 'opened') {
        return to({ ...state, phase: 'closing' }, { type: 'close', openId: state.openId });
      }
      if (event.type === 'failed' || event.type === 'open-fenced') return settle(state, options);
      return to(state);
    case 'closing':
      return event.type === 'closed' ? settle(state, options) : to(state);
    case 'releasing':
      if (event.type === 'unanswered') return giveBack(state, state.attempt + 1, []);
      return event.type === 'released' ? to(null) : to(state);
    case 'transferring':
      // Asking again is safe: had it been done, the fence would not be ours any more, and nothing is changed.
      if (event.type === 'unanswered') return transfer(state, state.to, state.attempt + 1, []);
      if (event.type !== 'transferred') return to(state);
      return to(null, {
        type: 'handed-off',
        moved: event.outcome.held,
        claim: event.outcome.held ? event.outcome.claim : null,
      });
  }
}

function stepRequest(
  state: KeyState | null,
  { requestId, fence }: Extract<KeyEvent, { type: 'request' }>,
  options: KeyOptions,
): KeyStep {
  const waiter: Waiter = { requestId, fence };
  if (state === null) return verify([waiter], options);
  const refuse = (reason: Rejection) => to(state, ...reject([waiter], reason));
  switch (state.phase) {
    case 'ready': {
      if (fence > state.fence) {
        // The directory gave the key out anew behind our back (somebody released it): what is open here is outdated.
        const drained = stepGiveUp(state, { type: 'keep' });
        return to(drained.state, ...drained.effects, ...reject([waiter], notOwner));
      }
      const free = options.concurrency === 0 || state.inFlight < options.concurrency;
      if (free) {
        return to(
          { ...state, inFlight: state.inFlight + 1 },
          { type: 'run', openId: state.openId, requestId },
        );
      }
      break;
    }
    case 'draining':
    case 'releasing':
    case 'transferring':
      return refuse(notOwner);
    case 'discarding':
    case 'closing':
      if (state.after.type === 'late') return refuse({ type: 'open-late' });
      if (state.after.type !== 'lost') return refuse(notOwner);
      break;
    case 'verifying':
    case 'opening':
    case 'raising':
    case 'confirming':
      break;
  }
  if (state.waiters.length >= waitersMax) return refuse({ type: 'too-many' });
  return to({ ...state, waiters: [...state.waiters, waiter] });
}

/** Nothing is open; asks the directory whether the key is ours. */
function verify(waiters: readonly Waiter[], { newOpenId }: KeyOptions): KeyStep {
  const fence = waiters.reduce((most, waiter) => (waiter.fence > most ? waiter.fence : most), 0n as Fence);
  return to({ phase: 'verifying', openId: newOpenId, fence, waiters }, { type: 'verify', openId: newOpenId });
}

function open(
  state: KeyState,
  verdict: Verdict,
  before: { tries: number; waiters: readonly Waiter[] },
  { newOpenId }: KeyOptions,
): KeyStep {
  const { waiters, tries } = before;
  // A record older than the request is impossible in one directory: whatever answered, it is not to be trusted.
  if (!verdict || verdict.fence < state.fence) return to(null, ...reject(waiters, notOwner));
  const opening = { openId: newOpenId, fence: verdict.fence, hadOwner: verdict.hadOwner };
  return to({ phase: 'opening', ...opening, tries: tries + 1, waiters }, { type: 'open', ...opening });
}

function serve(state: Opening, { concurrency }: KeyOptions): KeyStep {
  const { openId, fence, waiters } = state;
  const inFlight = concurrency === 0 ? waiters.length : Math.min(concurrency, waiters.length);
  return to(
    { phase: 'ready', openId, fence, inFlight, waiters: waiters.slice(inFlight) },
    ...waiters.slice(0, inFlight).map(({ requestId }): KeyEffect => ({ type: 'run', openId, requestId })),
  );
}

function finishInReady(state: Extract<KeyState, { phase: 'ready' }>): KeyStep {
  const [next, ...waiters] = state.waiters;
  if (!next) return to({ ...state, inFlight: oneLess(state.inFlight) });
  return to({ ...state, waiters }, { type: 'run', openId: state.openId, requestId: next.requestId });
}

/** Closed, or never opened: what comes after. */
function settle(state: Extract<KeyState, { phase: 'discarding' | 'closing' }>, options: KeyOptions): KeyStep {
  const over: KeyEffect = { type: 'end-right', openId: state.openId };
  const { after } = state;
  if (after.type !== 'lost' && after.type !== 'late') return afterClosing(state, after, [over]);
  if (state.waiters.length === 0) return to(null, over);
  const next = verify(state.waiters, options);
  return to(next.state, over, ...next.effects);
}

function fail(waiters: readonly Waiter[], error: unknown, ...effects: KeyEffect[]): KeyStep {
  return to(null, ...effects, ...reject(waiters, { type: 'error', error }));
}

function oneLess(inFlight: number): number {
  if (inFlight < 1) throw new Error('invariant: more requests finished than were in flight');
  return inFlight - 1;
}
