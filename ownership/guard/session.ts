/**
 * The host's session, as a pure machine: when to open, when to renew, when it is over. Data in, data out, no clock of its own.
 *
 * ```
 *          start            opened                drain            emptied            closed
 *   idle ────────▶ opening ────────▶ live ───────────────▶ draining ───────▶ closing ────────▶ ended
 *                   ▲  │ failed      │ │ abort                │ abort, lost     ▲
 *                   │  ▼             │ └──────▶ ending ◀──────┘                 │
 *                  waiting ◀─────────┘            └── emptied ──────────────────┘ (or ended, if there is no session)
 *                          (lost: opens anew)          drain and abort before there is a session: ending
 *
 *   live ── the store forgot; or it is silent or says "over", and `serveFenced` ──▶ resuming ── granted ──▶ live (or draining)
 *                                                                                  └── refused, too late: lost
 * ```
 *
 * What must hold:
 * - The local deadline counts from *before* the request that the directory granted was sent, less a margin. So it passes
 *   before the session can expire there, and it never moves back.
 * - Nothing brings a session back whose deadline has passed, not even an answer to a renewal that comes then. What may go on is
 *   what a new session was granted for: keys that nobody can have got since (`resuming`).
 * - Past the deadline nothing is served, but for `serveFenced` while the directory is silent: then commits are kept apart by their
 *   fences alone. When it has said that the session is over, nothing is served until it says what may be kept.
 * - A renewal that fails or stays unanswered changes nothing: the deadline stands.
 * - The session is closed in the directory only after everything that was open under it has been closed.
 */
import type { SessionId } from '#core';
import type {
  HeldSession,
  ResumeCause,
  SessionEffect,
  SessionEvent,
  SessionState,
  SessionStep,
  SessionTiming,
} from './session-model.ts';

export type {
  HeldSession,
  SessionEffect,
  SessionEvent,
  SessionState,
  SessionTiming,
} from './session-model.ts';

/**
 * The usual margin: 5 % for clocks of different rates, and 20 ms for the boot clock's tick of 10 ms and the way from a check
 * to its effect.
 */
export const marginOf = (ttlMs: number): number => 20 + ttlMs * 0.05;

const pauseMsMin = 20;
const retryMs = { first: 50, max: 1_000 };

const stay = (state: SessionState, ...effects: SessionEffect[]): SessionStep => ({ state, effects });

export function stepSession(
  state: SessionState,
  event: SessionEvent,
  nowMs: number,
  timing: SessionTiming,
): SessionStep {
  if (event.type === 'session-opened' && !(state.phase === 'opening' && state.sentAtMs === event.sentAtMs)) {
    return stay(state, { type: 'discard-session', sessionId: event.sessionId });
  }
  if (
    event.type === 'session-resumed' &&
    !(state.phase === 'resuming' && state.sentAtMs === event.sentAtMs)
  ) {
    const next = answersLate(state, event) ? open(state.attempt + 1, nowMs) : stay(state);
    return stay(next.state, { type: 'discard-session', sessionId: event.sessionId }, ...next.effects);
  }
  switch (state.phase) {
    case 'idle':
      if (event.type === 'start') return open(1, nowMs);
      return endsWithoutSession(event) ? stay(withoutSession) : stay(state);
    case 'opening':
      if (event.type === 'session-opened') return opened(state.attempt, event, nowMs, timing);
      if (event.type === 'session-open-failed' && event.sentAtMs === state.sentAtMs) {
        const retryAtMs = nowMs + pauseAfter(state.attempt);
        return stay({ phase: 'waiting', attempt: state.attempt, retryAtMs });
      }
      return endsWithoutSession(event) ? stay(withoutSession) : stay(state);
    case 'waiting':
      if (event.type === 'tick' && nowMs >= state.retryAtMs) return open(state.attempt + 1, nowMs);
      if (event.type === 'session-resume-failed' && answersLate(state, event)) return open(1, nowMs);
      return endsWithoutSession(event) ? stay(withoutSession) : stay(state);
    case 'live':
      return stepLive(state, event, nowMs, timing);
    case 'draining':
      return stepDraining(state, event, nowMs, timing);
    case 'resuming':
      return stepResuming(state, event, nowMs, timing);
    case 'ending':
      if (event.type !== 'emptied') return stay(state);
      return state.sessionId === null ? finished() : close(state.sessionId);
    case 'closing':
      if (event.type === 'session-closed' && event.sessionId === state.sessionId) return finished();
      return event.type === 'abort' ? finished() : stay(state);
    case 'ended':
      return stay(state);
  }
}

/** Whether the host may act on this session now. */
export function holds(
  state: SessionState,
  nowMs: number,
): state is Extract<SessionState, { held: HeldSession }> {
  if (state.phase === 'live' || state.phase === 'draining') return nowMs < state.held.deadlineMs;
  if (state.phase !== 'resuming') return false;
  return state.cause === 'silent' || (state.cause === 'forgotten' && nowMs < state.held.deadlineMs);
}

/** When the machine wants a `tick`, null if never. */
export function sessionWakeMs(state: SessionState, timing: SessionTiming): number | null {
  if (state.phase === 'waiting') return state.retryAtMs;
  if (state.phase === 'resuming') return resumeWakeMs(state);
  if (state.phase !== 'live' && state.phase !== 'draining') return null;
  const { deadlineMs, renewAtMs, renewalSentAtMs } = state.held;
  return Math.min(deadlineMs, renewalSentAtMs === null ? renewAtMs : renewalSentAtMs + timing.ttlMs / 3);
}

function stepLive(
  state: Extract<SessionState, { phase: 'live' }>,
  event: SessionEvent,
  nowMs: number,
  timing: SessionTiming,
): SessionStep {
  const { held } = state;
  const cause = causeOfLoss(held, event, nowMs);
  if (cause) {
    const resumes = cause === 'forgotten' || timing.onAuthorityLoss === 'serveFenced';
    if (!resumes) return loseAndOpen(held, nowMs);
    const next = resume(held, { cause, attempt: 1, drain: false }, nowMs);
    return cause === 'over' ? stay(next.state, { type: 'suspend-keys' }, ...next.effects) : next;
  }
  switch (event.type) {
    case 'drain':
      return drain(held);
    case 'abort':
      return stay({ phase: 'ending', sessionId: held.sessionId }, { type: 'lose-keys' });
    default: {
      const renewed = stepRenewal(held, event, nowMs, timing);
      return stay({ phase: 'live', held: renewed.held }, ...renewed.effects);
    }
  }
}

function stepDraining(
  state: Extract<SessionState, { phase: 'draining' }>,
  event: SessionEvent,
  nowMs: number,
  timing: SessionTiming,
): SessionStep {
  const { held, mode } = state;
  const gone = event.type === 'session-marked' && event.sessionId === held.sessionId && event.alive === false;
  if (gone || causeOfLoss(held, event, nowMs))
    return stay({ phase: 'ending', sessionId: null }, ...lost(held));
  switch (event.type) {
    case 'session-marked': {
      if (mode !== 'marking' || event.sessionId !== held.sessionId) return stay(state);
      // Unmarked, this host would be chosen again for each key that it hands back: then all end with the session.
      const release = event.alive === true;
      return stay(
        { phase: 'draining', held, mode: release ? 'releasing' : 'closing' },
        { type: 'drain-keys', release },
      );
    }
    case 'emptied':
      return mode === 'marking' ? stay(state) : close(held.sessionId);
    case 'abort':
      return stay({ phase: 'ending', sessionId: held.sessionId }, { type: 'lose-keys' });
    default: {
      const renewed = stepRenewal(held, event, nowMs, timing);
      return stay({ phase: 'draining', held: renewed.held, mode }, ...renewed.effects);
    }
  }
}

function stepResuming(
  state: Extract<SessionState, { phase: 'resuming' }>,
  event: SessionEvent,
  nowMs: number,
  timing: SessionTiming,
): SessionStep {
  const { held, attempt } = state;
  let { cause } = state;
  if (nowMs >= held.deadlineMs && cause !== 'silent') {
    const stops = cause === 'over' || timing.onAuthorityLoss !== 'serveFenced';
    if (stops) return giveUpResuming(state, nowMs, timing);
    cause = 'silent';
  }
  const waiting = { ...state, cause };
  switch (event.type) {
    case 'tick':
      if (state.sentAtMs !== null || nowMs < state.retryAtMs) return stay(waiting);
      return resume(held, { cause, attempt: attempt + 1, drain: state.drain }, nowMs);
    case 'session-resumed': {
      const { sessionId, refused } = event;
      const deadlineMs = deadlineOf(event, timing);
      if (nowMs >= deadlineMs) {
        // It will have to do without: the next one takes over what this one was granted.
        return resume(held, { cause, attempt: attempt + 1, drain: state.drain }, nowMs);
      }
      const next = freshlyHeld(sessionId, deadlineMs, nowMs, timing);
      const after = state.drain ? drain(next) : stay({ phase: 'live', held: next });
      return stay(
        after.state,
        { type: 'session-switched', from: held.sessionId, sessionId },
        { type: 'keep-keys', refused },
        ...after.effects,
      );
    }
    case 'session-resume-failed':
      if (event.sentAtMs !== state.sentAtMs) return stay(waiting);
      if (event.refused) return giveUpResuming({ ...state, sentAtMs: null }, nowMs, timing);
      return stay({ ...waiting, sentAtMs: null, retryAtMs: nowMs + pauseAfter(attempt) });
    case 'drain':
      return stay({ ...waiting, drain: true });
    case 'abort':
      return stay(
        { phase: 'ending', sessionId: cause === 'silent' ? held.sessionId : null },
        { type: 'lose-keys' },
      );
    default:
      return stay(waiting);
  }
}

function resume(
  held: HeldSession,
  facts: { cause: ResumeCause; attempt: number; drain: boolean },
  nowMs: number,
): SessionStep {
  return stay(
    { phase: 'resuming', held, ...facts, sentAtMs: nowMs, retryAtMs: nowMs },
    { type: 'resume-session', sessionId: held.sessionId, sentAtMs: nowMs },
  );
}

function giveUpResuming(
  { held, drain: ends, sentAtMs }: Extract<SessionState, { phase: 'resuming' }>,
  nowMs: number,
  timing: SessionTiming,
): SessionStep {
  if (ends) return stay(withoutSession, ...lost(held));
  if (sentAtMs === null) return loseAndOpen(held, nowMs);
  const retryAtMs = nowMs + timing.ttlMs;
  return stay({ phase: 'waiting', attempt: 0, retryAtMs, resumeSentAtMs: sentAtMs }, ...lost(held));
}

function answersLate(
  state: SessionState,
  { sentAtMs }: { sentAtMs: number },
): state is Extract<SessionState, { phase: 'waiting' }> {
  return state.phase === 'waiting' && state.resumeSentAtMs === sentAtMs;
}

function resumeWakeMs(state: Extract<SessionState, { phase: 'resuming' }>): number | null {
  const { sentAtMs, retryAtMs, cause, held } = state;
  const retry = sentAtMs === null ? retryAtMs : Infinity;
  const wake = Math.min(retry, cause === 'silent' ? Infinity : held.deadlineMs);
  return wake === Infinity ? null : wake;
}

/** Why the session is over for this host, null while it is not. */
function causeOfLoss(held: HeldSession, event: SessionEvent, nowMs: number): ResumeCause | null {
  if (nowMs >= held.deadlineMs) return 'silent';
  if (event.type !== 'session-renewed' || event.sessionId !== held.sessionId || event.alive) return null;
  return event.forgotten ? 'forgotten' : 'over';
}

function stepRenewal(
  held: HeldSession,
  event: SessionEvent,
  nowMs: number,
  timing: SessionTiming,
): { held: HeldSession; effects: SessionEffect[] } {
  if (event.type === 'tick') {
    const { renewalSentAtMs } = held;
    // One that stays unanswered for so long is given up on; its answer still counts if it comes in time.
    const underWay = renewalSentAtMs !== null && nowMs < renewalSentAtMs + timing.ttlMs / 3;
    if (underWay || (renewalSentAtMs === null && nowMs < held.renewAtMs)) return { held, effects: [] };
    return {
      held: { ...held, renewalSentAtMs: nowMs },
      effects: [{ type: 'renew-session', sessionId: held.sessionId, sentAtMs: nowMs }],
    };
  }
  if (event.type === 'session-renewed' && event.sessionId === held.sessionId) {
    const deadlineMs = Math.max(held.deadlineMs, deadlineOf(event, timing));
    return { held: paced({ ...held, deadlineMs }, event.sentAtMs, nowMs), effects: [] };
  }
  if (event.type === 'session-renewal-failed' && event.sessionId === held.sessionId) {
    return { held: paced(held, event.sentAtMs, nowMs), effects: [] };
  }
  return { held, effects: [] };
}

/** The next renewal comes after a third of what is left: TTL/3 while all is well, ever sooner while renewals fail. */
function paced(held: HeldSession, answeredSentAtMs: number, nowMs: number): HeldSession {
  const newest = held.renewalSentAtMs === null || held.renewalSentAtMs <= answeredSentAtMs;
  const renewAtMs = nowMs + Math.max(pauseMsMin, (held.deadlineMs - nowMs) / 3);
  return { ...held, renewAtMs, renewalSentAtMs: newest ? null : held.renewalSentAtMs };
}

function deadlineOf(grant: { sentAtMs: number; expiresInMs: number }, timing: SessionTiming): number {
  return grant.sentAtMs + Math.min(timing.ttlMs, grant.expiresInMs) - timing.marginMs;
}

function opened(
  attempt: number,
  event: Extract<SessionEvent, { type: 'session-opened' }>,
  nowMs: number,
  timing: SessionTiming,
): SessionStep {
  const deadlineMs = deadlineOf(event, timing);
  if (nowMs >= deadlineMs) {
    const next = open(attempt + 1, nowMs);
    return stay(next.state, { type: 'discard-session', sessionId: event.sessionId }, ...next.effects);
  }
  return stay({ phase: 'live', held: freshlyHeld(event.sessionId, deadlineMs, nowMs, timing) });
}

function freshlyHeld(
  sessionId: SessionId,
  deadlineMs: number,
  nowMs: number,
  timing: SessionTiming,
): HeldSession {
  const fresh = { sessionId, ttlMs: timing.ttlMs, deadlineMs, renewAtMs: nowMs, renewalSentAtMs: null };
  return paced(fresh, nowMs, nowMs);
}

function drain(held: HeldSession): SessionStep {
  return stay(
    { phase: 'draining', held, mode: 'marking' },
    { type: 'mark-draining', sessionId: held.sessionId },
  );
}

function loseAndOpen(held: HeldSession, nowMs: number): SessionStep {
  const next = open(1, nowMs);
  return stay(next.state, ...lost(held), ...next.effects);
}

function open(attempt: number, nowMs: number): SessionStep {
  return stay({ phase: 'opening', attempt, sentAtMs: nowMs }, { type: 'open-session', sentAtMs: nowMs });
}

function close(sessionId: SessionId): SessionStep {
  return stay({ phase: 'closing', sessionId }, { type: 'close-session', sessionId });
}

function lost(held: HeldSession): SessionEffect[] {
  return [{ type: 'session-lost', sessionId: held.sessionId }, { type: 'lose-keys' }];
}

function pauseAfter(attempt: number): number {
  return Math.min(retryMs.first * 2 ** (attempt - 1), retryMs.max);
}

function finished(): SessionStep {
  return stay({ phase: 'ended' }, { type: 'finished' });
}

/** Keys of a lost session may still be closing. */
const withoutSession: SessionState = { phase: 'ending', sessionId: null };

function endsWithoutSession(event: SessionEvent): boolean {
  return event.type === 'drain' || event.type === 'abort';
}
