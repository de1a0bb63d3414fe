/**
 * One key in a host, as a pure machine. `null` is a key that the host knows nothing of.
 *
 * ```
 *  null ─request─▶ verifying ─▶ opening ─▶ confirming ─▶ ready ─drain─▶ draining ─▶ closing ─▶ releasing ─▶ null
 *                                │   ▲
 *                        fenced  ▼   │
 *                               raising          discarding: an opening that nobody waits for any more; closed when it is done
 * ```
 *
 * What must hold:
 * - Between an `open` effect and its answer, and from there to the answer to `close`, no other `open` is asked for: the
 *   component never has a key open twice, also not across two sessions.
 * - Each opening that succeeded is closed exactly once, after the requests in flight unless ownership was lost.
 * - A request runs only in `ready`; it is answered by exactly one of `run` and `reject`.
 * - A key whose resource refuses our fence does not stay open: it is given back.
 * - Answers carry the `openId` of what asked; one that belongs to something older changes nothing.
 */
import type { Fence } from '#core';

/** A request that waits for its turn. */
export interface Waiter {
  readonly requestId: number;
  readonly fence: Fence;
}

interface Opening {
  readonly openId: number;
  readonly fence: Fence;
  readonly hadOwner: boolean;
  /** Openings tried so far, this one included. */
  readonly tries: number;
  readonly waiters: readonly Waiter[];
}

export type KeyState =
  | {
      readonly phase: 'verifying';
      readonly openId: number;
      readonly fence: Fence;
      readonly waiters: readonly Waiter[];
    }
  | ({ readonly phase: 'opening' } & Opening)
  | ({ readonly phase: 'raising' } & Opening)
  | ({ readonly phase: 'confirming' } & Opening)
  | {
      readonly phase: 'ready';
      readonly openId: number;
      readonly fence: Fence;
      readonly inFlight: number;
      readonly waiters: readonly Waiter[];
    }
  | {
      readonly phase: 'draining';
      readonly openId: number;
      readonly fence: Fence;
      readonly inFlight: number;
      readonly release: boolean;
    }
  /** `release` null: ownership is lost already, and requests that come under a new session may wait. */
  | {
      readonly phase: 'discarding' | 'closing';
      readonly openId: number;
      readonly fence: Fence;
      readonly release: boolean | null;
      readonly waiters: readonly Waiter[];
    }
  | { readonly phase: 'releasing'; readonly openId: number; readonly fence: Fence };

/** What the directory says about the key, null: not mine. */
export type Verdict = { readonly fence: Fence; readonly hadOwner: boolean } | null;

export type KeyEvent =
  | { readonly type: 'request'; readonly requestId: number; readonly fence: Fence }
  | { readonly type: 'verified'; readonly openId: number; readonly verdict: Verdict }
  | { readonly type: 'opened'; readonly openId: number }
  /** The resource holds a fence (`held`) that is not below ours. */
  | { readonly type: 'open-fenced'; readonly openId: number; readonly held: Fence; readonly error: unknown }
  | { readonly type: 'raised'; readonly openId: number; readonly verdict: Verdict }
  | { readonly type: 'confirmed'; readonly openId: number; readonly owned: boolean }
  /** Verifying, opening, raising or confirming threw. */
  | { readonly type: 'failed'; readonly openId: number; readonly error: unknown }
  | { readonly type: 'done'; readonly openId: number }
  /** A request was refused by the resource: it holds another fence than ours. */
  | { readonly type: 'fenced'; readonly openId: number }
  | { readonly type: 'closed'; readonly openId: number }
  | { readonly type: 'released'; readonly openId: number }
  | { readonly type: 'drain-key'; readonly release: boolean }
  | { readonly type: 'lose' };

export type Rejection =
  | { readonly type: 'not-owner' }
  | { readonly type: 'too-many' }
  | { readonly type: 'error'; readonly error: unknown };

export type KeyEffect =
  | { readonly type: 'verify'; readonly openId: number }
  | { readonly type: 'open'; readonly openId: number; readonly fence: Fence; readonly hadOwner: boolean }
  | { readonly type: 'raise'; readonly openId: number; readonly above: Fence }
  | { readonly type: 'confirm'; readonly openId: number; readonly fence: Fence }
  | { readonly type: 'run'; readonly openId: number; readonly requestId: number }
  | { readonly type: 'reject'; readonly requestId: number; readonly reason: Rejection }
  /** `Resource.signal` aborts: the right to this opening is over. */
  | { readonly type: 'end-right'; readonly openId: number }
  | { readonly type: 'close'; readonly openId: number }
  | { readonly type: 'release'; readonly openId: number; readonly fence: Fence };

export interface KeyOptions {
  /** Requests served at once; 0 means no bound. */
  readonly concurrency: number;
  /** An id that was never used before, for a new opening. */
  readonly newOpenId: number;
}

export interface KeyStep {
  readonly state: KeyState | null;
  readonly effects: readonly KeyEffect[];
}

/** Openings in a row that may be refused by the resource's fence. */
export const openTriesMax = 5;
/** Requests that may wait for one key. */
export const waitersMax = 1_000;

const to = (state: KeyState | null, ...effects: KeyEffect[]): KeyStep => ({ state, effects });
const reject = (waiters: readonly Waiter[], reason: Rejection): KeyEffect[] =>
  waiters.map(({ requestId }) => ({ type: 'reject', requestId, reason }));
const notOwner: Rejection = { type: 'not-owner' };

export function stepKey(state: KeyState | null, event: KeyEvent, options: KeyOptions): KeyStep {
  if (event.type === 'request') return stepRequest(state, event, options);
  if (state === null) return to(null);
  if (event.type === 'lose') return stepLose(state);
  if (event.type === 'drain-key') return stepDrain(state, event.release);
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
      return event.type === 'fenced' ? stepDrain(state, true) : to(state);
    case 'draining': {
      if (event.type !== 'done') return to(state);
      const inFlight = oneLess(state.inFlight);
      return inFlight > 0 ? to({ ...state, inFlight }) : close(state, state.release);
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
      return event.type === 'released' ? to(null) : to(state);
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
        const drained = stepDrain(state, false);
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
      return refuse(notOwner);
    case 'discarding':
    case 'closing':
      if (state.release !== null) return refuse(notOwner);
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

function stepLose(state: KeyState): KeyStep {
  const over: KeyEffect = { type: 'end-right', openId: state.openId };
  switch (state.phase) {
    case 'verifying':
    case 'raising':
      return to(null, ...reject(state.waiters, notOwner));
    case 'opening':
      return discard(state, null, [over, ...reject(state.waiters, notOwner)]);
    case 'confirming':
    case 'ready':
      return close(state, null, [over, ...reject(state.waiters, notOwner)]);
    case 'draining':
      return close(state, null, [over]);
    case 'discarding':
    case 'closing': {
      const rejections = reject(state.waiters, notOwner);
      return to({ ...state, release: null, waiters: [] }, over, ...rejections);
    }
    case 'releasing':
      return to(null);
  }
}

function stepDrain(state: KeyState, release: boolean): KeyStep {
  const { openId } = state;
  switch (state.phase) {
    case 'verifying':
    case 'raising': {
      const rejections = reject(state.waiters, notOwner);
      return release ? giveBack(state, rejections) : to(null, ...rejections);
    }
    case 'opening':
      return discard(state, release, reject(state.waiters, notOwner));
    case 'confirming':
      return close(state, release, reject(state.waiters, notOwner));
    case 'ready': {
      // Those that wait for a turn have not begun: another owner can serve them just as well.
      const rejections = reject(state.waiters, notOwner);
      const { fence, inFlight } = state;
      if (inFlight === 0) return close(state, release, rejections);
      return to({ phase: 'draining', openId, fence, inFlight, release }, ...rejections);
    }
    case 'discarding':
    case 'closing':
      // Planned already, or lost: then there is nothing of the present session but those who wait.
      if (state.waiters.length === 0) return to(state);
      return to({ ...state, waiters: [] }, ...reject(state.waiters, notOwner));
    case 'draining':
    case 'releasing':
      return to(state);
  }
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

function close(
  state: { openId: number; fence: Fence },
  release: boolean | null,
  effects: KeyEffect[] = [],
): KeyStep {
  const { openId, fence } = state;
  return to({ phase: 'closing', openId, fence, release, waiters: [] }, ...effects, { type: 'close', openId });
}

/** Opened, but not to be served. */
function closeUnserved(state: Opening, effects: KeyEffect[]): KeyStep {
  return close(state, null, [{ type: 'end-right', openId: state.openId }, ...effects]);
}

function discard(state: Opening, release: boolean | null, effects: KeyEffect[]): KeyStep {
  const { openId, fence } = state;
  return to({ phase: 'discarding', openId, fence, release, waiters: [] }, ...effects);
}

function giveBack(state: { openId: number; fence: Fence }, effects: readonly KeyEffect[]): KeyStep {
  const { openId, fence } = state;
  return to({ phase: 'releasing', openId, fence }, ...effects, { type: 'release', openId, fence });
}

/** Closed, or never opened: what comes after. */
function settle(state: Extract<KeyState, { phase: 'discarding' | 'closing' }>, options: KeyOptions): KeyStep {
  const over: KeyEffect = { type: 'end-right', openId: state.openId };
  if (state.release === true) return giveBack(state, [over]);
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
