/**
 * `hold` for any store: carries out what `hold-machine.ts` decides. Deadlines are measured on the steady clock, which counts the
 * time that the machine was suspended.
 *
 * A frozen process cannot abort anything. So the work's signal also looks at the clock whenever it is asked whether it is aborted: what
 * checks it before an effect is right in the very first instruction after waking, before any timer has run.
 */
import {
  createSteadyClock,
  HoldfastError,
  type HoldOptions,
  type HoldOutcome,
  type LeaseGrant,
  type LeaseService,
  type System,
} from '#core';
import {
  beginHold,
  holdWakeMs,
  leaseMarginMs,
  stepHold,
  type HoldEffect,
  type HoldEnd,
  type HoldEvent,
  type HoldState,
  type HoldStep,
  type HoldTiming,
} from './hold-machine.ts';
import { createHolderRegistry, type HolderTurn } from './holder-registry.ts';
import { checkHoldArguments } from './validation.ts';

/** The operations of a lease service that `hold` is made of. */
export type LeasePrimitives = Pick<LeaseService, 'tryAcquire' | 'renew' | 'release' | 'inspect' | 'watch'>;

/** Makes `LeaseService.hold`. One for each service: what it remembers of earlier holdings belongs to that service. */
export function createHold(ports: { primitives: LeasePrimitives; system: System }): LeaseService['hold'] {
  const registry = createHolderRegistry();
  const now = createSteadyClock(ports.system.clock);
  return async (name, options, work) => {
    checkHoldArguments(name, options);
    const turn = registry.enter(name, options.holder);
    try {
      return await runHold({ ...ports, now, name, options, turn }, work);
    } finally {
      turn.end();
    }
  };
}

interface HoldContext {
  primitives: LeasePrimitives;
  system: System;
  now: () => number;
  name: string;
  options: HoldOptions;
  turn: HolderTurn;
}

type Work<T> = (signal: AbortSignal, lease: { readonly fence: bigint }) => Promise<T>;

async function runHold<T>(context: HoldContext, work: Work<T>): Promise<HoldOutcome<T>> {
  const { primitives, system, now, name, options, turn } = context;
  const { holder, ttlMs, waitMs = 0, signal } = options;
  const timing: HoldTiming = { ttlMs, marginMs: leaseMarginMs(ttlMs) };
  const ended = Promise.withResolvers<HoldEnd>();
  const controller = new AbortController();
  let state: HoldState;
  let worked: Promise<T> | null = null;
  let lastError: unknown;
  let cancelTimer = () => {};
  let unwatch: (() => void) | null = null;

  const onCancel = () => {
    handle({ type: 'cancel' });
    controller.abort(signal!.reason);
  };

  function handle(event: HoldEvent): void {
    apply(stepHold(state, event, now(), timing));
  }

  function apply(step: HoldStep): void {
    ({ state } = step);
    step.effects.forEach(carryOut);
    cancelTimer();
    const wakeMs = holdWakeMs(state, timing);
    // Whoever awaits `hold` wants the process to live; nothing else may keep it alive.
    if (wakeMs !== null) {
      const tick = () => handle({ type: 'tick' });
      cancelTimer = system.timers.after(Math.max(0, Math.ceil(wakeMs - now())), tick, { keepAlive: true });
    }
    const contended = state.phase === 'waiting' && state.refusal !== null;
    if (contended && !unwatch) {
      unwatch = primitives.watch(name, found => {
        if (found === null || found.holder === holder) handle({ type: 'vacant' });
      });
    } else if (!contended && unwatch) {
      unwatch();
      unwatch = null;
    }
    if (state.phase === 'ended') ended.resolve(state.outcome);
  }

  function carryOut(effect: HoldEffect): void {
    switch (effect.type) {
      case 'acquire':
        return void acquire(effect.sentAtMs);
      case 'renew':
        return void renew(effect.fence, effect.sentAtMs);
      case 'release':
        return void release(effect.fence);
      case 'start-work':
        return start(effect.fence);
      case 'abort-work':
        return controller.abort(lost(name, effect.cause));
    }
  }

  async function acquire(sentAtMs: number): Promise<void> {
    try {
      const grant = turn.take() ? await primitives.tryAcquire(name, holder, ttlMs) : await askWhose();
      const { fence, expiresInMs } = grant;
      if (grant.acquired) {
        const spent = turn.isSpent(grant.fence);
        handle({ type: 'acquire-granted', sentAtMs, fence: grant.fence, expiresInMs, spent });
      } else {
        handle({
          type: 'acquire-refused',
          sentAtMs,
          refusal: { fence, expiresInMs, holder: grant.holder },
        });
      }
    } catch (error) {
      lastError = error;
      handle({ type: 'acquire-failed', sentAtMs });
    }
  }

  /** Another holding of this holder is under way in this process: for the store it would be the same one. */
  async function askWhose(): Promise<LeaseGrant> {
    const found = await primitives.inspect(name);
    return found ? { ...found, acquired: false } : { acquired: false, fence: null, expiresInMs: 0, holder };
  }

  async function renew(fence: bigint, sentAtMs: number): Promise<void> {
    try {
      const grant = await primitives.renew(name, holder, fence, ttlMs);
      if (grant.acquired) handle({ type: 'renewal-granted', sentAtMs, expiresInMs: grant.expiresInMs });
      else handle({ type: 'renewal-refused' });
    } catch {
      // The deadline stands; the machine tries again while it can.
      handle({ type: 'renewal-failed', sentAtMs });
    }
  }

  async function release(fence: bigint): Promise<void> {
    turn.spend(fence);
    try {
      await primitives.release(name, holder, fence);
      turn.forget(fence);
      handle({ type: 'released', fence });
    } catch {
      // Unknown whether it was executed: the lease ends by its time, and the fence is not used again.
      handle({ type: 'release-failed', fence });
    }
  }

  function start(fence: bigint): void {
    checkClockWhenRead(controller.signal, () => handle({ type: 'tick' }));
    worked = Promise.resolve().then(() => work(controller.signal, { fence }));
    const end = () => handle({ type: 'work-ended' });
    worked.then(end, end);
  }

  signal?.addEventListener('abort', onCancel, { once: true });
  try {
    if (signal?.aborted) return { acquired: false, fence: null, expiresInMs: 0, holder: null };
    apply(beginHold(now(), waitMs));
    return await outcomeOf(await ended.promise);
  } finally {
    signal?.removeEventListener('abort', onCancel);
  }

  async function outcomeOf(end: HoldEnd): Promise<HoldOutcome<T>> {
    switch (end.type) {
      case 'worked':
        return {
          acquired: true,
          value: await worked!,
          fence: end.fence,
          heldToTheEnd: end.heldToTheEnd,
        };
      case 'contended':
        return { acquired: false, ...end.refusal };
      case 'cancelled':
        return { acquired: false, fence: null, expiresInMs: 0, holder: null };
      case 'unreachable': {
        if (lastError instanceof HoldfastError) throw lastError;
        const text = `the lease ${name} could not be asked for`;
        throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', text, { cause: lastError });
      }
    }
  }
}

function lost(name: string, cause: 'deadline' | 'refused'): HoldfastError {
  const why = cause === 'refused' ? 'is no longer held, says the store' : 'could not be renewed in time';
  return new HoldfastError('HF_LEASE_LOST', `the lease ${name} ${why}`, { details: { name, cause } });
}

/** Makes every look at the signal run `check` first. The object stays a real signal, for whatever takes one. */
function checkClockWhenRead(signal: AbortSignal, check: () => void): void {
  const { prototype } = AbortSignal;
  const isAborted = Object.getOwnPropertyDescriptor(prototype, 'aborted')!.get!;
  const { throwIfAborted } = prototype;
  Object.defineProperties(signal, {
    aborted: {
      get(): boolean {
        check();
        return isAborted.call(signal) as boolean;
      },
    },
    throwIfAborted: {
      value(): void {
        check();
        throwIfAborted.call(signal);
      },
    },
  });
}
