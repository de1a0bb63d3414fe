/**
 * How a host recognises a router: whoever knows the cluster secret can make the key of a session, nobody else can. The
 * prefix separates this use of the secret from all others, so that no other HMAC under it can be passed off as a key.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

const domain = 'holdfast/router-channel/v1\0';

/** HMAC-SHA-256 (hex) that authorises requests of a router to the host with this session. */
export function channelKey(secret: string, sessionId: string): string {
  return digest(secret, sessionId).toString('hex');
}

/** Whether `given` is that key; takes the same time however wrong it is. */
export function verifyChannelKey(secret: string, sessionId: string, given: unknown): boolean {
  if (typeof given !== 'string' || !/^[0-9a-f]{64}$/.test(given)) return false;
  return timingSafeEqual(digest(secret, sessionId), Buffer.from(given, 'hex'));
}

function digest(secret: string, sessionId: string): Buffer {
  return createHmac('sha256', secret).update(domain).update(sessionId).digest();
}
