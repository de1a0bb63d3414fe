/**
 * The guard of a host as one step: the session (`session.ts`), every key (`key.ts`), and what joins them. Pure but for one
 * thing: `state` is consumed. Its maps are changed in place, since copying a hundred thousand keys for each request is no
 * option; who wants to keep a state clones it first.
 *
 * What must hold, beyond the two machines:
 * - Time comes first: an event that arrives at or after the deadline is preceded by the loss of everything.
 * - A request is admitted only for the very session that is held, and above the key's tombstone: the fence under which
 *   the key was given back in this session. Such a request was sent before that, however late it comes.
 * - While the session drains, keys are drained a few at a time; those whose turn has not come go on serving. What was
 *   never opened here is handed back at the first request for it.
 */
import type { Fence, ResourceKey, SessionId } from '#core';
import { stepKey, type KeyEffect, type KeyEvent, type KeyState } from './key.ts';
import {
  holds,
  sessionWakeMs,
  stepSession,
  type SessionEffect,
  type SessionEvent,
  type SessionState,
  type SessionTiming,
} from './session.ts';

export interface GuardOptions extends SessionTiming {
  /** Requests served at once per key; 0 means no bound. */
  readonly concurrency: number;
}

export interface GuardState {
  session: SessionState;
  readonly keys: Map<ResourceKey, KeyState>;
  /** Of keys given back in this session: the fence they were held under. */
  readonly tombstones: Map<ResourceKey, Fence>;
  /** Set while keys are being drained. */
  drain: {
    readonly release: boolean;
    readonly queue: ResourceKey[];
    readonly underWay: Set<ResourceKey>;
  } | null;
  lastOpenId: number;
}

export type GuardEvent =
  | Exclude<SessionEvent, { type: 'emptied' }>
  | {
      readonly type: 'request';
      readonly key: ResourceKey;
      readonly requestId: number;
      readonly sessionId: SessionId;
      readonly fence: Fence;
    }
  | ({ readonly key: ResourceKey } & Exclude<KeyEvent, { type: 'request' | 'lose' }>);

export type GuardEffect =
  | Exclude<SessionEffect, { type: 'lose-keys' | 'drain-keys' | 'open-session' }>
  /** `clean`: nothing is open, so that earlier sessions of this process may be ended. */
  | { readonly type: 'open-session'; readonly sentAtMs: number; readonly clean: boolean }
  | (KeyEffect & { readonly key: ResourceKey });

/** Keys that are drained at the same time. */
export const drainsMax = 32;

export function initialGuard(): GuardState {
  return { session: { phase: 'idle' }, keys: new Map(), tombstones: new Map(), drain: null, lastOpenId: 0 };
}

export function step(
  state: GuardState,
  event: GuardEvent,
  nowMs: number,
  options: GuardOptions,
): { state: GuardState; effects: GuardEffect[] } {
  const effects: GuardEffect[] = [];
  const machine = new Machine(state, nowMs, options, effects);
  machine.session({ type: 'tick' });
  if (event.type === 'request') machine.request(event);
  else if ('key' in event) machine.key(event.key, event);
  else if (event.type !== 'tick') machine.session(event);
  machine.settle();
  return { state, effects };
}

/** When the guard wants a `tick`, null if never. */
export function wakeMs(state: GuardState, options: GuardOptions): number | null {
  return sessionWakeMs(state.session, options);
}

/** Whether this opening may act at `nowMs`: its session is held, and the key was not given up. */
export function ownsOpening(state: GuardState, key: ResourceKey, openId: number, nowMs: number): boolean {
  if (!holds(state.session, nowMs)) return false;
  const found = state.keys.get(key);
  if (found?.openId !== openId) return false;
  // Closing as planned: the component may still write what it held back.
  return 'release' in found ? found.release !== null : found.phase !== 'releasing';
}

/** Whether something is still open of a session that was lost. */
export function holdsOn({ keys }: GuardState): boolean {
  for (const key of keys.values()) if ('release' in key && key.release === null) return true;
  return false;
}

/** One step in the making. */
class Machine {
  readonly #state: GuardState;
  readonly #nowMs: number;
  readonly #options: GuardOptions;
  readonly #effects: GuardEffect[];

  constructor(state: GuardState, nowMs: number, options: GuardOptions, effects: GuardEffect[]) {
    this.#state = state;
    this.#nowMs = nowMs;
    this.#options = options;
    this.#effects = effects;
  }

  session(event: SessionEvent): void {
    const before = this.#state.session;
    const { state, effects } = stepSession(before, event, this.#nowMs, this.#options);
    this.#state.session = state;
    // Tombstones live as long as the session that they belong to.
    if (state.phase === 'live' && before.phase === 'opening') this.#state.tombstones.clear();
    for (const effect of effects) this.#perform(effect);
  }

  request(event: Extract<GuardEvent, { type: 'request' }>): void {
    const { key, requestId, fence } = event;
    const { session, keys, tombstones, drain } = this.#state;
    const held = holds(session, this.#nowMs) && session.held.sessionId === event.sessionId;
    const buried = (tombstones.get(key) ?? 0n) >= fence;
    if (!held || buried) return this.#refuse(key, requestId);
    if (session.phase === 'draining') {
      const found = keys.get(key);
      if (!found && drain?.release) this.#giveBackUnopened(key, fence);
      // What still closes from a lost session is not to be opened again.
      if (!found || ('release' in found && found.release === null)) return this.#refuse(key, requestId);
    }
    this.key(key, { type: 'request', requestId, fence });
  }

  key(key: ResourceKey, event: KeyEvent): void {
    const { keys, tombstones, drain } = this.#state;
    const { state, effects } = stepKey(keys.get(key) ?? null, event, {
      concurrency: this.#options.concurrency,
      newOpenId: ++this.#state.lastOpenId,
    });
    if (state) keys.set(key, state);
    else {
      keys.delete(key);
      drain?.underWay.delete(key);
    }
    for (const effect of effects) {
      if (effect.type === 'release') tombstones.set(key, effect.fence);
      this.#effects.push({ ...effect, key });
    }
  }

  /** What follows from the event by itself. */
  settle(): void {
    const { drain, keys, session } = this.#state;
    if (drain) {
      while (drain.underWay.size < drainsMax) {
        const key = drain.queue.pop();
        if (key === undefined) break;
        if (!keys.has(key)) continue;
        drain.underWay.add(key);
        this.key(key, { type: 'drain-key', release: drain.release });
      }
    }
    const waitsForKeys = session.phase === 'ending' || (session.phase === 'draining' && drain !== null);
    if (waitsForKeys && keys.size === 0) this.session({ type: 'emptied' });
  }

  #perform(effect: SessionEffect): void {
    switch (effect.type) {
      case 'lose-keys':
        this.#state.drain = null;
        // Deleting what the loop has reached is safe, and losing adds no key.
        for (const key of this.#state.keys.keys()) this.key(key, { type: 'lose' });
        break;
      case 'drain-keys':
        this.#state.drain = {
          release: effect.release,
          queue: [...this.#state.keys.keys()],
          underWay: new Set(),
        };
        break;
      case 'open-session':
        this.#effects.push({ ...effect, clean: this.#state.keys.size === 0 });
        break;
      default:
        this.#effects.push(effect);
    }
  }

  #giveBackUnopened(key: ResourceKey, fence: Fence): void {
    const openId = ++this.#state.lastOpenId;
    this.#state.keys.set(key, { phase: 'releasing', openId, fence });
    this.#state.tombstones.set(key, fence);
    this.#effects.push({ type: 'release', key, openId, fence });
  }

  #refuse(key: ResourceKey, requestId: number): void {
    this.#effects.push({ type: 'reject', key, requestId, reason: { type: 'not-owner' } });
  }
}
