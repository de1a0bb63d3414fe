/**
 * Keeps asking for the leader lease and tells when this manager begins and ceases to lead. Decisions: `machine.ts`. Deadlines are measured on
 * the steady clock: a machine that was suspended has lost its lease meanwhile, and so has a process that was frozen, because
 * `fence()` looks at the clock in the very instruction that asks.
 */
import { createSteadyClock, type LeaseService, type Logger, type System } from '#core';
import { following, nextAttemptMs, step, type LeadershipEvent, type LeadershipState } from './machine.ts';

export const LEADER_LEASE = 'node-manager/leader';

/** How long a manager that resigned leaves the lease to others, in times to live. */
const standBackTtls = 3;

export interface Leadership {
  /** The fence under which this manager leads at this moment, or null. Ask before every effect. */
  fence(): bigint | null;
  /** Who leads as far as is known, if not this manager. */
  holder(): string | null;
  /** Resolves after the first attempt, however it went. */
  start(): Promise<void>;
  /** A node refused this leader's mark: gives the lease back and asks for a newer one later. */
  deposed(): void;
  /** Gives the lease back, and lets others have it for a while before it asks again. Resolves when the store knows, or is away. */
  resign(): Promise<void>;
  /** Releases the lease. Idempotent. */
  stop(): Promise<void>;
}

export function createLeadership(options: {
  leases: LeaseService;
  system: System;
  log: Logger;
  /** The processId. */
  holder: string;
  ttlMs: number;
  onChange: (fence: bigint | null) => void;
}): Leadership {
  const { leases, system, log, holder, ttlMs, onChange } = options;
  const now = createSteadyClock(system.clock);
  let state: LeadershipState = following;
  let stopped = false;
  /** Grows when the lease is given back: the answer to a renewal that was sent before says nothing any more. */
  let givenBack = 0;
  let cancelAttempt = () => {};
  let cancelDeadline = () => {};
  let attempt: Promise<void> = Promise.resolve();

  function handle(event: LeadershipEvent): void {
    const before = state.kind === 'leading' ? state.fence : null;
    state = step(state, event, now(), ttlMs);
    const after = state.kind === 'leading' ? state.fence : null;
    cancelDeadline();
    if (state.kind === 'leading') {
      cancelDeadline = system.timers.after(Math.max(0, state.deadlineMs - now()), () =>
        handle({ type: 'clock' }),
      );
    }
    if (before === after) return;
    if (after === null) log.warn({ fence: String(before), reason: event.type }, 'leadership lost');
    else log.info({ fence: String(after) }, 'leadership taken');
    onChange(after);
  }

  async function ask(): Promise<void> {
    const sentAtMs = now();
    const asked = givenBack;
    let failed = false;
    try {
      const grant =
        state.kind === 'leading'
          ? await leases.renew(LEADER_LEASE, holder, state.fence, ttlMs)
          : await leases.tryAcquire(LEADER_LEASE, holder, ttlMs);
      if (stopped || asked !== givenBack) return;
      if (grant.acquired) handle({ type: 'granted', fence: grant.fence, sentAtMs });
      else handle({ type: 'refused', holder: grant.holder });
    } catch (error) {
      if (asked !== givenBack) return;
      failed = true;
      log.warn({ error: String(error) }, 'the leader lease could not be asked for');
      handle({ type: 'failed' });
    }
    if (!stopped) schedule(nextAttemptMs(state, now(), ttlMs, failed));
  }

  function schedule(ms: number): void {
    cancelAttempt();
    cancelAttempt = system.timers.after(ms, () => {
      attempt = ask();
    });
  }

  /** Nothing is done under this fence from here on. */
  function giveBack(type: 'deposed' | 'resigned', askAgainMs: number): Promise<void> {
    if (state.kind !== 'leading') return Promise.resolve();
    const { fence } = state;
    givenBack += 1;
    handle({ type });
    schedule(askAgainMs);
    return release(fence);
  }

  async function release(fence: bigint): Promise<void> {
    try {
      await leases.release(LEADER_LEASE, holder, fence);
    } catch (error) {
      log.warn({ error: String(error) }, 'the leader lease was not released and will expire');
    }
  }

  return {
    fence() {
      if (state.kind === 'leading' && now() >= state.deadlineMs) handle({ type: 'clock' });
      return state.kind === 'leading' ? state.fence : null;
    },
    holder: () => (state.kind === 'following' ? state.holder : holder),
    async start() {
      attempt = ask();
      await attempt;
    },
    deposed: () => void giveBack('deposed', ttlMs / 3),
    resign: () => giveBack('resigned', standBackTtls * ttlMs),
    async stop() {
      if (stopped) return;
      stopped = true;
      cancelAttempt();
      cancelDeadline();
      // A renewal under way would only prolong what is released next.
      await Promise.race([attempt, system.timers.sleep(1_000)]);
      const fence = state.kind === 'leading' ? state.fence : null;
      state = following;
      if (fence === null) return;
      onChange(null);
      await release(fence);
    },
  };
}
