/**
 * The chain of resources that wait for a call's answer, as it travels with the call. It is believed only over the channel, where
 * nobody but this cluster's hosts can write it. Pure.
 *
 * On the wire: the call's id, then one link for each resource that waits, the outermost first, separated by spaces. A link is
 * the instance's id followed by the key, which starts with a slash and holds no space; without a key where nothing is owned.
 */
import { HoldfastError, type InstanceId, type ResourceKey } from '#core';

export interface CallChain {
  /** Random: names this call wherever it is asked about. */
  readonly callId: string;
  readonly links: readonly string[];
}

/** How many resources may wait for each other's answers in a row. */
export const linksMax = 32;
/** What all of it may take of a request's head. */
export const chainBytesMax = 16 * 1024;

const callIdForm = /^[a-z0-9]{16}$/;
const linkForm = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[\x21-\x7e]*)?$/;

export function linkOf(pool: InstanceId, key: ResourceKey | null): string {
  return `${pool}${key ?? ''}`;
}

/** @throws HoldfastError HF_CALL_CYCLE when it is too long: calls that go so deep go in circles */
export function encodeChain({ callId, links }: CallChain): string {
  const text = [callId, ...links].join(' ');
  if (links.length <= linksMax && text.length <= chainBytesMax) return text;
  throw new HoldfastError('HF_CALL_CYCLE', `more than ${linksMax} resources would wait for each other`, {
    details: { calls: links.slice(-linksMax) },
  });
}

/** Null for what no host would have written. */
export function parseChain(text: string): CallChain | null {
  if (text.length > chainBytesMax) return null;
  const [callId = '', ...links] = text.split(' ');
  if (!callIdForm.test(callId) || links.length > linksMax) return null;
  return links.every(link => linkForm.test(link)) ? { callId, links } : null;
}
