/**
 * How a key leaves a host, as steps of the machine in `key.ts`: lost, given back, handed to another session. Nothing is asked
 * of the directory before what was open has been closed.
 */
import type { Fence } from '#core';
import type {
  Afterwards,
  HandOffTarget,
  KeyEffect,
  KeyEvent,
  KeyOptions,
  KeyState,
  KeyStep,
  Opening,
  Planned,
  Rejection,
  Waiter,
} from './key-model.ts';

export const to = (state: KeyState | null, ...effects: KeyEffect[]): KeyStep => ({ state, effects });
export const reject = (waiters: readonly Waiter[], reason: Rejection): KeyEffect[] =>
  waiters.map(({ requestId }) => ({ type: 'reject', requestId, reason }));
export const notOwner: Rejection = { type: 'not-owner' };
const notMoved: KeyEffect = { type: 'handed-off', moved: false, claim: null };

export function stepLose(state: KeyState): KeyStep {
  const over: KeyEffect = { type: 'end-right', openId: state.openId };
  const lost: Afterwards = { type: 'lost' };
  switch (state.phase) {
    case 'verifying':
    case 'raising':
      return to(null, ...reject(state.waiters, notOwner));
    case 'opening':
      return discard(state, lost, [over, ...reject(state.waiters, notOwner)]);
    case 'confirming':
    case 'ready':
      return close(state, lost, [over, ...reject(state.waiters, notOwner)]);
    case 'draining':
      return close(state, lost, [over, ...notHandedOff(state.after)]);
    case 'discarding':
    case 'closing': {
      const rejections = reject(state.waiters, notOwner);
      return to({ ...state, after: lost, waiters: [] }, over, ...notHandedOff(state.after), ...rejections);
    }
    case 'releasing':
      return to(null);
    case 'transferring':
      return to(null, notMoved);
  }
}

/** What is open, or on its way to be, stays so; those who wait had better ask whoever owns the key now. */
export function stepSuspend(state: KeyState): KeyStep {
  if (state.phase === 'verifying' || state.phase === 'raising') return stepLose(state);
  if (!('waiters' in state) || state.waiters.length === 0) return to(state);
  return to({ ...state, waiters: [] }, ...reject(state.waiters, notOwner));
}

/** Stops accepting; finishes, closes, and then does what is planned. */
export function stepGiveUp(state: KeyState, after: Planned): KeyStep {
  const { openId } = state;
  switch (state.phase) {
    case 'verifying':
    case 'raising':
      return afterClosing(state, after, reject(state.waiters, notOwner));
    case 'opening':
      return discard(state, after, reject(state.waiters, notOwner));
    case 'confirming':
      return close(state, after, reject(state.waiters, notOwner));
    case 'ready': {
      // Those that wait for a turn have not begun: another owner can serve them just as well.
      const rejections = reject(state.waiters, notOwner);
      const { fence, inFlight } = state;
      if (inFlight === 0) return close(state, after, rejections);
      return to({ phase: 'draining', openId, fence, inFlight, after }, ...rejections);
    }
    case 'discarding':
    case 'closing':
      // Planned already, or lost: then there is nothing of the present session but those who wait.
      if (state.waiters.length === 0) return to(state);
      return to({ ...state, waiters: [] }, ...reject(state.waiters, notOwner));
    case 'draining':
    case 'releasing':
    case 'transferring':
      return to(state);
  }
}

export function stepHandOff(
  state: KeyState | null,
  event: Extract<KeyEvent, { type: 'hand-off' }>,
  { newOpenId }: KeyOptions,
): KeyStep {
  // Never opened here: nothing is to be closed, but it must not be opened either.
  if (state === null) return transfer({ openId: newOpenId, fence: event.fence }, event.to, 1, []);
  // Ours may be the higher one, raised above what the resource held; or the lower, given out anew behind our back.
  const fence = event.fence > state.fence ? event.fence : state.fence;
  const after: Planned = { type: 'transfer', to: event.to, fence };
  switch (state.phase) {
    case 'draining':
      return state.after.type === 'transfer' ? to(state) : to({ ...state, after });
    case 'discarding':
    case 'closing':
      if (state.after.type === 'transfer') return to(state);
      if (state.after.type === 'release' || state.after.type === 'keep') return to({ ...state, after });
      // What is open is nobody's; whoever wants the key moved asks again when it is closed.
      return to({ ...state, waiters: [] }, notMoved, ...reject(state.waiters, notOwner));
    case 'releasing':
      return to(state, notMoved);
    case 'transferring':
      return to(state);
    default:
      return stepGiveUp(state, after);
  }
}

/** Ends the right as a loss would; the hand-off goes on once the key is closed. */
export function stepHandOffLate(state: KeyState): KeyStep {
  const over: KeyEffect = { type: 'end-right', openId: state.openId };
  if (!('after' in state) || state.after.type !== 'transfer') return to(state);
  return state.phase === 'draining' ? close(state, state.after, [over]) : to(state, over);
}

function notHandedOff(after: Afterwards): KeyEffect[] {
  return after.type === 'transfer' ? [notMoved] : [];
}

export function close(
  state: { openId: number; fence: Fence },
  after: Afterwards,
  effects: KeyEffect[] = [],
): KeyStep {
  const { openId, fence } = state;
  return to({ phase: 'closing', openId, fence, after, waiters: [] }, ...effects, { type: 'close', openId });
}

/** Opened, but not to be served. */
export function closeUnserved(state: Opening, effects: KeyEffect[]): KeyStep {
  return close(state, { type: 'lost' }, [{ type: 'end-right', openId: state.openId }, ...effects]);
}

export function discard(state: Opening, after: Afterwards, effects: KeyEffect[]): KeyStep {
  const { openId, fence } = state;
  return to({ phase: 'discarding', openId, fence, after, waiters: [] }, ...effects);
}

/** Nothing is open (any more). */
export function afterClosing(
  state: { openId: number; fence: Fence },
  after: Planned,
  effects: readonly KeyEffect[],
): KeyStep {
  switch (after.type) {
    case 'release':
      return giveBack(state, 1, effects);
    case 'transfer':
      return transfer({ openId: state.openId, fence: after.fence }, after.to, 1, effects);
    case 'keep':
      return to(null, ...effects);
  }
}

export function giveBack(
  state: { openId: number; fence: Fence },
  attempt: number,
  effects: readonly KeyEffect[],
): KeyStep {
  const asked = { openId: state.openId, fence: state.fence, attempt };
  return to({ phase: 'releasing', ...asked }, ...effects, { type: 'release', ...asked });
}

export function transfer(
  state: { openId: number; fence: Fence },
  target: HandOffTarget,
  attempt: number,
  effects: readonly KeyEffect[],
): KeyStep {
  const asked = { openId: state.openId, fence: state.fence, to: target, attempt };
  return to({ phase: 'transferring', ...asked }, ...effects, { type: 'transfer', ...asked });
}
