/**
 * Spreads keys over the hosts of each pool when one has joined, a little at a time: the plan is `planKeyMoves` of #ownership, each
 * move is a handoff by the host that has the key. A pool is left alone while it changes (a roll, a drain, a start), because
 * what moves then would have to move again.
 */
import type { HostClient } from '#client';
import {
  isoTime,
  type ApiEvent,
  type InstanceId,
  type Logger,
  type ResourceDirectory,
  type Session,
  type System,
} from '#core';
import { planKeyMoves, type KeyMove } from '#ownership';

export interface Rebalancer {
  start(): void;
  /** Resolves when no move is under way. Idempotent. */
  stop(): Promise<void>;
}

export interface RebalancerDeps {
  directory: ResourceDirectory;
  host: (address: string) => HostClient;
  system: System;
  log: Logger;
  leads: () => boolean;
  onEvent: (event: ApiEvent) => void;
  /** See `RebalanceRule`. */
  threshold: number;
  /** In the whole cluster; 0 turns rebalancing off. */
  movesPerMinute: number;
}

/** How long the hosts of a pool must have stayed the same. */
const quietMs = 3_000;
const lookEveryMs = 15_000;
/** Keys that one call asks for: small, so that a pool which begins to change is left alone soon. */
const batchMax = 100;
const deadlineMs = 10_000;

export function createRebalancer(deps: RebalancerDeps): Rebalancer {
  const { directory, host, system, log, movesPerMinute } = deps;
  const now = () => system.clock.monotonicMs();
  const changedAtMs = new Map<InstanceId, number>();
  let budget = movesPerMinute;
  let countedAtMs = now();
  let stopped = true;
  let run: Promise<void> | null = null;
  let cancelTimer = () => {};
  let unwatch = () => {};

  function noteChange(pool: InstanceId): void {
    changedAtMs.set(pool, now());
    schedule(quietMs);
  }

  function schedule(ms: number): void {
    cancelTimer();
    if (!stopped) cancelTimer = system.timers.after(ms, () => void look());
  }

  async function look(): Promise<void> {
    if (run) return;
    run = rebalance().catch((error: unknown) => {
      log.warn({ err: error }, 'keys could not be rebalanced; trying again later');
    });
    await run;
    run = null;
    schedule(lookEveryMs);
  }

  async function rebalance(): Promise<void> {
    if (!deps.leads()) return;
    const pools = Map.groupBy(await directory.sessions(), session => session.pool);
    for (const [pool, sessions] of pools) {
      if (stopped || !deps.leads()) return;
      if (isSettled(pool, sessions)) await rebalancePool(pool, sessions);
    }
  }

  function isSettled(pool: InstanceId, sessions: readonly Session[]): boolean {
    const quiet = now() - (changedAtMs.get(pool) ?? -Infinity) >= quietMs;
    return quiet && sessions.every(session => session.ready && !session.draining);
  }

  async function rebalancePool(pool: InstanceId, sessions: readonly Session[]): Promise<void> {
    const plan = planKeyMoves(sessions, { threshold: deps.threshold, budget: refill() });
    if (plan.length === 0) return;
    const addresses = new Map(sessions.map(session => [session.sessionId as string, session.address]));
    let moved = 0;
    for (const [from, moves] of Map.groupBy(plan, move => move.from)) {
      for (const move of moves) {
        moved += await carryOut(move, host(addresses.get(from)!), () => changedAtMs.get(pool));
      }
    }
    const facts = { instanceId: pool, planned: plan.reduce((sum, { count }) => sum + count, 0), moved };
    log.info(facts, 'keys were rebalanced');
    deps.onEvent({ type: 'rebalance', at: isoTime(system.clock), ...facts });
  }

  async function carryOut(
    move: KeyMove,
    source: HostClient,
    lastChange: () => number | undefined,
  ): Promise<number> {
    const changeBefore = lastChange();
    let moved = 0;
    while (moved < move.count && !stopped && deps.leads() && lastChange() === changeBefore) {
      const count = Math.min(batchMax, move.count - moved);
      const outcome = await source.handOffMany({ count, to: move.to, deadlineMs });
      budget -= outcome.moved.length;
      moved += outcome.moved.length;
      // Fewer than asked for: what else counts as its keys was never opened there, and costs nothing where it is.
      if (outcome.moved.length < count) break;
    }
    return moved;
  }

  /** Moves that are allowed now: what a minute allows at most, and no more than has grown since the last ones. */
  function refill(): number {
    const atMs = now();
    budget = Math.min(movesPerMinute, budget + ((atMs - countedAtMs) * movesPerMinute) / 60_000);
    countedAtMs = atMs;
    return budget;
  }

  return {
    start() {
      if (movesPerMinute === 0) return;
      stopped = false;
      unwatch = directory.watch(event => {
        if (event.type === 'session-opened' || event.type === 'session-changed')
          noteChange(event.session.pool);
        else if (event.type === 'session-ended') noteChange(event.pool);
      });
      schedule(quietMs);
    },
    async stop() {
      stopped = true;
      cancelTimer();
      unwatch();
      await run;
    },
  };
}
