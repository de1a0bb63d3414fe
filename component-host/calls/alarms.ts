/**
 * Wakes the alarms of a pool. Exactly one host of it looks for those that are due (the lease `alarms/<pool>`; the others wait for
 * it), and sends each to the owner of its key, which is claimed for it if nobody has it. The alarms themselves are in the
 * store, and are settled there by the owner: whatever dies on the way, the next look finds what is left, so each comes at
 * least once.
 *
 * What fails comes again after a growing pause, each with its own chance, so that many do not come back at the same moment.
 */
import type { InstanceId, LeaseService, Logger, ResourceDirectory, ResourceKey, System } from '#core';

export interface Alarm {
  readonly key: ResourceKey;
  readonly atMs: number;
}

export interface AlarmsDeps {
  system: System;
  log: Logger;
  pool: InstanceId;
  /** Names this host in the lease. */
  holder: string;
  leases: Pick<LeaseService, 'hold'>;
  directory: Pick<ResourceDirectory, 'dueAlarms'>;
  /** Resolves when the owner has run and settled it; a rejection makes it come again. */
  wake: (alarm: Alarm, signal: AbortSignal) => Promise<void>;
}

export interface Alarms {
  /** Starts no more, and gives the lease to another host. Resolves when nothing is under way. Idempotent. */
  stop(): Promise<void>;
}

const leaseTtlMs = 5_000;
const leaseWaitMs = 60_000;
/** Nobody tells of alarms that are set, so this is how late one may come. */
const lookMs = 900;
const lookMsMin = 20;
const lookCount = 1_000;
/** Alarms under way at once. */
const wakesMax = 16;
const retryMs = { first: 1_000, max: 60_000 };

export function startAlarms(deps: AlarmsDeps): Alarms {
  const { system, log, pool } = deps;
  const stopping = new AbortController();
  const done = dispatch();

  /** Holds the lease again and again. */
  async function dispatch(): Promise<void> {
    const { signal } = stopping;
    while (!signal.aborted) {
      try {
        await deps.leases.hold(
          `alarms/${pool}`,
          { holder: deps.holder, ttlMs: leaseTtlMs, waitMs: leaseWaitMs, signal },
          look,
        );
      } catch (error) {
        log.debug({ err: error }, 'the lease for alarms could not be held'); // the store is away; alarms wait in it
        await pause(lookMs, signal);
      }
    }
  }

  async function look(lost: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([lost, stopping.signal]);
    const rounds = createRounds(system);
    const underWay = new Set<Promise<void>>();

    async function wake(alarm: Alarm): Promise<void> {
      try {
        await deps.wake(alarm, signal);
        rounds.settled(alarm);
      } catch (error) {
        if (signal.aborted) return;
        const againInMs = rounds.failed(alarm);
        log.warn({ err: error, key: alarm.key, againInMs }, 'an alarm failed and will come again');
      }
    }

    while (!signal.aborted) {
      let waitMs = lookMs;
      try {
        const { alarms, nextInMs } = await deps.directory.dueAlarms(pool, lookCount);
        waitMs = Math.max(lookMsMin, Math.min(lookMs, nextInMs ?? lookMs));
        rounds.seen(alarms, alarms.length < lookCount);
        for (const alarm of alarms) {
          if (!rounds.begin(alarm)) continue;
          const run: Promise<void> = wake(alarm).finally(() => underWay.delete(run));
          underWay.add(run);
          while (underWay.size >= wakesMax && !signal.aborted) await Promise.race(underWay);
          if (signal.aborted) break;
        }
      } catch (error) {
        log.debug({ err: error }, 'due alarms could not be asked for');
      }
      await pause(waitMs, signal);
    }
    await Promise.all(underWay);
  }

  async function pause(ms: number, signal: AbortSignal): Promise<void> {
    await system.timers.sleep(ms, signal).catch(() => {}); // it is over; the loop sees that
  }

  return {
    async stop() {
      stopping.abort(new Error('the host stops'));
      await done;
    },
  };
}

interface Round extends Alarm {
  state: 'running' | 'settled' | 'failed';
  failures: number;
  notBeforeMs: number;
}

/** What became of the alarms that were seen: a look may show one again that is being worked on. */
function createRounds(system: System) {
  const rounds = new Map<ResourceKey, Round>();
  const now = system.clock.monotonicMs;
  const roundOf = ({ key, atMs }: Alarm): Round | null => {
    const round = rounds.get(key);
    return round?.atMs === atMs ? round : null;
  };
  return {
    /** Forgets what the store does not have any more. `all`: these are all that are due. */
    seen(alarms: readonly Alarm[], all: boolean): void {
      if (!all) return;
      const due = new Set(alarms.map(({ key }) => key));
      for (const [key, { state }] of rounds) if (state !== 'running' && !due.has(key)) rounds.delete(key);
    },
    /** Whether it is to be woken now. */
    begin(alarm: Alarm): boolean {
      const round = roundOf(alarm);
      if (rounds.get(alarm.key)?.state === 'running') return false;
      // A look that was answered before the owner settled it: it is over.
      if (round?.state === 'settled') return !rounds.delete(alarm.key);
      if (round && now() < round.notBeforeMs) return false;
      rounds.set(alarm.key, { ...alarm, state: 'running', failures: round?.failures ?? 0, notBeforeMs: 0 });
      return true;
    },
    settled(alarm: Alarm): void {
      const round = roundOf(alarm);
      if (round) round.state = 'settled';
    },
    /** Until it may come again, milliseconds. */
    failed(alarm: Alarm): number {
      const round = roundOf(alarm);
      if (!round) return 0;
      const pauseMs = Math.min(retryMs.max, retryMs.first * 2 ** Math.min(round.failures, 10));
      const againInMs = Math.round(pauseMs * (0.75 + system.random.fraction() / 2));
      round.state = 'failed';
      round.failures += 1;
      round.notBeforeMs = now() + againInMs;
      return againInMs;
    },
  };
}
