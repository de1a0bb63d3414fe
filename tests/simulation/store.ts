/**
 * The coordination store: production decisions (`Directory`, the fence counter's rule) over rows that survive its process. It can
 * crash, stall, forget everything, or go back to an old state; its clock is its own.
 */
import {
  HoldfastError,
  type DirectoryEvent,
  type Fence,
  type InstanceId,
  type ResourceKey,
  type SessionId,
} from '#core';
import { Directory } from '../../ownership/directory/directory.ts';
import type { DirectoryChange, SessionRecord, StoredClaim } from '../../ownership/directory/records.ts';
import { createFenceCounter, type FenceCounter } from '../../ownership/embedded/fence-counter.ts';
import { StoreClock } from './clock.ts';
import { Leases } from './leases.ts';
import { storeAddress, type Address } from './network.ts';
import { checkClaim, checkCounts, noteEvent } from './store-checks.ts';
import type { World } from './world.ts';

export const pool = 'pool' as InstanceId;

/** Whoever asks the store: what comes back reaches it when it runs. */
export interface Asker {
  readonly address: Address;
  deliver(run: () => void): void;
}

export type Question<Value> = (directory: Directory, nowMs: number, leases: Leases) => Value;
/** `lost`: no answer, or the store could not. `refused`: it answered with an error. */
export type Reply<Value> = { type: 'answer'; value: Value } | { type: 'lost' } | { type: 'refused' };

export interface Rows {
  lastFence: bigint;
  /** Set when it has forgotten, on its own clock. */
  collectUntilMs: number;
  claims: Map<ResourceKey, StoredClaim>;
  sessions: Map<SessionId, SessionRecord>;
}

const noRows = (): Rows => ({
  lastFence: 0n,
  collectUntilMs: -Infinity,
  claims: new Map(),
  sessions: new Map(),
});
const copyRows = (rows: Rows): Rows => ({
  lastFence: rows.lastFence,
  collectUntilMs: rows.collectUntilMs,
  claims: new Map(Array.from(rows.claims, ([key, row]) => [key, { ...row }])),
  sessions: new Map(Array.from(rows.sessions, ([id, session]) => [id, { ...session }])),
});

export class Store {
  readonly clock: StoreClock;
  readonly #world: World;
  #rows = noRows();
  #snapshot: Rows | null = null;
  #directory: Directory;
  #sessionIds = 0;
  #fences!: FenceCounter;
  #up = true;
  #stalled: (() => void)[] | null = null;
  readonly leases = new Leases(() => this.#nextFence());
  /** Of all that were given out, by this memory of it or one before. */
  #highestFence = 0n;
  /** How often it went away. */
  absences = 0;
  #longestAbsenceMs = 0;
  #awaySinceMs: number | null = null;
  readonly #watchers = new Set<(event: DirectoryEvent) => void>();
  readonly #onLost = new Set<() => void>();

  constructor(world: World) {
    this.#world = world;
    this.clock = new StoreClock(world.plan.storeRate, () => world.scheduler.nowMs);
    this.#directory = this.#load();
    this.#tick();
  }

  /**
   * Sends a question and hands the reply over; after a while it counts as lost. It may be executed later than that all the same, and
   * twice.
   */
  ask<Value>(asker: Asker, question: Question<Value>, reply: (reply: Reply<Value>) => void): void {
    const { network, scheduler, plan, dice, count } = this.#world;
    const giveUpMs = plan.ttlMs * (dice.chance(0.8) ? 0.3 : 0.8);
    const sentAtMs = scheduler.nowMs;
    let replied = false;
    const finish = (result: Reply<Value>) => {
      asker.deliver(() => {
        if (replied) return;
        replied = true;
        reply(result);
      });
    };
    const lose = () =>
      scheduler.after(Math.max(0, sentAtMs + giveUpMs - scheduler.nowMs), () => finish({ type: 'lost' }));
    const execute = (answers: boolean) => {
      this.#whenRunning(
        () => {
          const result = this.#answer(question);
          if (!answers) return;
          const backMs = network.delayMs(storeAddress, asker.address);
          if (backMs === null) {
            count('answersLost');
            lose();
          } else if (scheduler.nowMs + backMs > sentAtMs + giveUpMs) {
            count('answersLost');
            lose();
          } else scheduler.after(backMs, () => finish(result));
        },
        () => answers && lose(),
      );
    };
    const outMs = network.delayMs(asker.address, storeAddress);
    if (outMs === null) return lose();
    scheduler.after(outMs, () => execute(true));
    if (network.duplicates()) scheduler.after(outMs + dice.fraction() * plan.ttlMs, () => execute(false));
  }

  /** A client's stream of events, in their order, until `lost` is called: then events are missed. */
  watch(listener: (event: DirectoryEvent) => void, lost: () => void): () => void {
    this.#watchers.add(listener);
    this.#onLost.add(lost);
    return () => {
      this.#watchers.delete(listener);
      this.#onLost.delete(lost);
    };
  }

  /** Answers at this time. */
  get up(): boolean {
    return this.#up && this.#stalled === null;
  }

  /** For how long it was ever away, in true time. */
  get longestAbsenceMs(): number {
    const presentMs = this.#awaySinceMs === null ? 0 : this.#world.scheduler.nowMs - this.#awaySinceMs;
    return Math.max(this.#longestAbsenceMs, presentMs);
  }

  get running(): boolean {
    return this.#up;
  }

  // Faults -----------------------------------------------------------------------------------------------------------

  crash(): void {
    this.#up = false;
    this.#awaySinceMs = this.#world.scheduler.nowMs;
    this.absences++;
    this.goOn(); // to find that there is nobody
    for (const lost of Array.from(this.#onLost)) lost();
    this.#watchers.clear();
    this.#onLost.clear();
  }

  /**
   * `forgotten`: everything, or back to the snapshot; then it collects for the longest time to live. Its counter of fences starts above
   * all that were given out, or lower: then the resources' own fences must do, and every one of them has to have one.
   */
  start(memory: 'kept' | 'forgotten' | 'snapshot'): void {
    this.#highestFence =
      this.#rows.lastFence > this.#highestFence ? this.#rows.lastFence : this.#highestFence;
    if (memory === 'forgotten') this.#rows = noRows();
    if (memory === 'snapshot' && this.#snapshot) this.#rows = copyRows(this.#snapshot);
    if (memory !== 'kept') {
      const { plan, dice } = this.#world;
      this.#rows.sessions.clear();
      this.#rows.collectUntilMs = this.clock.nowMs() + plan.ttlMs;
      if (!plan.allFenced || dice.chance(0.3)) this.#rows.lastFence = this.#highestFence + 1_000n;
    }
    this.#directory = this.#load();
    this.#up = true;
    this.#longestAbsenceMs = this.longestAbsenceMs;
    this.#awaySinceMs = null;
  }

  takeSnapshot(): void {
    this.#snapshot = copyRows(this.#rows);
  }

  /** Executes nothing, and then everything late. */
  stall(): void {
    if (this.#up) this.#stalled ??= [];
  }

  goOn(): void {
    const late = this.#stalled ?? [];
    this.#stalled = null;
    for (const run of late) run();
  }

  // Decisions --------------------------------------------------------------------------------------------------------

  #load(): Directory {
    const rows = this.#rows;
    const counts = new Map<SessionId, number>();
    for (const { sessionId } of rows.claims.values()) {
      if (sessionId) counts.set(sessionId, (counts.get(sessionId) ?? 0) + 1);
    }
    const fences = createFenceCounter(rows.lastFence);
    this.#fences = fences;
    return new Directory(
      {
        nextFence: () => fences.next(),
        fenceAbove: above => fences.above(above),
        fenceSeen: fence => fences.seen(fence),
        newSessionId: () => `s${++this.#sessionIds}` as SessionId,
        loadClaim: (_pool, key) => rows.claims.get(key) ?? null,
      },
      {
        sessions: Array.from(rows.sessions.values(), session => ({
          ...session,
          keys: counts.get(session.sessionId) ?? 0,
        })),
        collectUntilMs: rows.collectUntilMs,
        recordsMax: 2,
      },
    );
  }

  #nextFence(): Fence {
    const fence = this.#fences.next();
    this.#rows.lastFence = fence;
    return fence;
  }

  #whenRunning(run: () => void, down: () => void): void {
    if (!this.#up) down();
    else if (this.#stalled) this.#stalled.push(() => (this.#up ? run() : down()));
    else run();
  }

  #answer<Value>(question: Question<Value>): Reply<Value> {
    try {
      return { type: 'answer', value: question(this.#directory, this.clock.nowMs(), this.leases) };
    } catch (error) {
      if (error instanceof HoldfastError) return { type: 'refused' };
      throw error;
    } finally {
      this.#commit();
      this.#world.adopting = false;
    }
  }

  /** Sessions end by themselves too, and are told of. */
  #tick(): void {
    this.#world.scheduler.after(this.#world.plan.ttlMs / 4, () => {
      if (this.up) {
        this.#directory.expire(this.clock.nowMs());
        this.#commit();
      }
      this.#tick();
    });
  }

  #commit(): void {
    if (!this.#directory.hasOutput) return;
    const { changes, events } = this.#directory.takeOutput();
    for (const change of changes) this.#write(change);
    this.#rows.lastFence = this.#fences.last;
    checkCounts(this.#directory, this.#rows);
    for (const event of events) {
      noteEvent(this.#world, event);
      for (const tell of this.#watchers) tell(event);
    }
  }

  #write(change: DirectoryChange): void {
    const { claims, sessions } = this.#rows;
    switch (change.type) {
      case 'put-session':
        if (change.session.live) sessions.set(change.session.sessionId, { ...change.session });
        return;
      case 'delete-session':
        sessions.delete(change.sessionId);
        return;
      case 'put-claim': {
        const { key, fence, session, opened, paused, alarmAtMs } = change.claim;
        const before = claims.get(key);
        // One that has ended stays named, as none in particular.
        const sessionId =
          session && (session.live ? session.sessionId : (before?.sessionId ?? session.sessionId));
        checkClaim({ world: this.#world, directory: this.#directory }, key, before, {
          fence,
          sessionId,
          opened,
          paused,
          alarmAtMs,
        });
        claims.set(key, { fence, sessionId, opened, paused, alarmAtMs });
      }
    }
  }
}
