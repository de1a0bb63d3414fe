/**
 * Which managers there are and where each answers, as far as this one knows. Every manager holds a lease on its own name for as long as it runs, with
 * its address as the holder: one that ends is forgotten by itself, and no list has to be kept right.
 */
import type { LeaseService, Logger, System } from '#core';

export interface ManagerMember {
  processId: string;
  nodeName: string;
  /** URI of its API, as others reach it. */
  address: string;
}

export interface Membership {
  /** In the order of their processIds; this one is among them once it has an address. */
  members(): readonly ManagerMember[];
  start(): void;
  /** Resolves when the store knows that this manager is gone, or is away. Idempotent. */
  stop(): Promise<void>;
}

const prefix = 'node-manager/member/';

export function createMembership(options: {
  leases: LeaseService;
  system: System;
  log: Logger;
  ttlMs: number;
  /** Null while it does not listen. */
  self: () => ManagerMember | null;
}): Membership {
  const { leases, system, log, ttlMs, self } = options;
  let present: readonly ManagerMember[] = [];
  let held: { name: string; holder: string; fence: bigint } | null = null;
  let stopped = true;
  let turn: Promise<void> = Promise.resolve();
  let cancelTimer = () => {};

  async function look(): Promise<void> {
    try {
      await hold(self());
      const { leases: found } = await leases.list({ prefix });
      present = found.flatMap(({ holder }) => memberOf(holder));
    } catch (error) {
      log.debug({ error: String(error) }, 'the managers could not be looked up; what was known holds');
    }
    if (!stopped) cancelTimer = system.timers.after(ttlMs / 3, next);
  }

  function next(): void {
    turn = look();
  }

  async function hold(member: ManagerMember | null): Promise<void> {
    const holder = member && textOf(member);
    if (held && held.holder !== holder) {
      await leases.release(held.name, held.holder, held.fence);
      held = null;
    }
    if (!member || holder === null) return;
    const name = prefix + member.processId;
    const grant = await leases.tryAcquire(name, holder, ttlMs);
    // Somebody else's under this name: an earlier life of this process, whose lease ends by itself.
    held = grant.acquired ? { name, holder, fence: grant.fence } : null;
  }

  return {
    members: () => present,
    start() {
      stopped = false;
      next();
    },
    async stop() {
      if (stopped) return;
      stopped = true;
      cancelTimer();
      await turn;
      if (!held) return;
      const { name, holder, fence } = held;
      held = null;
      await leases.release(name, holder, fence).catch((error: unknown) => {
        log.debug({ error: String(error) }, 'the name of this manager was not given back and will expire');
      });
    },
  };
}

function textOf({ processId, nodeName, address }: ManagerMember): string {
  return JSON.stringify([processId, nodeName, address]);
}

/** A lease under this prefix that was made by something else is no manager. */
function memberOf(holder: string): ManagerMember[] {
  try {
    const parsed: unknown = JSON.parse(holder);
    if (!Array.isArray(parsed)) return [];
    const [processId, nodeName, address] = parsed as unknown[];
    return typeof processId === 'string' && typeof nodeName === 'string' && typeof address === 'string'
      ? [{ processId, nodeName, address }]
      : [];
  } catch {
    return []; // not JSON: not ours
  }
}
