/**
 * The guard of a host: makes it serve a key only while it owns it. The decisions are in `step.ts`; here they are carried
 * out: calls to the directory, to the component, timers. Every answer comes back as an event. One that never comes
 * holds up its own key and nothing else.
 */
import {
  HoldfastError,
  type Fence,
  type Resource,
  type ResourceHandler,
  type ResourceKey,
  type SessionId,
} from '#core';
import { createSteadyClock } from '../steady-clock.ts';
import type { GuardMetrics, OwnershipGuard, OwnershipGuardOptions } from './contract.ts';
import { createDirectoryCalls, type DirectoryCalls } from './directory-calls.ts';
import { createReadiness, type Readiness } from './readiness.ts';
import { createOpenResource, fenceOfRefusal, notOwner, type OpenResource } from './resource.ts';
import { holds, marginOf } from './session.ts';
import {
  holdsOn,
  initialGuard,
  ownsOpening,
  step,
  wakeMs,
  type GuardEffect,
  type GuardEvent,
  type GuardOptions,
} from './step.ts';

const startMs = 10_000;
const letGoPollMs = 20;

export function createOwnershipGuard(options: OwnershipGuardOptions): OwnershipGuard {
  return new Guard(options);
}

interface Pending {
  run: (handler: ResourceHandler, resource: Resource) => Promise<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

class Guard implements OwnershipGuard {
  readonly #options: OwnershipGuardOptions;
  readonly #limits: GuardOptions;
  readonly #nowMs: () => number;
  readonly #readiness: Readiness;
  readonly #directory: DirectoryCalls;
  #state = initialGuard();
  readonly #events: GuardEvent[] = [];
  #stepping = false;
  #cancelWake = () => {};
  #wakeMs: number | null = null;
  readonly #opened = new Map<number, OpenResource>();
  readonly #pending = new Map<number, Pending>();
  #lastRequestId = 0;
  #inFlight = 0;
  readonly #finished = Promise.withResolvers<void>();
  readonly #firstSession = Promise.withResolvers<void>();
  readonly #metrics: Omit<GuardMetrics, 'renewalFailures'> = {
    overruns: 0,
    opens: 0,
    openFailures: 0,
    closeFailures: 0,
    refusals: 0,
    sessionsLost: 0,
  };

  constructor(options: OwnershipGuardOptions) {
    const { ttlMs } = options.session;
    this.#options = options;
    this.#limits = { ttlMs, marginMs: marginOf(ttlMs), concurrency: options.concurrency };
    this.#nowMs = createSteadyClock(options.system.clock);
    this.#readiness = createReadiness({
      system: options.system,
      tell: ready => this.#directory.tellReady(ready),
    });
    this.#directory = createDirectoryCalls({
      directory: options.directory,
      session: { ...options.session, ownsResources: options.component.openResource !== undefined },
      log: options.log,
      heldSession: () => this.session?.sessionId ?? null,
      dispatch: event => this.#dispatch(event),
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
    const { session } = this.#state;
    if (!holds(session, this.#nowMs())) return null;
    return { sessionId: session.held.sessionId, draining: session.phase === 'draining' };
  }

  get ownedKeys(): number {
    return this.#state.keys.size;
  }

  get metrics(): Readonly<GuardMetrics> {
    return { ...this.#metrics, renewalFailures: this.#directory.renewalFailures };
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  serve<T>(
    { key, sessionId, fence }: { key: ResourceKey; sessionId: SessionId; fence: Fence },
    run: (handler: ResourceHandler, resource: Resource) => Promise<T>,
  ): Promise<T> {
    if (!this.#options.component.openResource) {
      this.#metrics.refusals++;
      return Promise.reject(notOwner(key));
    }
    return new Promise<T>((resolve, reject) => {
      const requestId = ++this.#lastRequestId;
      this.#pending.set(requestId, { run, resolve: value => resolve(value as T), reject });
      this.#dispatch({ type: 'request', key, requestId, sessionId, fence });
    });
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
        for (const effect of effects) this.#perform(effect);
        this.#afterStep(phase, keys);
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
      case 'finished':
        return this.#finished.resolve();
      case 'reject':
        return this.#reject(effect);
      case 'end-right':
        return this.#opened.get(effect.openId)?.right.abort(notOwner(effect.key));
      case 'run':
        return void this.#run(effect);
      case 'open':
        return void this.#open(effect);
      case 'close':
        return void this.#close(effect);
      default:
        return this.#directory.perform(effect);
    }
  }

  // The component ----------------------------------------------------------------------------------------------------

  async #open(effect: Extract<GuardEffect, { type: 'open' }>): Promise<void> {
    const { key, openId, fence, hadOwner } = effect;
    const { component, log } = this.#options;
    const opening = createOpenResource({ key, fence, hadOwner }, () =>
      ownsOpening(this.#state, key, openId, this.#nowMs()),
    );
    this.#opened.set(openId, opening);
    this.#metrics.opens++;
    let event: GuardEvent;
    try {
      opening.handler = await component.openResource!(opening.resource);
      event = { type: 'opened', key, openId };
    } catch (error) {
      opening.right.abort(notOwner(key));
      this.#opened.delete(openId);
      const held = fenceOfRefusal(error);
      if (held === null) {
        this.#metrics.openFailures++;
        log.error({ err: error, key, fence: fence.toString() }, 'the resource could not be opened');
        event = { type: 'failed', key, openId, error: openFailure(key, error) };
      } else {
        log.warn(
          { key, fence: fence.toString(), held: held.toString() },
          'the resource has seen a higher fence',
        );
        event = { type: 'open-fenced', key, openId, held, error };
      }
    }
    this.#dispatch(event);
  }

  async #close({ key, openId }: Extract<GuardEffect, { type: 'close' }>): Promise<void> {
    try {
      await this.#opened.get(openId)!.handler!.close();
    } catch (error) {
      this.#metrics.closeFailures++;
      this.#options.log.error({ err: error, key }, 'the resource could not be closed cleanly');
    }
    this.#dispatch({ type: 'closed', key, openId });
    this.#opened.delete(openId);
  }

  async #run({ key, openId, requestId }: Extract<GuardEffect, { type: 'run' }>): Promise<void> {
    const { run, resolve, reject } = this.#pending.get(requestId)!;
    this.#pending.delete(requestId);
    const { handler, resource } = this.#opened.get(openId)!;
    this.#inFlight++;
    try {
      resolve(await run(handler!, resource));
    } catch (error) {
      reject(error);
      const held = fenceOfRefusal(error);
      if (held !== null) {
        this.#options.log.warn(
          { key, held: held.toString() },
          'the resource refuses our fence; giving it back',
        );
        this.#dispatch({ type: 'fenced', key, openId });
      }
    } finally {
      this.#inFlight--;
      if (!ownsOpening(this.#state, key, openId, this.#nowMs())) this.#metrics.overruns++;
      this.#dispatch({ type: 'done', key, openId });
    }
  }

  #reject({ key, requestId, reason }: Extract<GuardEffect, { type: 'reject' }>): void {
    const { reject } = this.#pending.get(requestId)!;
    this.#pending.delete(requestId);
    if (reason.type === 'error') return reject(reason.error);
    if (reason.type === 'too-many') {
      return reject(
        new HoldfastError('HF_UNAVAILABLE', 'too many requests wait for this key', { details: { key } }),
      );
    }
    this.#metrics.refusals++;
    reject(notOwner(key));
  }
}

/** What a component throws with a code of ours is its answer; anything else is a failure to open. */
function openFailure(key: ResourceKey, error: unknown): unknown {
  if (error instanceof Error && 'code' in error && String(error.code).startsWith('HF_')) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new HoldfastError('HF_RESOURCE_OPEN_FAILED', `the resource could not be opened: ${reason}`, {
    cause: error,
    details: { key },
  });
}
