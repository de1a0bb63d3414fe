/**
 * Messages at the owner of their key. A component is wrapped so that the handlers of its resources get those messages by `onMessage`
 * and never see the requests that bring them.
 *
 * What must hold: one at a time for each message, and never an older one after a newer one. The sender keeps the order; here whoever
 * sends under an older lease is refused, a message that comes again while it is being handled is the same work, and one that was handled not long
 * ago is not handled again.
 */
import { HoldfastError, type Component, type Delivery, type Resource, type ResourceHandler } from '#core';
import { textOf } from '../foreign.ts';
import {
  decodeDelivery,
  DELIVERY_HEADER,
  OUTCOME_HEADER,
  type OwnerDelivery,
  type OwnerOutcome,
} from './delivery-request.ts';
import { runInTrace, traceOfMessage, traceOfRequest } from './trace.ts';

export interface OwnerSideOptions {
  component: Component;
  /** What marks the requests that bring messages. */
  mark: string;
  /** Whether there are any; known when the component has started. */
  keyed: () => boolean;
}

const handledMax = 10_000;

/** The component as the host uses it. */
export function withMessages({ component, mark, keyed }: OwnerSideOptions): Component {
  const receive = createReceiver();

  function wrapHandler(handler: ResourceHandler, resource: Resource): ResourceHandler {
    const fetch = (request: Request) => {
      if (keyed() && request.headers.get(DELIVERY_HEADER) === mark)
        return receive(request, handler, resource);
      return runInTrace(traceOfRequest(request), () => handler.fetch(request));
    };
    // Whatever else a handler has is its own; its methods keep their `this`, for they may have private fields.
    return new Proxy({} as ResourceHandler, {
      has: (_, name) => name in handler,
      get(_, name) {
        if (name === 'fetch') return fetch;
        const value: unknown = Reflect.get(handler, name, handler);
        return typeof value === 'function' ? (value.bind(handler) as unknown) : value;
      },
    });
  }

  return {
    start: signal => component.start(signal),
    stop: signal => component.stop(signal),
    ...(component.fetch
      ? { fetch: request => runInTrace(traceOfRequest(request), () => component.fetch!(request)) }
      : {}),
    ...(component.openResource
      ? { openResource: async resource => wrapHandler(await component.openResource!(resource), resource) }
      : {}),
    ...(component.upgrade ? { upgrade: component.upgrade.bind(component) } : {}),
    ...(component.run ? { run: component.run.bind(component) } : {}),
    ...(component.onMessage
      ? {
          onMessage: (message, delivery) =>
            runInTrace(traceOfMessage(message), () => component.onMessage!(message, delivery)),
        }
      : {}),
  };
}

function createReceiver() {
  /** The highest of each group and type. */
  const fences = new Map<string, bigint>();
  const underWay = new Map<string, Promise<Response>>();
  /** The oldest first. */
  const handled = new Set<string>();

  async function handle(
    handler: ResourceHandler,
    resource: Resource,
    sent: OwnerDelivery,
  ): Promise<Response> {
    if (!handler.onMessage) return answer('failed', `the handler of ${resource.key} has no onMessage`);
    const { message, attempt, group } = sent;
    const delivery: Delivery = { attempt, group, signal: resource.signal };
    try {
      await runInTrace(traceOfMessage(message), () => handler.onMessage!(message, delivery));
      return answer('handled');
    } catch (error) {
      // Not the message's fault: the data plane says what that means, and gives a fenced key back.
      if (error instanceof HoldfastError && ['HF_NOT_OWNER', 'HF_FENCED'].includes(error.code)) throw error;
      return answer('failed', textOf(error));
    }
  }

  return async (request: Request, handler: ResourceHandler, resource: Resource): Promise<Response> => {
    const sent = decodeDelivery(await request.text());
    const place = `${sent.group} ${sent.message.messageType ?? ''}`;
    const fence = BigInt(sent.fence);
    if (fence < (fences.get(place) ?? 0n)) return answer('stale');
    fences.set(place, fence);
    // Another fence is another opening: its state may be an older one.
    const name = `${resource.fence} ${place} ${sent.message.messageId}`;
    if (handled.has(name)) return answer('handled');
    const same = underWay.get(name);
    if (same) return (await same).clone();
    const work = handle(handler, resource, sent);
    underWay.set(name, work);
    try {
      const response = await work;
      if (response.ok) remember(name);
      return response.clone();
    } finally {
      underWay.delete(name);
    }
  };

  function remember(name: string): void {
    handled.add(name);
    if (handled.size <= handledMax) return;
    for (const oldest of handled) return void handled.delete(oldest);
  }
}

function answer(outcome: OwnerOutcome, reason = ''): Response {
  const status = outcome === 'handled' ? 200 : outcome === 'stale' ? 409 : 422;
  return new Response(reason.slice(0, 1_000), { status, headers: { [OUTCOME_HEADER]: outcome } });
}
