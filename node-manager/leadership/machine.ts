/**
 * Whether this manager leads. A leader trusts its lease only until `deadlineMs`, counted on its own monotonic clock from
 * *before* the renewal was sent, less a margin: so it has stopped before the store can give the lease to another.
 *
 *   following --granted--> leading --(deadline passed | refused | deposed | resigned)--> following
 *                          leading --failed--> leading (it tries again, until the deadline)
 */
export type LeadershipState =
  { kind: 'following'; holder: string | null } | { kind: 'leading'; fence: bigint; deadlineMs: number };

export type LeadershipEvent =
  /** The store gave or extended the lease; the request was sent at `sentAtMs`. */
  | { type: 'granted'; fence: bigint; sentAtMs: number }
  /** Somebody else has it (or nobody, and not we). */
  | { type: 'refused'; holder: string | null }
  /** The store could not be asked. */
  | { type: 'failed' }
  /** A node has seen a newer leader. */
  | { type: 'deposed' }
  /** It gives the lease back of its own will. */
  | { type: 'resigned' }
  | { type: 'clock' };

export const following: LeadershipState = { kind: 'following', holder: null };

export function step(
  state: LeadershipState,
  event: LeadershipEvent,
  nowMs: number,
  ttlMs: number,
): LeadershipState {
  const current = state.kind === 'leading' && nowMs >= state.deadlineMs ? following : state;
  switch (event.type) {
    case 'granted': {
      const deadlineMs = event.sentAtMs + ttlMs - marginMs(ttlMs);
      return nowMs < deadlineMs ? { kind: 'leading', fence: event.fence, deadlineMs } : following;
    }
    case 'refused':
      return { kind: 'following', holder: event.holder };
    case 'deposed':
    case 'resigned':
      return following;
    case 'failed':
    case 'clock':
      return current;
  }
}

/** When to ask the store next: a third of the time to live in good days, sooner as the deadline comes near. */
export function nextAttemptMs(state: LeadershipState, nowMs: number, ttlMs: number, failed: boolean): number {
  if (state.kind === 'following') return ttlMs / 3;
  const headroomMs = Math.max(0, state.deadlineMs - nowMs);
  return failed ? Math.min(ttlMs / 10, headroomMs / 3) : Math.min(ttlMs / 3, headroomMs / 2);
}

/** Covers the difference of clock rates and the time from a check to its effect. */
function marginMs(ttlMs: number): number {
  return ttlMs / 10;
}
