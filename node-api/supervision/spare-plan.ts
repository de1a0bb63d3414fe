/**
 * How many spares of each launch profile a node keeps. A profile is what cannot be changed once a process runs: the limit of its
 * heap. Each profile that something on the node runs with gets its spares, the plain one first, as long as the memory set
 * aside for spares has room for one more. Pure.
 */

/** Limit of the heap in MiB; null: none. */
export type LaunchProfile = number | null;

export interface SpareFacts {
  /** For each profile. */
  perProfile: number;
  /** What all spares of the node may take together. */
  memoryBytes: number;
  /** What one takes, as far as is known. */
  spareBytes: number;
  /** Profiles of what runs here, one for each process. */
  inUse: readonly LaunchProfile[];
  /** The node is short of memory. */
  short: boolean;
}

export function planSpares(facts: SpareFacts): Map<LaunchProfile, number> {
  const uses = new Map<LaunchProfile, number>();
  for (const profile of facts.inUse) uses.set(profile, (uses.get(profile) ?? 0) + 1);
  uses.delete(null);
  const byUse = [...uses].sort(([a, usesOfA], [b, usesOfB]) => usesOfB - usesOfA || Number(a) - Number(b));
  const profiles: LaunchProfile[] = [null, ...byUse.map(([profile]) => profile)];
  let left = facts.short ? 0 : Math.floor(facts.memoryBytes / facts.spareBytes);
  const plan = new Map<LaunchProfile, number>();
  for (const profile of profiles) {
    const count = Math.min(facts.perProfile, left);
    left -= count;
    plan.set(profile, count);
  }
  return plan;
}
