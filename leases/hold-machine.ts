/**
 * `hold`, as a pure machine: when to ask, when to renew, when the lease must count as lost. Data in, data out, no clock of its own.
 *
 * ```
 *            granted                    work-ended             settled
 *  waiting ───────────▶ held ─────────────────────▶ releasing ─────────▶ ended
 *   ▲ │ │                 │ deadline, or refused                           ▲
 *   │ │ │ granted, but    └───────▶ lost ── work-ended ────────────────────┤
 *   │ │ ▼ not usable                                                       │
 *   │ │ discarding ── settled, and time is up ─────────────────────────────┤
 *   └─┼───┘ settled                                                        │
 *     └── time is up, or cancelled; nothing is under way ──────────────────┘
 * ```
 *
 * What must hold:
 * - The deadline counts from *before* the call was sent that the store granted, less a margin. So it passes before the
 *   lease can end in the store, and it never moves back.
 * - Nothing revives a holding whose deadline has passed, not even a renewal that was granted and whose answer comes then.
 * - A renewal that fails or stays unanswered changes nothing: the deadline stands.
 * - One `acquire` is under way at a time, and one that was given up on counts for nothing: its late answer is not acted upon.
 * - No work runs under a `spent` fence: one of an earlier holding whose release stayed without an answer, and so may
 *   still be executed. Such a grant is discarded until the store gives a higher one.
 */

export interface HoldTiming {
  readonly ttlMs: number;
  /** How much earlier than the store the holder stops. */
  readonly marginMs: number;
}

/** Whose the lease is, as the store said when it refused. */
export interface LeaseRefusal {
  readonly fence: bigint | null;
  readonly expiresInMs: number;
  readonly holder: string | null;
}

/** How the time before a holding went, for the answer if there is none. */
interface Waiting {
  /** When to ask for the last time; minus infinity once cancelled. */
  readonly giveUpAtMs: number;
  readonly cancelled: boolean;
  readonly failures: number;
  readonly refusal: LeaseRefusal | null;
}

export type HoldState =
  /** `sentAtMs`: when the `acquire` under way was sent, null while there is none. Then `vacant` is a hint that came since. */
  | ({
      readonly phase: 'waiting';
      readonly askAtMs: number;
      readonly sentAtMs: number | null;
      readonly vacant: boolean;
    } & Waiting)
  /** A grant that cannot be used is given back; `spent`: because of its fence, and not because it came too late. */
  | ({
      readonly phase: 'discarding';
      readonly fence: bigint;
      readonly sentAtMs: number;
      readonly spent: boolean;
    } & Waiting)
  | {
      readonly phase: 'held';
      readonly fence: bigint;
      readonly deadlineMs: number;
      readonly renewAtMs: number;
      /** When the renewal under way was sent, null while there is none. */
      readonly renewalSentAtMs: number | null;
    }
  /** The work was told to stop and is still running. */
  | { readonly phase: 'lost'; readonly fence: bigint; readonly cause: 'deadline' | 'refused' }
  | { readonly phase: 'releasing'; readonly fence: bigint; readonly untilMs: number }
  | { readonly phase: 'ended'; readonly outcome: HoldEnd };

export type HoldEnd =
  | { readonly type: 'worked'; readonly fence: bigint; readonly heldToTheEnd: boolean }
  | { readonly type: 'contended'; readonly refusal: LeaseRefusal }
  /** Cancelled before any answer came. */
  | { readonly type: 'cancelled' }
  /** Every attempt failed. */
  | { readonly type: 'unreachable' };

export type HoldEvent =
  /** Time has passed. */
  | { readonly type: 'tick' }
  | {
      readonly type: 'acquire-granted';
      readonly sentAtMs: number;
      readonly fence: bigint;
      readonly expiresInMs: number;
      /** It is the fence of an earlier holding whose release may still be executed. */
      readonly spent: boolean;
    }
  | { readonly type: 'acquire-refused'; readonly sentAtMs: number; readonly refusal: LeaseRefusal }
  | { readonly type: 'acquire-failed'; readonly sentAtMs: number }
  /** The store says that the lease may be free. */
  | { readonly type: 'vacant' }
  | { readonly type: 'renewal-granted'; readonly sentAtMs: number; readonly expiresInMs: number }
  | { readonly type: 'renewal-refused' }
  | { readonly type: 'renewal-failed'; readonly sentAtMs: number }
  | { readonly type: 'released'; readonly fence: bigint }
  | { readonly type: 'release-failed'; readonly fence: bigint }
  | { readonly type: 'work-ended' }
  /** The caller does not want it any more. */
  | { readonly type: 'cancel' };

export type HoldEffect =
  | { readonly type: 'acquire'; readonly sentAtMs: number }
  | { readonly type: 'renew'; readonly fence: bigint; readonly sentAtMs: number }
  | { readonly type: 'release'; readonly fence: bigint }
  | { readonly type: 'start-work'; readonly fence: bigint }
  /** The lease is lost: abort the work's signal. */
  | { readonly type: 'abort-work'; readonly cause: 'deadline' | 'refused' };

export interface HoldStep {
  readonly state: HoldState;
  readonly effects: readonly HoldEffect[];
}

/**
 * The usual margin: 5 % for clocks of different rates, and 20 ms for the boot clock's tick of 10 ms and the way from a check
 * to its effect.
 */
export const leaseMarginMs = (ttlMs: number): number => 20 + ttlMs * 0.05;

const pauseMs = { min: 20, firstFailure: 50, max: 1_000 };

const stay = (state: HoldState, ...effects: HoldEffect[]): HoldStep => ({ state, effects });

export function beginHold(nowMs: number, waitMs: number): HoldStep {
  return ask({ giveUpAtMs: nowMs + waitMs, cancelled: false, failures: 0, refusal: null }, nowMs);
}

export function stepHold(state: HoldState, event: HoldEvent, nowMs: number, timing: HoldTiming): HoldStep {
  switch (state.phase) {
    case 'waiting':
      return stepWaiting(state, event, nowMs, timing);
    case 'discarding':
      return stepDiscarding(state, event, nowMs, timing);
    case 'held':
      return stepHeld(state, event, nowMs, timing);
    case 'lost': {
      if (event.type !== 'work-ended') return stay(state);
      const { fence, cause } = state;
      const end = stay({ phase: 'ended', outcome: { type: 'worked', fence, heldToTheEnd: false } });
      // The store may have the lease still; nobody waits for the answer, because it may well be out of reach.
      return cause === 'deadline' ? { ...end, effects: [{ type: 'release', fence }] } : end;
    }
    case 'releasing': {
      const { fence } = state;
      const answered = event.type === 'released' || event.type === 'release-failed';
      const settled = answered ? event.fence === fence : nowMs >= state.untilMs;
      if (!settled) return stay(state);
      return stay({ phase: 'ended', outcome: { type: 'worked', fence, heldToTheEnd: true } });
    }
    case 'ended':
      return stay(state);
  }
}

/** When the machine wants a `tick`, null if never. */
export function holdWakeMs(state: HoldState, timing: HoldTiming): number | null {
  switch (state.phase) {
    case 'waiting':
      if (state.sentAtMs !== null) return state.sentAtMs + timing.ttlMs;
      return state.askAtMs;
    case 'discarding':
      return state.sentAtMs + timing.ttlMs;
    case 'held': {
      const { deadlineMs, renewAtMs, renewalSentAtMs } = state;
      return Math.min(deadlineMs, renewalSentAtMs === null ? renewAtMs : renewalSentAtMs + timing.ttlMs / 3);
    }
    case 'releasing':
      return state.untilMs;
    case 'lost':
    case 'ended':
      return null;
  }
}

function stepWaiting(
  state: Extract<HoldState, { phase: 'waiting' }>,
  event: HoldEvent,
  nowMs: number,
  timing: HoldTiming,
): HoldStep {
  const { sentAtMs } = state;
  switch (event.type) {
    case 'acquire-granted': {
      if (event.sentAtMs !== sentAtMs) return stay(state);
      const deadlineMs = deadlineOf(event, timing);
      const { fence, spent } = event;
      if (nowMs >= deadlineMs || spent || state.cancelled) {
        return stay(
          { ...waitingOf(state), phase: 'discarding', fence, sentAtMs: nowMs, spent },
          { type: 'release', fence },
        );
      }
      const renewAtMs = renewalTime(deadlineMs, nowMs);
      return stay(
        { phase: 'held', fence, deadlineMs, renewAtMs, renewalSentAtMs: null },
        { type: 'start-work', fence },
      );
    }
    case 'acquire-refused': {
      if (event.sentAtMs !== sentAtMs) return stay(state);
      const { refusal } = event;
      return pause({ ...state, refusal, failures: 0 }, nowMs, state.vacant ? 0 : refusal.expiresInMs + 1);
    }
    case 'acquire-failed':
      return event.sentAtMs === sentAtMs ? failed(state, nowMs) : stay(state);
    case 'vacant':
      return sentAtMs === null ? ask(waitingOf(state), nowMs) : stay({ ...state, vacant: true });
    case 'cancel': {
      const next = { ...state, ...cancelled(state) };
      return sentAtMs === null ? giveUp(next) : stay(next);
    }
    case 'tick':
      // By then no grant could be of use any more.
      if (sentAtMs !== null) return nowMs >= sentAtMs + timing.ttlMs ? failed(state, nowMs) : stay(state);
      return nowMs >= state.askAtMs ? ask(waitingOf(state), nowMs) : stay(state);
    default:
      return stay(state);
  }
}

function stepDiscarding(
  state: Extract<HoldState, { phase: 'discarding' }>,
  event: HoldEvent,
  nowMs: number,
  timing: HoldTiming,
): HoldStep {
  if (event.type === 'cancel') return stay({ ...state, ...cancelled(state) });
  if (event.type === 'released' && event.fence === state.fence) {
    if (state.cancelled) return giveUp(state);
    return state.spent ? ask(waitingOf(state), nowMs) : failed(state, nowMs);
  }
  const gaveNoAnswer =
    (event.type === 'release-failed' && event.fence === state.fence) ||
    nowMs >= state.sentAtMs + timing.ttlMs;
  return gaveNoAnswer ? failed(state, nowMs) : stay(state);
}

function stepHeld(
  state: Extract<HoldState, { phase: 'held' }>,
  event: HoldEvent,
  nowMs: number,
  timing: HoldTiming,
): HoldStep {
  const { fence, deadlineMs, renewalSentAtMs } = state;
  if (nowMs >= deadlineMs || event.type === 'renewal-refused') {
    const cause = event.type === 'renewal-refused' ? 'refused' : 'deadline';
    const lost: HoldState = { phase: 'lost', fence, cause };
    const abort: HoldEffect = { type: 'abort-work', cause };
    if (event.type !== 'work-ended') return stay(lost, abort);
    const ended = stepHold(lost, event, nowMs, timing);
    return { ...ended, effects: [abort, ...ended.effects] };
  }
  switch (event.type) {
    case 'tick': {
      // One that stays unanswered for so long is given up on; its answer still counts if it comes in time.
      const underWay = renewalSentAtMs !== null && nowMs < renewalSentAtMs + timing.ttlMs / 3;
      if (underWay || (renewalSentAtMs === null && nowMs < state.renewAtMs)) return stay(state);
      return stay({ ...state, renewalSentAtMs: nowMs }, { type: 'renew', fence, sentAtMs: nowMs });
    }
    case 'renewal-granted':
      return stay(
        paced({ ...state, deadlineMs: Math.max(deadlineMs, deadlineOf(event, timing)) }, event, nowMs),
      );
    case 'renewal-failed':
      return stay(paced(state, event, nowMs));
    case 'work-ended':
      return stay({ phase: 'releasing', fence, untilMs: deadlineMs }, { type: 'release', fence });
    default:
      return stay(state);
  }
}

/** The next renewal comes after a third of what is left: TTL/3 while all is well, ever sooner while renewals fail. */
function renewalTime(deadlineMs: number, nowMs: number): number {
  return nowMs + Math.max(pauseMs.min, (deadlineMs - nowMs) / 3);
}

function paced(
  held: Extract<HoldState, { phase: 'held' }>,
  answered: { sentAtMs: number },
  nowMs: number,
): HoldState {
  const newest = held.renewalSentAtMs === null || held.renewalSentAtMs <= answered.sentAtMs;
  return {
    ...held,
    renewAtMs: renewalTime(held.deadlineMs, nowMs),
    renewalSentAtMs: newest ? null : held.renewalSentAtMs,
  };
}

function deadlineOf(grant: { sentAtMs: number; expiresInMs: number }, timing: HoldTiming): number {
  return grant.sentAtMs + Math.min(timing.ttlMs, grant.expiresInMs) - timing.marginMs;
}

function ask(waiting: Waiting, nowMs: number): HoldStep {
  return stay(
    { ...waiting, phase: 'waiting', askAtMs: nowMs, sentAtMs: nowMs, vacant: false },
    { type: 'acquire', sentAtMs: nowMs },
  );
}

function failed(state: Waiting, nowMs: number): HoldStep {
  const failures = state.failures + 1;
  return pause({ ...state, failures }, nowMs, pauseMs.firstFailure * 2 ** Math.min(failures - 1, 10));
}

/** Asks again after a time, at the latest when the time to wait is over; gives up when it is over now. */
function pause(state: Waiting, nowMs: number, ms: number): HoldStep {
  const waiting = waitingOf(state);
  if (nowMs >= waiting.giveUpAtMs) return giveUp(waiting);
  const pausedUntilMs = nowMs + Math.min(Math.max(ms, pauseMs.min), pauseMs.max);
  const askAtMs = Math.min(pausedUntilMs, waiting.giveUpAtMs);
  return stay({ ...waiting, phase: 'waiting', askAtMs, sentAtMs: null, vacant: false });
}

function giveUp(state: Waiting): HoldStep {
  const { refusal } = state;
  if (refusal) return stay({ phase: 'ended', outcome: { type: 'contended', refusal } });
  const type = state.cancelled || state.failures === 0 ? 'cancelled' : 'unreachable';
  return stay({ phase: 'ended', outcome: { type } });
}

function cancelled(state: Waiting): Waiting {
  return { ...waitingOf(state), giveUpAtMs: Number.NEGATIVE_INFINITY, cancelled: true };
}

function waitingOf({ giveUpAtMs, cancelled, failures, refusal }: Waiting): Waiting {
  return { giveUpAtMs, cancelled, failures, refusal };
}
