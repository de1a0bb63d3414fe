/**
 * How the coordinator and its clients write things down: plain JSON, fences as strings of digits (a JSON number would lose
 * some). One encoder and one decoder for each shape, next to each other.
 */
import {
  HoldfastError,
  parseFence,
  type Claim,
  type ClaimOutcome,
  type DirectoryEvent,
  type Fence,
  type HeldKey,
  type KeyRecord,
  type Holding,
  type LeaseGrant,
  type LeaseHolder,
  type ResourceDirectory,
  type StoredDocument,
} from '#core';

type WithText<T> = T extends { fence: bigint }
  ? Omit<T, 'fence'> & { fence: string }
  : T extends { fence: bigint | null }
    ? Omit<T, 'fence'> & { fence: string | null }
    : T;

export type WireClaim = WithText<Claim>;
export type WireHolding = WithText<Holding>;
export type WireHeldKey = WithText<HeldKey>;
export type WireKeyRecord = WithText<KeyRecord>;
export type WireOutcome = { owned: true; claim: WireClaim } | Extract<ClaimOutcome, { owned: false }>;
type Transfer = Awaited<ReturnType<ResourceDirectory['transfer']>>;
export type WireTransfer = { held: true; claim: WireClaim | null } | { held: false };
type Moved = Extract<DirectoryEvent, { type: 'moved' }>;
export type WireEvent =
  WithText<Exclude<DirectoryEvent, Moved>> | (Omit<Moved, 'claim'> & { claim: WireClaim });
export type WireGrant = WithText<LeaseGrant>;
export type WireHolder = WithText<LeaseHolder>;

/** What the coordinator pushes to a subscriber, in order; it sends the next push when this one was answered. */
export interface WirePush {
  events: WireEvent[];
  documents: { name: string; document: StoredDocument }[];
  /** Names of leases that changed hands: hints to look. */
  leases: string[];
}

/** The method of a push, the only one that clients answer. */
export const PUSH = 'push';

export const encodeClaim = (claim: Claim): WireClaim => ({ ...claim, fence: claim.fence.toString() });
export const decodeClaim = (claim: WireClaim): Claim => ({ ...claim, fence: decodeFence(claim.fence) });

export const encodeOutcome = (outcome: ClaimOutcome): WireOutcome =>
  outcome.owned ? { owned: true, claim: encodeClaim(outcome.claim) } : outcome;
export const decodeOutcome = (outcome: WireOutcome): ClaimOutcome =>
  outcome.owned ? { owned: true, claim: decodeClaim(outcome.claim) } : outcome;

export const encodeHolding = ({ pool, key, sessionId, fence }: Holding): WireHolding => ({
  pool,
  key,
  sessionId,
  fence: fence.toString(),
});
export const encodeHeldKey = (held: HeldKey): WireHeldKey => ({ ...held, fence: held.fence.toString() });

export const encodeKeyRecord = (record: KeyRecord): WireKeyRecord => ({
  ...record,
  fence: record.fence.toString(),
});
export const decodeKeyRecord = (record: WireKeyRecord): KeyRecord => ({
  ...record,
  fence: decodeRecordFence(record.fence),
});

export const encodeTransfer = (outcome: Transfer): WireTransfer =>
  outcome.held ? { held: true, claim: outcome.claim && encodeClaim(outcome.claim) } : outcome;
export const decodeTransfer = (outcome: WireTransfer): Transfer =>
  outcome.held ? { held: true, claim: outcome.claim && decodeClaim(outcome.claim) } : outcome;

export function encodeEvent(event: DirectoryEvent): WireEvent {
  if (event.type === 'released') return { ...event, fence: event.fence.toString() };
  return event.type === 'moved' ? { ...event, claim: encodeClaim(event.claim) } : event;
}
export function decodeEvent(event: WireEvent): DirectoryEvent {
  if (event.type === 'released') return { ...event, fence: decodeFence(event.fence) };
  return event.type === 'moved' ? { ...event, claim: decodeClaim(event.claim) } : event;
}

export const encodeGrant = (grant: LeaseGrant): WireGrant =>
  grant.acquired
    ? { ...grant, fence: grant.fence.toString() }
    : { ...grant, fence: grant.fence?.toString() ?? null };
export const decodeGrant = (grant: WireGrant): LeaseGrant =>
  grant.acquired
    ? { ...grant, fence: decodeFence(grant.fence) }
    : { ...grant, fence: grant.fence === null ? null : decodeFence(grant.fence) };

export const encodeHolder = (holder: LeaseHolder): WireHolder => ({
  ...holder,
  fence: holder.fence.toString(),
});
export const decodeHolder = (holder: WireHolder): LeaseHolder => ({
  ...holder,
  fence: decodeFence(holder.fence),
});

/** Of a record: 0 where nobody ever owned the key. */
export function decodeRecordFence(text: unknown): Fence {
  return text === '0' ? (0n as Fence) : decodeFence(text);
}

export function decodeFence(text: unknown): Fence {
  try {
    return parseFence(String(text));
  } catch (cause) {
    throw new HoldfastError('HF_REQUEST_INVALID', (cause as Error).message, { cause });
  }
}
