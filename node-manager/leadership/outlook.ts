/**
 * Whether this leader is the right one: one that the network has cut off from most nodes, but not from the store, would keep the lease, take the nodes
 * for dead, and could mend nothing. So when it sees less than half of them it asks the other managers, and leaves the lead to one that sees
 * more. Where all see the same, the nodes are gone, and nobody can do better.
 */
import type { Logger, NodeReachability, System } from '#core';
import type { ManagerMember } from './membership.ts';

export interface Outlook {
  /** To be called with every look at the nodes. Never rejects. */
  consider(): Promise<void>;
}

export function createOutlook(options: {
  system: System;
  log: Logger;
  leads: () => boolean;
  /** States of the settings' nodes as this manager sees them. */
  states: () => readonly NodeReachability[];
  /** All managers but this one. */
  others: () => readonly ManagerMember[];
  /** States of the nodes as that manager sees them. */
  ask: (manager: ManagerMember) => Promise<readonly NodeReachability[]>;
  resign: () => Promise<void>;
  /** How long it must be so, and how long until it asks again. */
  patienceMs: number;
}): Outlook {
  const { system, log } = options;
  const now = () => system.clock.monotonicMs();
  let sinceMs: number | null = null;
  let asking = false;

  async function consider(): Promise<void> {
    const states = options.states();
    if (!options.leads() || !seesFew(states)) {
      sinceMs = null;
      return;
    }
    sinceMs ??= now();
    if (asking || now() - sinceMs < options.patienceMs) return;
    asking = true;
    try {
      const better = await findBetter(ready(states));
      if (better && options.leads()) {
        log.warn({ sees: ready(states), to: better.processId }, 'another manager sees more nodes: resigning');
        await options.resign();
      }
    } finally {
      asking = false;
      sinceMs = null;
    }
  }

  async function findBetter(mine: number): Promise<ManagerMember | null> {
    const seen = await Promise.all(
      options.others().map(async manager => {
        // One that does not answer is no better.
        const states = await options.ask(manager).catch(() => []);
        return { manager, count: ready(states) };
      }),
    );
    const [best] = seen.sort((a, b) => b.count - a.count);
    return best && best.count > mine ? best.manager : null;
  }

  return { consider };
}

function ready(states: readonly NodeReachability[]): number {
  return states.filter(state => state === 'ready').length;
}

/** Nodes that were never seen do not count: a cluster that starts has many of them. */
function seesFew(states: readonly NodeReachability[]): boolean {
  const known = states.filter(state => state !== 'unknown').length;
  return known > 0 && 2 * ready(states) < known;
}
