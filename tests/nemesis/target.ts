/** A cluster to be broken, whatever it stands on. */
import type { Dialect } from './dialects.ts';
import type { Dice } from './dice.ts';
import type { Content, MayFail } from './history.ts';

export interface Target {
  /** One line on what it is. */
  readonly description: string;
  readonly routers: readonly string[];
  readonly registers: ReadonlyMap<string, Dialect>;
  /** See `ClientOptions`. */
  readonly readFiles: boolean;
  readonly faults: readonly Fault[];
  /** Planned moves that have succeeded so far. */
  moves(): number;
  /** What is not as it should be; empty: it has healed. */
  problems(): Promise<string[]>;
  contents(): Promise<Map<string, Content>>;
  /** Ends it; what it left behind that it should not, in words. Idempotent. */
  stop(): Promise<string[]>;
  /** Removes what is left of it: its folder only if it shall not be kept. */
  dispose(options: { keepFolder: boolean }): Promise<void>;
  readonly directory: string;
}

export interface Fault {
  name: string;
  mayFail: MayFail;
  /** How long the cluster may take to heal after it. */
  healMs: number;
  /** What it needs for itself: two that need the same are not injected at once. Default: nothing. */
  needs?: 'network' | 'redis' | 'everything';
  /** Resolves, when the breaking is over, to the routers whose connections it may have broken. */
  inject(dice: Dice): Promise<string[]>;
}
