/**
 * How a connection begins: an HTTP upgrade on the host's port, and a proof in each direction that the other end knows the cluster
 * secret. Both are HMACs over both sides' random numbers, under a key of the session's own, so nothing on the wire can be used
 * again or for anything else. Pure.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

export const helloHeaders = {
  session: 'x-holdfast-session',
  nonce: 'x-holdfast-nonce',
  proof: 'x-holdfast-proof',
} as const;

/** Where hosts take such connections. */
export const framesPath = '/api/componentHost/frames';

const domain = 'holdfast/frames/v1\0';
const nonceForm = /^[a-z0-9]{32}$/;

export interface Challenge {
  secret: string;
  sessionId: string;
  clientNonce: string;
  hostNonce: string;
}

export function isNonce(text: unknown): text is string {
  return typeof text === 'string' && nonceForm.test(text);
}

export function proofOf(
  side: 'client' | 'host',
  { secret, sessionId, clientNonce, hostNonce }: Challenge,
): Buffer {
  const key = createHmac('sha256', secret).update(domain).update(sessionId).digest();
  return createHmac('sha256', key).update(`${side}\0${clientNonce}\0${hostNonce}`).digest();
}

/** Takes the same time however wrong it is. */
export function isProof(given: Buffer, side: 'client' | 'host', challenge: Challenge): boolean {
  const expected = proofOf(side, challenge);
  return given.length === expected.length && timingSafeEqual(given, expected);
}
