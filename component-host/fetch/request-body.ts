/** A request's body, read from its stream of frames with back-pressure: the sender is asked for more as the reader takes. */
import { resetCode, type IncomingRequest } from '#frames';

/** What may wait for the component. */
const aheadBytes = 64 * 1024;

/** All of it. Rejects when the client goes away before its end. */
export function readWhole(incoming: IncomingRequest): Promise<Buffer> | Buffer {
  const { body, bodyIsWhole } = incoming;
  if (bodyIsWhole) return body ?? Buffer.alloc(0);
  const chunks: Buffer[] = body === null ? [] : [body];
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  if (incoming.aborted) return Promise.reject(clientGone());
  incoming.receiver = {
    onData(chunk) {
      chunks.push(chunk);
      return true;
    },
    onEnd: () => resolve(Buffer.concat(chunks)),
    onReset: () => reject(clientGone()),
  };
  incoming.resume();
  return promise;
}

export function bodyStream(incoming: IncomingRequest): ReadableStream<Uint8Array> {
  let controller: ReadableStreamDefaultController<Uint8Array>;
  let over = false;
  const stream = new ReadableStream<Uint8Array>(
    {
      start(made) {
        controller = made;
        if (incoming.body !== null) controller.enqueue(incoming.body);
      },
      pull: () => incoming.resume(),
      cancel() {
        over = true;
        incoming.pause();
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: aheadBytes }),
  );
  if (incoming.aborted) {
    over = true;
    controller!.error(clientGone());
  }
  incoming.receiver = {
    onData(chunk) {
      if (over) return false;
      controller.enqueue(chunk);
      return (controller.desiredSize ?? 0) > 0;
    },
    onEnd() {
      if (!over) controller.close();
      over = true;
    },
    onReset(code) {
      if (!over)
        controller.error(code === resetCode.cancelled ? clientGone() : new Error('the connection broke'));
      over = true;
    },
  };
  return stream;
}

function clientGone(): DOMException {
  return new DOMException('the client went away before the end of its body', 'AbortError');
}
