/** A body that streams, on its way to a host. */
import type { Readable } from 'node:stream';
import type { OutgoingRequest } from '#frames';

/**
 * Sends what the stream gives, with back-pressure, and ends the body with it. Returns what to call when more may be written.
 * @param failed called at most once, when the stream ends before its end
 */
export function sendBody(
  body: Readable,
  request: Pick<OutgoingRequest, 'write' | 'end'>,
  failed: (cause: Error) => void,
): () => void {
  body.on('data', (chunk: Buffer) => {
    if (!request.write(chunk)) body.pause();
  });
  body.once('end', () => request.end());
  body.once('error', failed);
  return () => body.resume();
}
