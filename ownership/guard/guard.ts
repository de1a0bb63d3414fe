/**
 * The guard of a host: makes it serve a key only while it owns it. The decisions are in `step.ts`; here they are carried
 * out: calls to the directory, to the component, timers. Every answer comes back as an event. One that never comes
 * holds up its own key and nothing else.
 */
import {
  HoldfastError,
  type Claim,
  type Fence,
  type Holding,
  type Resource,
  type ResourceHandler,
  type ResourceKey,
  type SessionId,
} from '#core';
import { createSteadyClock } from '../steady-clock.ts';
import { createComponentCalls, type ComponentCalls, type ComponentMetrics } from './component-calls.ts';
import type {
  GuardMetrics,
  HandOffOutcome,
  HandOffRequest,
  KeyOfSession,
  OwnershipGuard,
  OwnershipGuardOptions,
} from './contract.ts';
import { createDirectoryCalls, type DirectoryCalls } from './directory-calls.ts';
import { createHanding, type Handing } from './handing.ts';
import { createReadiness, type Readiness } from './readiness.ts';
import { notOwner } from './resource.ts';
import { holds, marginOf } from './session.ts';
import {
  holdsOn,
  initialGuard,
  keysToGiveUp,
  ownsOpening,
  step,
  wakeMs,
  type GuardEffect,
  type GuardEvent,
  type GuardOptions,
} from './step.ts';

const startMs = 10_000;
const openMs = 30_000;
const letGoPollMs = 20;

export function createOwnershipGuard(options: OwnershipGuardOptions): OwnershipGuard {
  return new Guard(options);
}

class Guard implements OwnershipGuard {
  readonly #options: OwnershipGuardOptions;
  readonly #limits: GuardOptions;
  readonly #nowMs: () => number;
  readonly #readiness: Readiness;
  readonly #directory: DirectoryCalls;
  readonly #component: ComponentCalls;
  readonly #handing: Handing;
  #state = initialGuard();
  readonly #events: GuardEvent[] = [];
  #stepping = false;
  #cancelWake = () => {};
  #wakeMs: number | null = null;
  #deadlineMs: number | null = null;
  /** Since when keys are served past the deadline. */
  #fencedSinceMs: number | null = null;
  readonly #finished = Promise.withResolvers<void>();
  readonly #firstSession = Promise.withResolvers<void>();
  readonly #metrics: Omit<GuardMetrics, 'renewalFailures' | keyof ComponentMetrics> = {
    sessionsLost: 0,
    handoffs: 0,
    passivations: 0,
    resumes: 0,
    serveFencedMs: 0,
  };

  constructor(options: OwnershipGuardOptions) {
    const { ttlMs } = options.session;
    this.#options = options;
    this.#limits = {
      ttlMs,
      marginMs: marginOf(ttlMs),
      concurrency: options.concurrency,
      idleMs: options.idleMs ?? 0,
      openMs: options.openMs ?? openMs,
      onAuthorityLoss: options.onAuthorityLoss ?? 'stop',
    };
    this.#nowMs = createSteadyClock(options.system.clock);
    this.#readiness = createReadiness({
      system: options.system,
      tell: ready => this.#directory.tellReady(ready),
    });
    const dispatch = (event: GuardEvent) => this.#dispatch(event);
    this.#handing = createHanding({
      system: options.system,
      dispatch,
      findFence: key => this.#findFence(key),
    });
    this.#component = createComponentCalls({
      component: options.component,
      log: options.log,
      dispatch,
      owns: (key, openId) => this.#owns(key, openId),
      setAlarm: (key, fence, atMs) =>
        this.#underSession(sessionId =>
          options.directory.setAlarm(this.#holding(key, fence, sessionId), atMs),
        ),
    });
    this.#directory = createDirectoryCalls({
      system: options.system,
      directory: options.directory,
      session: { ...options.session, ownsResources: options.component.openResource !== undefined },
      log: options.log,
      heldSession: () => this.session?.sessionId ?? null,
      alarmOf: openId => this.#component.alarmOf(openId),
      dispatch,
    });
  }

  async start(): Promise<void> {
    const late = this.#options.system.timers.after(startMs, () => {
      if (this.#state.session.phase === 'opening' || this.#state.session.phase === 'waiting') this.abort();
    });
    this.#dispatch({ type: 'start' });
    const opened = await Promise.race([
      this.#firstSession.promise.then(() => true),
      this.#finished.promise.then(() => false),
    ]);
    late();
    if (opened) return;
    const cause = this.#directory.lastOpenError;
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'no session could be opened', { cause });
  }

  get session(): { readonly sessionId: SessionId; readonly draining: boolean } | null {
    if (!holds(this.#state.session, this.#nowMs())) this.#passDeadline();
    const { session } = this.#state;
    if (!holds(session, this.#nowMs())) return null;
    return { sessionId: session.held.sessionId, draining: session.phase === 'draining' };
  }

  get ownedKeys(): number {
    return this.#state.keys.size;
  }

  get metrics(): Readonly<GuardMetrics> {
    const { serveFencedMs } = this.#metrics;
    const fencedMs = this.#fencedSinceMs === null ? 0 : this.#nowMs() - this.#fencedSinceMs;
    return {
      ...this.#metrics,
      ...this.#component.metrics,
      serveFencedMs: serveFencedMs + fencedMs,
      renewalFailures: this.#directory.renewalFailures,
    };
  }

  get inFlight(): number {
    return this.#component.inFlight;
  }

  serve<T>(
    { key, sessionId, fence }: KeyOfSession,
    run: (handler: ResourceHandler, resource: Resource) => Promise<T>,
  ): Promise<T> {
    if (!this.#options.component.openResource) {
      this.#component.metrics.refusals++;
      return Promise.reject(notOwner(key));
    }
    const { requestId, answer } = this.#component.prepare(run);
    this.#dispatch({ type: 'request', key, requestId, sessionId, fence });
    return answer;
  }

  async open(request: KeyOfSession): Promise<void> {
    await this.serve(request, async () => {});
  }

  alarm({ atMs, ...request }: KeyOfSession & { atMs: number }): Promise<boolean> {
    return this.serve(request, async (handler, resource) => {
      if (handler.alarm) await handler.alarm();
      else
        this.#options.log.error({ key: request.key }, 'an alarm came for a handler that has no alarm method');
      // Under the fence of the opening: it may have been raised since whoever wakes it looked.
      const fence = resource.fence as Fence;
      const settled = await this.#underSession(sessionId =>
        this.#options.directory.settleAlarm(this.#holding(request.key, fence, sessionId), atMs),
      );
      if (settled) this.#component.alarmSettled(resource, atMs);
      return settled;
    });
  }

  handOff(request: HandOffRequest, signal?: AbortSignal): Promise<HandOffOutcome> {
    return this.#handing.handOff(request, signal);
  }

  handOffMany(
    { count, to }: { count: number; to: SessionId | null },
    signal?: AbortSignal,
  ): Promise<{ key: ResourceKey; claim: Claim | null }[]> {
    return this.#handing.handOffAll(keysToGiveUp(this.#state, count), to, signal);
  }

  setReady(ready: boolean): void {
    this.#readiness.set(ready);
  }

  async drain(signal?: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => {
      this.abort();
      aborted.resolve();
    };
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#dispatch({ type: 'drain' });
    try {
      await Promise.race([this.#finished.promise, aborted.promise]);
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
    if (this.#state.keys.size > 0) {
      const keys = this.#state.keys.size;
      this.#options.log.warn(
        { keys },
        'keys were not closed in time; they are free when this process has ended',
      );
    }
  }

  async letGo(): Promise<void> {
    this.#dispatch({ type: 'tick' }); // the session may be over without anything having noticed yet
    while (holdsOn(this.#state)) await this.#options.system.timers.sleep(letGoPollMs);
  }

  abort(): void {
    this.#dispatch({ type: 'abort' });
  }

  #owns(key: ResourceKey, openId: number): boolean {
    if (ownsOpening(this.#state, key, openId, this.#nowMs())) return true;
    this.#passDeadline();
    return ownsOpening(this.#state, key, openId, this.#nowMs());
  }

  /** Whoever asks may come before the timer of a deadline at which, with this setting, nothing ends. */
  #passDeadline(): void {
    if (this.#limits.onAuthorityLoss === 'serveFenced' && !this.#stepping) this.#dispatch({ type: 'tick' });
  }

  // Events in, effects out -------------------------------------------------------------------------------------------

  #dispatch(event: GuardEvent): void {
    this.#events.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      for (let next = this.#events.shift(); next; next = this.#events.shift()) {
        const nowMs = this.#nowMs();
        const { phase } = this.#state.session;
        const keys = this.#state.keys.size;
        const { state, effects } = step(this.#state, next, nowMs, this.#limits);
        this.#state = state;
        for (const effect of effects) if (effect.type !== 'close') this.#perform(effect);
        this.#noteDeadline(nowMs);
        // Last, and after the word to the watchdog: rights have ended, and closing many keys may keep the loop busy for a while.
        for (const effect of effects) if (effect.type === 'close') this.#perform(effect);
        this.#afterStep(phase, keys);
        if (next.type === 'drain') this.#options.onGiveUp?.(null);
        else if (next.type === 'hand-off' && this.#state.keys.get(next.key)?.phase === 'draining') {
          this.#options.onGiveUp?.(next.key);
        }
      }
    } finally {
      this.#stepping = false;
    }
    this.#schedule();
  }

  #afterStep(phaseBefore: string, keysBefore: number): void {
    const { session, keys } = this.#state;
    if (session.phase !== phaseBefore) {
      this.#options.log.info({ phase: session.phase }, 'session changed');
      if (session.phase === 'live') {
        this.#firstSession.resolve();
        this.#readiness.sessionOpened();
      }
      if (session.phase === 'ended') this.#readiness.stop();
    }
    if (session.phase !== phaseBefore || keys.size !== keysBefore) this.#options.onChange?.();
  }

  #noteDeadline(nowMs: number): void {
    const { session } = this.#state;
    const fenced = session.phase === 'resuming' && session.cause === 'silent';
    if (fenced) this.#fencedSinceMs ??= nowMs;
    else if (this.#fencedSinceMs !== null) {
      this.#metrics.serveFencedMs += nowMs - this.#fencedSinceMs;
      this.#fencedSinceMs = null;
    }
    const deadlineMs = !fenced && holds(session, nowMs) ? session.held.deadlineMs : null;
    if (deadlineMs === this.#deadlineMs) return;
    this.#deadlineMs = deadlineMs;
    const { marginMs } = this.#limits;
    this.#options.onDeadline?.(deadlineMs === null ? null : { inMs: deadlineMs - this.#nowMs(), marginMs });
  }

  #schedule(): void {
    const next = wakeMs(this.#state, this.#limits);
    if (next === this.#wakeMs) return;
    this.#cancelWake();
    this.#wakeMs = next;
    this.#cancelWake = () => {};
    if (next === null) return;
    this.#cancelWake = this.#options.system.timers.after(Math.max(1, next - this.#nowMs()), () => {
      this.#wakeMs = null;
      this.#dispatch({ type: 'tick' });
    });
  }

  #perform(effect: GuardEffect): void {
    switch (effect.type) {
      case 'session-lost':
        this.#metrics.sessionsLost++;
        this.#options.log.warn({ sessionId: effect.sessionId }, 'the session was lost; every key is closed');
        return;
      case 'session-switched': {
        const { from, sessionId } = effect;
        this.#metrics.resumes++;
        this.#options.log.warn({ from, sessionId }, 'the session was lost; another took its place');
        return this.#readiness.sessionOpened();
      }
      case 'passivated':
        this.#metrics.passivations += effect.count;
        return;
      case 'handed-off':
        return this.#handedOff(effect);
      case 'finished':
        return this.#finished.resolve();
      case 'reject':
      case 'end-right':
      case 'run':
      case 'open':
      case 'close':
        return this.#component.perform(effect);
      default:
        return this.#directory.perform(effect);
    }
  }

  // The directory ----------------------------------------------------------------------------------------------------

  #handedOff({ key, moved, claim }: Extract<GuardEffect, { type: 'handed-off' }>): void {
    if (moved && claim) {
      this.#metrics.handoffs++;
      this.#options.onHandedOver?.(claim);
    }
    this.#handing.ended(key, { moved, claim });
  }

  async #findFence(key: ResourceKey): Promise<Fence | null> {
    const here = this.#state.keys.get(key);
    if (here) return here.fence;
    const { directory, session } = this.#options;
    const claim = await directory.lookup(session.pool, key);
    return claim?.sessionId === this.session?.sessionId ? (claim?.fence ?? null) : null;
  }

  #holding(key: ResourceKey, fence: Fence, sessionId: SessionId): Holding {
    return { pool: this.#options.session.pool, key, fence, sessionId };
  }

  /** Asks under the session that is held, and again if another took its place meanwhile. */
  async #underSession(ask: (sessionId: SessionId) => Promise<boolean>): Promise<boolean> {
    for (let asked: SessionId | null = null; ;) {
      const sessionId = this.session?.sessionId ?? null;
      if (sessionId === null || sessionId === asked) return false;
      asked = sessionId;
      if (await ask(sessionId)) return true;
    }
  }
}
