/**
 * Tells a host that it was just handed a key, so that it opens it before the first request arrives: that is what keeps the time short
 * for which nobody can serve it. Whatever goes wrong is harmless: the first request opens the key then.
 */
import { CHANNEL_HEADERS, type Claim, type Logger } from '#core';
import { channelKey } from '#ownership';

export const openingPath = '/api/componentHost/resources/open';

const timeoutMs = 5_000;

export function tellNewOwner(
  claim: Claim,
  { clusterSecret, log }: { clusterSecret: string; log: Logger },
): void {
  const { key, fence, sessionId, address } = claim;
  const failed = (error: unknown) =>
    log.debug({ err: error, key }, 'the new owner could not be told to open the key');
  try {
    const request = process.getBuiltinModule('node:http').request(new URL(openingPath, address), {
      method: 'POST',
      timeout: timeoutMs,
      headers: {
        'content-length': 0,
        [CHANNEL_HEADERS.channel]: channelKey(clusterSecret, sessionId),
        [CHANNEL_HEADERS.session]: sessionId,
        [CHANNEL_HEADERS.resource]: key,
        [CHANNEL_HEADERS.fence]: fence.toString(),
        [CHANNEL_HEADERS.open]: '1',
      },
    });
    request.on('error', failed);
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('response', response => response.resume());
    request.end();
  } catch (error) {
    failed(error); // a key that no header can carry, say
  }
}
