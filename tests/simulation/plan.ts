/**
 * What one seed decides before anything runs: sizes, clocks, and which kinds of faults there are. Kinds are switched on one by one
 * ("swarm testing"): a schedule with few kinds of faults gets deeper into each of them than one where everything fails at once.
 */
import { marginOf } from '../../ownership/guard/session.ts';
import type { Dice } from './dice.ts';

export const faultKinds = [
  'loss',
  'slowness',
  'duplication',
  'partition',
  'freeze',
  'suspension',
  'crash',
  'storeCrash',
  'storeStall',
  'storeForgets',
  'storeGoesBack',
  'wallClock',
  'storeClock',
  'openFailure',
  /** The fence in a resource goes up by itself: its file was replaced. */
  'foreignFence',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface Plan {
  readonly seed: number;
  /**
   * `timed`: clocks and delays keep to the timing model, and every invariant must hold. `untimed`: they do not, and only what
   * fences protect must hold.
   */
  readonly regime: 'timed' | 'untimed';
  readonly ttlMs: number;
  readonly marginMs: number;
  readonly hosts: number;
  readonly routers: number;
  readonly keys: number;
  readonly requests: number;
  readonly concurrency: number;
  /** How long faults happen. */
  readonly busyMs: number;
  readonly storeRate: number;
  readonly faults: ReadonlySet<FaultKind>;
  readonly lossRate: number;
  /** Planned changes by an operator: drains, moves, pauses. */
  readonly changeRate: number;
  readonly idleMs: number;
  readonly onAuthorityLoss: 'stop' | 'serveFenced';
  /** Every resource checks fences; otherwise every other one does not. */
  readonly allFenced: boolean;
  /** Whether the hosts contend for a lease besides. */
  readonly leases: boolean;
  /**
   * Whether no two hosts may believe in the same key at once. Not under `serveFenced` with a store that forgets: a host that had been cut
   * off may bring back what another has got since, before that one does. Its fence is outdated, so it can do nothing with it.
   */
  readonly oneAnswerer: boolean;
}

/** Combinations that reach deep into one part of the protocol, and would come together by chance too seldom. */
const themes: readonly (readonly FaultKind[])[] = [
  ['slowness', 'partition'],
  ['slowness', 'freeze'],
  ['slowness', 'storeStall'],
  ['storeForgets'],
  ['storeForgets', 'partition', 'storeCrash'],
  ['storeGoesBack', 'freeze', 'partition'],
  ['foreignFence'],
  ['loss', 'openFailure'],
];

/** Clocks may be wrong by so much against true time. */
export const rateError = 0.1;
/**
 * The timing model: the store's clock may run faster than a host's by this factor. 5 % of the time to live are kept as margin for it
 * (`marginOf`), and 1 / 0.95 is what that pays for. Slower is always safe.
 */
export const rateRatioMax = 1 / 0.95;
/** The timing model: from the last check of ownership to its effect, on the host's clock. */
export const effectDelayMsMax = 10;
/** The boot clock's tick, by which the store's clock and a host's may both be behind. */
export const tickMs = 10;

export function makePlan(seed: number, dice: Dice): Plan {
  const faultless = dice.chance(0.15);
  const regime = faultless || dice.chance(0.75) ? 'timed' : 'untimed';
  const faults = new Set<FaultKind>();
  if (!faultless) {
    if (dice.chance(0.4)) for (const kind of dice.pick(themes)) faults.add(kind);
    else for (const kind of faultKinds) if (dice.chance(0.3)) faults.add(kind);
  }
  const ttlMs = dice.pick([400, 1_000, 5_000]);
  const onAuthorityLoss = dice.chance(0.2) ? 'serveFenced' : 'stop';
  const forgetful = faults.has('storeForgets') || faults.has('storeGoesBack');
  return {
    seed,
    regime,
    ttlMs,
    marginMs: marginOf(ttlMs),
    hosts: 2 + dice.below(2),
    routers: 1 + dice.below(2),
    keys: 2 + dice.below(3),
    requests: 20 + dice.below(40),
    concurrency: dice.below(3),
    busyMs: ttlMs * dice.between(2, 6),
    storeRate: dice.between(1 - rateError, 1 + rateError),
    faults,
    lossRate: dice.between(0.02, 0.2),
    changeRate: faultless ? 0.3 : dice.chance(0.5) ? 0.15 : 0,
    idleMs: dice.chance(0.3) ? ttlMs * dice.between(0.1, 1) : 0,
    onAuthorityLoss,
    allFenced: onAuthorityLoss === 'serveFenced' || dice.chance(0.2),
    leases: !forgetful && dice.chance(0.25),
    oneAnswerer: regime === 'timed' && !(onAuthorityLoss === 'serveFenced' && forgetful),
  };
}

/** The rate of one host's clock under this plan. */
export function hostRate(plan: Plan, dice: Dice): { rate: number; atTheBound: boolean } {
  const slowest = 1 - rateError;
  const most = 1 + rateError;
  if (plan.regime === 'untimed') return { rate: dice.between(slowest, most), atTheBound: false };
  const bound = Math.max(slowest, plan.storeRate / rateRatioMax);
  return dice.chance(0.4)
    ? { rate: bound, atTheBound: true }
    : { rate: dice.between(bound, most), atTheBound: false };
}
