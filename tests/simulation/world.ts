/** What every part of one schedule shares. */
import type { Dice } from './dice.ts';
import type { Host } from './host.ts';
import type { Network } from './network.ts';
import type { Plan } from './plan.ts';
import type { Register } from './register.ts';
import type { Scheduler } from './scheduler.ts';
import type { Count } from './statistics.ts';
import type { Store } from './store.ts';

export interface World {
  readonly plan: Plan;
  readonly dice: Dice;
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly store: Store;
  readonly registers: readonly Register[];
  /** Processes that run, and those that draining has not ended yet. */
  readonly hosts: Set<Host>;
  /** Whether faults happen at this time. */
  readonly faulty: boolean;
  /** Set while the store answers a host that brings back what it holds. */
  adopting: boolean;
  readonly count: (name: Count, by?: number) => void;
  /** Null unless somebody wants to read it: making the text costs more than the schedule. */
  readonly trace: ((text: string) => void) | null;
}
