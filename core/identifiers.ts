/**
 * Identifiers that must not be mixed. A brand costs nothing at runtime; `as` at the border (parsing, generation)
 * is the only place that makes one.
 */

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** A node's `networkName` in the settings. */
export type NodeName = Branded<string, 'NodeName'>;
/** One host process: `<node>-<random>`; new with every start. */
export type ProcessId = Branded<string, 'ProcessId'>;
/** One host's lease on its own liveness. */
export type SessionId = Branded<string, 'SessionId'>;
/** The instance id in the settings; also the name of the pool of hosts that share the instance's keys. */
export type InstanceId = Branded<string, 'InstanceId'>;
/** Strictly increases with every new owner of a key. A string of digits on the wire. */
export type Fence = Branded<bigint, 'Fence'>;
/** A canonical resource key, see `router/canonical-path.ts`. */
export type ResourceKey = Branded<string, 'ResourceKey'>;

/** A fence from the wire or a file. Throws RangeError unless it is a canonical positive integer below 2^63. */
export function parseFence(text: string): Fence {
  if (!/^[1-9][0-9]{0,18}$/.test(text) || BigInt(text) > 0x7fff_ffff_ffff_ffffn) {
    throw new RangeError(`not a fence: ${JSON.stringify(text.slice(0, 40))}`);
  }
  return BigInt(text) as Fence;
}

/** The mark that a leading node manager puts on every mutation: `clusterId:incarnation:fence`. */
export interface LeaderMark {
  clusterId: string;
  incarnation: string;
  fence: Fence;
}

export const LEADER_HEADER = 'x-holdfast-leader';

/** For whom a caller of an API acts, in its own words; recorded with changes. */
export const ACTOR_HEADER = 'x-holdfast-actor';

export function formatLeaderMark(mark: LeaderMark): string {
  return `${mark.clusterId}:${mark.incarnation}:${mark.fence}`;
}

/** Throws RangeError on anything but the exact form. */
export function parseLeaderMark(text: string): LeaderMark {
  const match = /^([A-Za-z0-9._-]{1,64}):([A-Za-z0-9._-]{1,64}):([0-9]{1,19})$/.exec(text);
  if (!match) throw new RangeError('expected clusterId:incarnation:fence');
  return { clusterId: match[1]!, incarnation: match[2]!, fence: parseFence(match[3]!) };
}
