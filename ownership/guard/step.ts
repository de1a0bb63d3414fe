/**
 * The guard of a host as one step: the session (`session.ts`), every key (`key.ts`), and what joins them. Pure but for one
 * thing: `state` is consumed. Its maps are changed in place, since copying a hundred thousand keys for each request is no
 * option; who wants to keep a state clones it first.
 *
 * What must hold, beyond the two machines:
 * - Time comes first: an event that arrives at or after the deadline is preceded by the loss of everything.
 * - A request is admitted only for the very session that is held, and above the key's tombstone: the fence under which
 *   the key was given back in this session. Such a request was sent before that, however late it comes.
 * - While the session drains, keys leave a few at a time; those whose turn has not come go on serving. What was never
 *   opened here is handed back at the first request for it.
 * - A key is given back or handed off only under a session that the directory believes in. While the session is lost and
 *   another is asked for, what is open goes on as long as `holds` says; nothing is opened, nothing leaves.
 * - A key that is idle is ready and has neither a request nor one that waits.
 */
import type { Fence, ResourceKey, SessionId } from '#core';
import { begin, createAging, takeOld, type Aging, type AgingLimits } from './aging.ts';
import { heldKeys, lostKeys, type HeldHere } from './keeping.ts';
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
  /** A key without requests for so long is closed and given back. Default 0: never. */
  readonly idleMs?: number;
  /** How long the component may take to open a key. Default: for ever. */
  readonly openMs?: number;
}

export interface GuardState {
  session: SessionState;
  readonly keys: Map<ResourceKey, KeyState>;
  /** Of keys given back in this session: the fence they were held under. */
  readonly tombstones: Map<ResourceKey, Fence>;
  /** Set while keys are being drained. */
  drain: {
    readonly release: boolean;
    /** Unused for a while, or to stay the session's: closed and given back, the longest idle last. */
    readonly cold: ResourceKey[];
    /** In use: handed to another host, which is to go on at once. */
    readonly hot: ResourceKey[];
    readonly underWay: Set<ResourceKey>;
  } | null;
  /** Keys that are idle. */
  readonly idle: Aging;
  /** Keys that the component is opening. */
  readonly openings: Aging;
  /** What was asked for in place of a lost session: the fence of each key. */
  resuming: Map<ResourceKey, Fence> | null;
  lastOpenId: number;
  /** To open or resume a session. */
  lastAttempt: number;
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
  | ({ readonly key: ResourceKey } & Exclude<
      KeyEvent,
      { type: 'request' | 'lose' | 'suspend' | 'open-late' }
    >);

export type GuardEffect =
  | Exclude<
      SessionEffect,
      { type: 'lose-keys' | 'suspend-keys' | 'drain-keys' | 'keep-keys' | 'open-session' | 'resume-session' }
    >
  /** `clean`: nothing is open, so that earlier sessions of this process may be ended. */
  | {
      readonly type: 'open-session';
      readonly sentAtMs: number;
      readonly attempt: number;
      readonly clean: boolean;
    }
  | {
      readonly type: 'resume-session';
      readonly sessionId: SessionId;
      readonly sentAtMs: number;
      readonly attempt: number;
      readonly held: readonly HeldHere[];
    }
  /** Idle keys that are being closed and given back. */
  | { readonly type: 'passivated'; readonly count: number }
  | (KeyEffect & { readonly key: ResourceKey });

/** Keys that are handed on at the same time while the session drains, and those that are just given back. */
export const drainsMax = 32;
export const coldDrainsMax = 256;
/** Keys that were used within this time are worth opening elsewhere before somebody asks for them. */
export const recentMs = 10_000;
const passivationsMax = 1_000;

export function initialGuard(): GuardState {
  return {
    session: { phase: 'idle' },
    keys: new Map(),
    tombstones: new Map(),
    drain: null,
    idle: createAging(),
    openings: createAging(),
    resuming: null,
    lastOpenId: 0,
    lastAttempt: 0,
  };
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
  machine.openTooLong();
  if (event.type === 'request') machine.request(event);
  else if (event.type === 'hand-off') machine.handOff(event);
  else if (event.type === 'unanswered') machine.unanswered(event);
  else if ('key' in event) machine.key(event.key, event);
  else if (event.type !== 'tick') machine.session(event);
  machine.settle();
  return { state, effects };
}

/** When the guard wants a `tick`, null if never. */
export function wakeMs(state: GuardState, options: GuardOptions): number | null {
  const session = sessionWakeMs(state.session, options);
  const idle = state.session.phase === 'live' ? state.idle.lookAtMs : null;
  const wake = Math.min(session ?? Infinity, idle ?? Infinity, state.openings.lookAtMs ?? Infinity);
  return wake === Infinity ? null : wake;
}

/** The keys that a host which is to give some up would give first: the longest idle, then those in use. */
export function keysToGiveUp(
  { keys, idle }: GuardState,
  count: number,
): { key: ResourceKey; fence: Fence }[] {
  const chosen = new Map<ResourceKey, Fence>();
  for (const order of [idle.since.keys(), keys.keys()]) {
    for (const key of order) {
      if (chosen.size >= count) break;
      const state = keys.get(key);
      if (state?.phase === 'ready') chosen.set(key, state.fence);
    }
  }
  return Array.from(chosen, ([key, fence]) => ({ key, fence }));
}

/** Whether this opening may act at `nowMs`: its session is held, and the key was not given up. */
export function ownsOpening(state: GuardState, key: ResourceKey, openId: number, nowMs: number): boolean {
  if (!holds(state.session, nowMs)) return false;
  const found = state.keys.get(key);
  if (found?.openId !== openId) return false;
  // Closing as planned: the component may still write what it held back.
  if ('after' in found) return found.after.type !== 'lost' && found.after.type !== 'late';
  return found.phase !== 'releasing' && found.phase !== 'transferring';
}

/** Whether something is still open of a session that was lost. */
export function holdsOn({ keys }: GuardState): boolean {
  for (const key of keys.values()) if ('after' in key && key.after.type === 'lost') return true;
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
    // Tombstones live as long as the session that they belong to. A store that has forgotten may count on from lower fences.
    if ('held' in state && (!('held' in before) || before.held.sessionId !== state.held.sessionId)) {
      this.#state.tombstones.clear();
    }
    for (const effect of effects) this.#perform(effect);
  }

  request(event: Extract<GuardEvent, { type: 'request' }>): void {
    const { key, requestId, fence } = event;
    const { session, keys, tombstones, drain } = this.#state;
    const held = holds(session, this.#nowMs) && session.held.sessionId === event.sessionId;
    const buried = (tombstones.get(key) ?? 0n) >= fence;
    if (!held || buried) return this.#refuse(key, requestId);
    if (session.phase !== 'live') {
      const found = keys.get(key);
      if (!found && drain?.release) this.#giveBackUnopened(key, fence);
      // What still closes from a lost session is not to be opened again.
      if (!found || ('after' in found && found.after.type === 'lost')) return this.#refuse(key, requestId);
    }
    this.key(key, { type: 'request', requestId, fence });
  }

  handOff(event: Extract<GuardEvent, { type: 'hand-off' }>): void {
    const { key, fence } = event;
    const { session, keys, tombstones } = this.#state;
    const believed =
      (session.phase === 'live' || session.phase === 'draining') && holds(session, this.#nowMs);
    const gone = !keys.has(key) && (tombstones.get(key) ?? 0n) >= fence;
    if (believed && !gone) return this.key(key, event);
    this.#effects.push({ type: 'handed-off', key, moved: false, claim: null });
  }

  /** Asked again while the session lives. One that ends takes all that is left with it: then it is not worth waiting for. */
  unanswered(event: Extract<GuardEvent, { type: 'unanswered' }>): void {
    const { key, openId } = event;
    if (this.#state.session.phase === 'live') return this.key(key, event);
    this.key(key, { type: 'released', openId });
    this.key(key, { type: 'transferred', openId, outcome: { held: false } });
  }

  openTooLong(): void {
    const { openings, keys } = this.#state;
    for (const key of takeOld(openings, this.#nowMs, this.#openingLimits)) {
      const found = keys.get(key);
      if (found?.phase === 'opening') this.key(key, { type: 'open-late', openId: found.openId });
    }
  }

  key(key: ResourceKey, event: KeyEvent): void {
    const { keys, tombstones, drain } = this.#state;
    const before = keys.get(key) ?? null;
    const { state, effects } = stepKey(before, event, {
      concurrency: this.#options.concurrency,
      newOpenId: ++this.#state.lastOpenId,
    });
    if (state) keys.set(key, state);
    else {
      keys.delete(key);
      drain?.underWay.delete(key);
    }
    this.#remember(key, before, state);
    for (const effect of effects) {
      if (effect.type === 'release') tombstones.set(key, effect.fence);
      this.#effects.push({ ...effect, key });
    }
    // What the directory says was not ours needs none: a late request for it is found out by verifying.
    if (before?.phase === 'transferring' && event.type === 'transferred' && event.outcome.held) {
      tombstones.set(key, before.fence);
    }
  }

  /** What follows from the event by itself. */
  settle(): void {
    const { drain, keys, session } = this.#state;
    if (session.phase === 'live') this.#passivate();
    if (drain) {
      this.#drainNext(drain.cold, coldDrainsMax, key =>
        this.key(key, { type: 'drain-key', release: drain.release }),
      );
      this.#drainNext(drain.hot, drainsMax, (key, { fence }) =>
        this.key(key, { type: 'hand-off', fence, to: null }),
      );
    }
    const waitsForKeys = session.phase === 'ending' || (session.phase === 'draining' && drain !== null);
    if (waitsForKeys && keys.size === 0) this.session({ type: 'emptied' });
  }

  #drainNext(queue: ResourceKey[], atOnceMax: number, leave: (key: ResourceKey, state: KeyState) => void) {
    const { drain, keys } = this.#state;
    while (drain && drain.underWay.size < atOnceMax) {
      const key = queue.pop();
      if (key === undefined) break;
      const found = keys.get(key);
      if (!found) continue;
      drain.underWay.add(key);
      leave(key, found);
    }
  }

  #passivate(): void {
    const { idle } = this.#state;
    const due = takeOld(idle, this.#nowMs, this.#idleLimits);
    for (const key of due) this.key(key, { type: 'drain-key', release: true });
    if (due.length > 0) this.#effects.push({ type: 'passivated', count: due.length });
  }

  /** Keeps the lists of what is idle and what is being opened. */
  #remember(key: ResourceKey, before: KeyState | null, after: KeyState | null): void {
    const { idle, openings } = this.#state;
    if (isIdle(after)) {
      if (!isIdle(before)) begin(idle, key, this.#nowMs, this.#idleLimits);
    } else if (isIdle(before)) idle.since.delete(key);
    if (after?.phase === 'opening') {
      if (before?.openId !== after.openId) begin(openings, key, this.#nowMs, this.#openingLimits);
    } else if (before?.phase === 'opening') openings.since.delete(key);
  }

  get #idleLimits(): AgingLimits {
    const ageMs = this.#options.idleMs || Infinity;
    return { ageMs, slackMs: Math.min(1_000, ageMs / 8), countMax: passivationsMax };
  }

  get #openingLimits(): AgingLimits {
    return { ageMs: this.#options.openMs ?? Infinity, slackMs: 0, countMax: Infinity };
  }

  #perform(effect: SessionEffect): void {
    switch (effect.type) {
      case 'lose-keys':
        this.#state.drain = null;
        this.#state.resuming = null;
        // Deleting what the loop has reached is safe, and losing adds no key.
        for (const key of this.#state.keys.keys()) this.key(key, { type: 'lose' });
        break;
      case 'suspend-keys':
        for (const key of this.#state.keys.keys()) this.key(key, { type: 'suspend' });
        break;
      case 'drain-keys':
        this.#state.drain = this.#planDrain(effect.release);
        break;
      case 'open-session':
        this.#effects.push({ ...effect, attempt: this.#nextAttempt(), clean: this.#state.keys.size === 0 });
        break;
      case 'resume-session': {
        const held = heldKeys(this.#state.keys);
        this.#state.resuming = new Map(held.map(({ key, fence }) => [key, fence]));
        this.#effects.push({ ...effect, attempt: this.#nextAttempt(), held });
        break;
      }
      case 'keep-keys': {
        const { keys, resuming } = this.#state;
        this.#state.resuming = null;
        for (const key of lostKeys(keys, resuming ?? new Map(), effect.refused))
          this.key(key, { type: 'lose' });
        break;
      }
      default:
        this.#effects.push(effect);
    }
  }

  /** Counted from the time, because the process may have had a guard before this one: its component can be stopped and started. */
  #nextAttempt(): number {
    this.#state.lastAttempt = Math.max(this.#state.lastAttempt + 1, Math.floor(this.#nowMs));
    return this.#state.lastAttempt;
  }

  #planDrain(release: boolean): GuardState['drain'] {
    const { keys, idle } = this.#state;
    const isCold = (key: ResourceKey) =>
      !release || this.#nowMs - (idle.since.get(key) ?? Infinity) >= recentMs;
    const order = [...keys.keys()];
    return {
      release,
      cold: order.filter(isCold),
      hot: order.filter(key => !isCold(key)),
      underWay: new Set(),
    };
  }

  #giveBackUnopened(key: ResourceKey, fence: Fence): void {
    const openId = ++this.#state.lastOpenId;
    this.#state.keys.set(key, { phase: 'releasing', openId, fence, attempt: 1 });
    this.#state.tombstones.set(key, fence);
    this.#effects.push({ type: 'release', key, openId, fence, attempt: 1 });
  }

  #refuse(key: ResourceKey, requestId: number): void {
    this.#effects.push({ type: 'reject', key, requestId, reason: { type: 'not-owner' } });
  }
}

function isIdle(state: KeyState | null): boolean {
  return state?.phase === 'ready' && state.inFlight === 0;
}
