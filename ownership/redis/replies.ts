/** Reading what scripts answer and publish: all of it text, in the order that the scripts state. */
import {
  HoldfastError,
  parseFence,
  type Claim,
  type ClaimOutcome,
  type DirectoryEvent,
  type InstanceId,
  type NodeName,
  type ProcessId,
  type ResourceKey,
  type Session,
  type SessionId,
} from '#core';

/** Who a session is, as claims tell it. */
type Owner = Pick<Claim, 'sessionId' | 'processId' | 'nodeName' | 'address'>;

/** `{ records, sessions }` of `keys.lua.ts`. */
export type ClaimsReply = [records: string[], sessions: string[]];

export function readOwner([sessionId, processId, nodeName, address]: readonly string[]): Owner {
  return {
    sessionId: sessionId as SessionId,
    processId: processId as ProcessId,
    nodeName: nodeName as NodeName,
    address: address!,
  };
}

/** The owners in a reply, by session id. */
function readOwners(flat: readonly string[]): Map<string, Owner> {
  const owners = new Map<string, Owner>();
  for (let index = 0; index < flat.length; index += 4) {
    owners.set(flat[index]!, readOwner(flat.slice(index, index + 4)));
  }
  return owners;
}

/** A record of a live owner. */
export function readClaim(
  pool: InstanceId,
  key: ResourceKey,
  record: string,
  ownerOf: (sessionId: string) => Owner | undefined,
): Claim {
  const [fence, sessionId, flags] = record.split(':');
  const owner = ownerOf(sessionId!);
  if (!owner || flags === undefined) throw new HoldfastError('HF_INTERNAL', 'a record without its owner');
  return { pool, key, fence: parseFence(fence!), ...owner, hadOwner: flags.includes('o') };
}

/** The only record of a reply, null if there is none. */
export function readOneClaim(
  pool: InstanceId,
  key: ResourceKey,
  [records, sessions]: ClaimsReply,
): Claim | null {
  const owners = readOwners(sessions);
  const [record] = records;
  return record === undefined ? null : readClaim(pool, key, record, id => owners.get(id));
}

export function readOutcomes(
  pool: InstanceId,
  keys: readonly ResourceKey[],
  [records, sessions]: ClaimsReply,
): ClaimOutcome[] {
  const owners = readOwners(sessions);
  return keys.map((key, index) => {
    const record = records[index]!;
    if (record === 'paused' || record === 'recovering' || record === 'no-live-host') {
      return { owned: false, reason: record };
    }
    return { owned: true, claim: readClaim(pool, key, record, id => owners.get(id)) };
  });
}

export function readSession(facts: readonly string[]): Session {
  const [sessionId, pool, processId, nodeName, address, owns, capacity, draining, ready, keys] = facts;
  return {
    sessionId: sessionId as SessionId,
    pool: pool as InstanceId,
    processId: processId as ProcessId,
    nodeName: nodeName as NodeName,
    address: address!,
    ownsResources: owns === '1',
    capacity: Number(capacity),
    draining: draining === '1',
    ready: ready === '1',
    keys: Number(keys),
  };
}

/** What the scripts publish. */
type Published =
  | { type: 'session-opened' | 'session-changed'; session: string[] }
  | Extract<DirectoryEvent, { type: 'session-ended' | 'paused' | 'resumed' | 'reset' }>
  | { type: 'released'; pool: InstanceId; key: ResourceKey; fence: string }
  | { type: 'moved'; pool: InstanceId; key: ResourceKey; record: string; session: string[]; from: SessionId };

/** Throws what JSON.parse throws on anything else than what a script published. */
export function readEvent(text: string): DirectoryEvent {
  const event = JSON.parse(text) as Published;
  switch (event.type) {
    case 'session-opened':
    case 'session-changed':
      return { type: event.type, session: readSession(event.session) };
    case 'released':
      return { ...event, fence: parseFence(event.fence) };
    case 'moved': {
      const { pool, key, record, session, from } = event;
      return { type: 'moved', claim: readClaim(pool, key, record, () => readOwner(session)), from };
    }
    case 'session-ended':
    case 'paused':
    case 'resumed':
    case 'reset':
      return event;
  }
}
