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
 * ```
 *
 * What must hold:
 * - The local deadline counts from *before* the request that the directory granted was sent, less a margin. So it passes
 *   before the session can expire there, and it never moves back.
 * - Nothing brings a session back whose deadline has passed, not even an answer to a renewal that comes then.
 * - A renewal that fails or stays unanswered changes nothing: the deadline stands.
 * - The session is closed in the directory only after everything that was open under it has been closed.
 */
import type { SessionId } from '#core';

/** A session as the host believes in it. */
export interface HeldSession {
  readonly sessionId: SessionId;
  readonly ttlMs: number;
  /** When the host stops by itself. */
  readonly deadlineMs: number;
  readonly renewAtMs: number;
  /** When the renewal under way was sent, null while there is none. */
  readonly renewalSentAtMs: number | null;
}

export type SessionState =
  | { readonly phase: 'idle' }
  | { readonly phase: 'opening'; readonly attempt: number; readonly sentAtMs: number }
  | { readonly phase: 'waiting'; readonly attempt: number; readonly retryAtMs: number }
  | { readonly phase: 'live'; readonly held: HeldSession }
  /** `marking`: the directory is being told. `releasing`: keys are handed back one by one. `closing`: closed, not handed back. */
  | {
      readonly phase: 'draining';
      readonly held: HeldSession;
      readonly mode: 'marking' | 'releasing' | 'closing';
    }
  /** Everything is being closed at once. `sessionId` is null when the session is over anyway. */
  | { readonly phase: 'ending'; readonly sessionId: SessionId | null }
  | { readonly phase: 'closing'; readonly sessionId: SessionId }
  | { readonly phase: 'ended' };

export type SessionEvent =
  | { readonly type: 'start' }
  /** Time has passed; also sent before every other event. */
  | { readonly type: 'tick' }
  | {
      readonly type: 'session-opened';
      readonly sessionId: SessionId;
      readonly sentAtMs: number;
      readonly expiresInMs: number;
    }
  | { readonly type: 'session-open-failed'; readonly sentAtMs: number }
  | {
      readonly type: 'session-renewed';
      readonly sessionId: SessionId;
      readonly sentAtMs: number;
      readonly alive: boolean;
      readonly expiresInMs: number;
    }
  | { readonly type: 'session-renewal-failed'; readonly sessionId: SessionId; readonly sentAtMs: number }
  | { readonly type: 'drain' }
  /** The directory's answer to marking; `alive` null when it gave none. */
  | { readonly type: 'session-marked'; readonly sessionId: SessionId; readonly alive: boolean | null }
  /** No key is left. */
  | { readonly type: 'emptied' }
  /** Closing it in the directory was answered, or failed: then it expires by itself. */
  | { readonly type: 'session-closed'; readonly sessionId: SessionId }
  | { readonly type: 'abort' };

export type SessionEffect =
  | { readonly type: 'open-session'; readonly sentAtMs: number }
  | { readonly type: 'renew-session'; readonly sessionId: SessionId; readonly sentAtMs: number }
  | { readonly type: 'mark-draining'; readonly sessionId: SessionId }
  | { readonly type: 'close-session'; readonly sessionId: SessionId }
  /** A session that was granted too late to be used: nothing was opened under it. */
  | { readonly type: 'discard-session'; readonly sessionId: SessionId }
  /** To the keys: nothing is owned any more. */
  | { readonly type: 'lose-keys' }
  /** To the keys: finish, close, and hand back if `release`. */
  | { readonly type: 'drain-keys'; readonly release: boolean }
  | { readonly type: 'session-lost'; readonly sessionId: SessionId }
  | { readonly type: 'finished' };

export interface SessionTiming {
  readonly ttlMs: number;
  /** How much earlier than the directory the host stops. */
  readonly marginMs: number;
}

/**
 * The usual margin: 5 % for clocks of different rates, and 20 ms for the boot clock's tick of 10 ms and the way from a check
 * to its effect.
 */
export const marginOf = (ttlMs: number): number => 20 + ttlMs * 0.05;

const pauseMsMin = 20;
const retryMs = { first: 50, max: 1_000 };

export interface SessionStep {
  readonly state: SessionState;
  readonly effects: readonly SessionEffect[];
}

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
  switch (state.phase) {
    case 'idle':
      if (event.type === 'start') return open(1, nowMs);
      return endsWithoutSession(event) ? stay(withoutSession) : stay(state);
    case 'opening':
      if (event.type === 'session-opened') return opened(state.attempt, event, nowMs, timing);
      if (event.type === 'session-open-failed' && event.sentAtMs === state.sentAtMs) {
        const retryAtMs = nowMs + Math.min(retryMs.first * 2 ** (state.attempt - 1), retryMs.max);
        return stay({ phase: 'waiting', attempt: state.attempt, retryAtMs });
      }
      return endsWithoutSession(event) ? stay(withoutSession) : stay(state);
    case 'waiting':
      if (event.type === 'tick' && nowMs >= state.retryAtMs) return open(state.attempt + 1, nowMs);
      return endsWithoutSession(event) ? stay(withoutSession) : stay(state);
    case 'live':
      return stepLive(state, event, nowMs, timing);
    case 'draining':
      return stepDraining(state, event, nowMs, timing);
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
  return (state.phase === 'live' || state.phase === 'draining') && nowMs < state.held.deadlineMs;
}

/** When the machine wants a `tick`, null if never. */
export function sessionWakeMs(state: SessionState, timing: SessionTiming): number | null {
  if (state.phase === 'waiting') return state.retryAtMs;
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
  if (isOver(held, event, nowMs)) {
    const next = open(1, nowMs);
    return stay(next.state, ...lost(held), ...next.effects);
  }
  switch (event.type) {
    case 'drain':
      return stay(
        { phase: 'draining', held, mode: 'marking' },
        { type: 'mark-draining', sessionId: held.sessionId },
      );
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
  if (gone || isOver(held, event, nowMs)) return stay({ phase: 'ending', sessionId: null }, ...lost(held));
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

function isOver(held: HeldSession, event: SessionEvent, nowMs: number): boolean {
  if (nowMs >= held.deadlineMs) return true;
  return event.type === 'session-renewed' && event.sessionId === held.sessionId && !event.alive;
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
  const { sessionId } = event;
  const fresh = { sessionId, ttlMs: timing.ttlMs, deadlineMs, renewAtMs: nowMs, renewalSentAtMs: null };
  return stay({ phase: 'live', held: paced(fresh, nowMs, nowMs) });
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

function finished(): SessionStep {
  return stay({ phase: 'ended' }, { type: 'finished' });
}

/** Keys of a lost session may still be closing. */
const withoutSession: SessionState = { phase: 'ending', sessionId: null };

function endsWithoutSession(event: SessionEvent): boolean {
  return event.type === 'drain' || event.type === 'abort';
}
