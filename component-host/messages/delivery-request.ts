/**
 * How a message travels to the owner of its key: as a request for the key like any other, which the host takes before the component sees it.
 * What marks it is a text that only holders of the cluster secret can make, as headers of outside requests reach a component, too.
 */
import { createHmac } from 'node:crypto';
import type { InstanceId, Message } from '#core';

export interface OwnerDelivery {
  message: Message;
  attempt: number;
  group: string;
  /** Of the lease under which the subscription is served; digits. An owner refuses a lower one than it has seen. */
  fence: string;
}

/** What became of it. Any other answer is the host's, and not about the message. */
export type OwnerOutcome = 'handled' | 'failed' | 'stale';

export const DELIVERY_HEADER = 'hf-message-delivery';
export const OUTCOME_HEADER = 'hf-message-outcome';

export function deliveryMark(clusterSecret: string, instanceId: InstanceId): string {
  return createHmac('sha256', clusterSecret).update(`message-delivery\n${instanceId}`).digest('base64url');
}

export function encodeDelivery({ message, ...facts }: OwnerDelivery): string {
  const { bytes, ...rest } = message;
  return JSON.stringify({
    ...facts,
    message: rest,
    ...(bytes ? { bytes: Buffer.from(bytes).toString('base64') } : {}),
  });
}

export function decodeDelivery(text: string): OwnerDelivery {
  const { bytes, message, ...facts } = JSON.parse(text) as OwnerDelivery & { bytes?: string };
  if (bytes === undefined) return { ...facts, message };
  return { ...facts, message: { ...message, bytes: new Uint8Array(Buffer.from(bytes, 'base64')) } };
}
