/**
 * What a piece of work belongs to, from message to message: `correlationId`, and the W3C trace context as it came. Whatever a component publishes
 * while it handles a message or answers a request gets them, unless it says otherwise. Which work that is, the asynchronous context says.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Message, MessagePublisher } from '#core';

export type Trace = Readonly<Record<string, string>>;

const storage = new AsyncLocalStorage<Trace>();
const contextNames = ['traceparent', 'tracestate'] as const;
const textMax = 512;

export function runInTrace<Result>(trace: Trace, run: () => Result): Result {
  return storage.run(trace, run);
}

/** The first message of a chain gives it its name. */
export function traceOfMessage({ messageId, properties }: Message): Trace {
  return withContext({ correlationId: properties.correlationId ?? messageId }, name => properties[name]);
}

export function traceOfRequest({ headers }: Request): Trace {
  const requestId = headers.get('x-request-id');
  return withContext(requestId ? { correlationId: requestId.slice(0, textMax) } : {}, name =>
    headers.get(name)?.slice(0, textMax),
  );
}

/** The same publisher, but for the properties of what is published. */
export function tracing(publisher: MessagePublisher): MessagePublisher {
  const subscribe = publisher.subscribe?.bind(publisher);
  return {
    name: publisher.name,
    instanceId: publisher.instanceId,
    get state() {
      return publisher.state;
    },
    start: () => publisher.start(),
    stop: () => publisher.stop(),
    publish(message) {
      const trace = storage.getStore();
      if (!trace) return publisher.publish(message);
      return publisher.publish({ ...message, properties: { ...trace, ...message.properties } });
    },
    ...(subscribe ? { subscribe } : {}),
    ...(publisher.deadLetters ? { deadLetters: publisher.deadLetters } : {}),
  };
}

function withContext(
  trace: Record<string, string>,
  read: (name: string) => string | null | undefined,
): Trace {
  for (const name of contextNames) {
    const value = read(name);
    if (value) trace[name] = value;
  }
  return trace;
}
