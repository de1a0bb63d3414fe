/**
 * A subscription whose messages go to the owners of their keys. One copy of the instance at a time serves it, under a lease: it takes the
 * messages from the publisher in order, and sends each to the owner of its key, the next one for the key only when that has handled it.
 * When this copy stops, it lets go of the lease and the next one goes on; when it dies, that takes as long as the lease lives.
 *
 * That the owner cannot be reached says nothing of the message, and is no attempt: it is tried again until it can. An owner that ended while
 * it handled the message is one: the message may be the cause.
 */
import {
  HoldfastError,
  type ComponentSubscribeOptions,
  type Delivery,
  type InstanceId,
  type LeaseService,
  type Logger,
  type Message,
  type MessagePublisher,
  type RemoteResource,
  type System,
} from '#core';
import { canonicalKeyOfText } from '#ownership';
import { aborted } from '../deadline.ts';
import { DELIVERY_HEADER, encodeDelivery, OUTCOME_HEADER } from './delivery-request.ts';

export interface KeyedDeps {
  system: System;
  log: Logger;
  instanceId: InstanceId;
  processId: string;
  publisher: MessagePublisher;
  leases: Pick<LeaseService, 'hold' | 'inspect'>;
  resource: (instanceId: string, key: string) => RemoteResource;
  mark: string;
}

export interface KeyedSubscription {
  /** Resolves when what it had under way is settled and another copy may go on. */
  close(): Promise<void>;
}

const concurrencyDefault = 16;
const leaseMs = 5_000;
const waitMs = 60_000;
/** How long a start waits for the subscription. */
const readyMs = 5_000;
const pauseMs = { first: 50, max: 2_000 };

type Outcome = { type: 'handled' } | { type: 'stale' } | { type: 'failed' | 'unreachable'; reason: string };

/** Resolves when the group exists, or soon will: another copy serves it. */
export async function subscribeKeyed(
  deps: KeyedDeps,
  messageType: string,
  { key, ...options }: ComponentSubscribeOptions & { key: NonNullable<ComponentSubscribeOptions['key']> },
): Promise<KeyedSubscription> {
  const { system, log, instanceId, processId, publisher, leases, resource, mark } = deps;
  const name = `messages/${instanceId}/${messageType}`;
  const stopping = new AbortController();
  const waiting = new AbortController();
  const ready = Promise.withResolvers<void>();
  let serving = false;

  /** @throws what makes the message a dead letter: it names no key */
  function keyOf(message: Message): string {
    const found = typeof key === 'function' ? key(message) : message.properties[key];
    if (typeof found === 'string') return canonicalKeyOfText(found);
    throw new Error(typeof key === 'string' ? `it has no property ${key}` : 'its key is no text');
  }

  async function serve(lost: AbortSignal, fence: bigint): Promise<void> {
    serving = true;
    const ending = new AbortController();
    const handler = (message: Message, delivery: Delivery) => send(message, delivery, fence, ending.signal);
    try {
      const subscription = await publisher.subscribe!(messageType, handler, {
        ...options,
        concurrency: options.concurrency ?? concurrencyDefault,
        group: instanceId,
        orderBy: keyOf,
      });
      ready.resolve();
      await aborted(lost, stopping.signal);
      ending.abort(new Error('the subscription goes to another copy'));
      await subscription.close();
    } finally {
      serving = false;
    }
  }

  /** Resolves when the owner has handled it. @throws when that has failed */
  async function send(
    message: Message,
    delivery: Delivery,
    fence: bigint,
    ending: AbortSignal,
  ): Promise<void> {
    const target = keyOf(message);
    const { attempt, group } = delivery;
    const body = encodeDelivery({ message, attempt, group, fence: fence.toString() });
    for (let failures = 0; ; failures++) {
      ending.throwIfAborted();
      const outcome = await ask(target, body);
      if (outcome.type === 'handled') return;
      if (outcome.type === 'failed') throw new Error(outcome.reason);
      // Another copy serves the subscription, and has the message; this one is about to learn of it.
      if (outcome.type === 'stale') await aborted(ending);
      if (outcome.type === 'unreachable') {
        if (failures === 0)
          log.warn({ key: target, reason: outcome.reason }, 'a message cannot reach its owner yet');
        const pause = Math.min(pauseMs.max, pauseMs.first * 2 ** Math.min(failures, 10));
        await system.timers.sleep(pause * (0.75 + system.random.fraction() / 2), ending);
      }
    }
  }

  async function ask(target: string, body: string): Promise<Outcome> {
    let response: Response;
    let text: string;
    try {
      const headers = { [DELIVERY_HEADER]: mark, 'content-type': 'application/json' };
      response = await resource(instanceId, target).fetch(`http://resource${target}`, {
        method: 'POST',
        headers,
        body,
      });
      text = await response.text();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const ended = error instanceof HoldfastError && error.code === 'HF_OUTCOME_UNKNOWN';
      return { type: ended ? 'failed' : 'unreachable', reason };
    }
    const outcome = response.headers.get(OUTCOME_HEADER);
    if (outcome === 'handled') return { type: 'handled' };
    if (outcome === 'stale') return { type: 'stale' };
    if (outcome === 'failed') return { type: 'failed', reason: text };
    return { type: isPassing(text) ? 'unreachable' : 'failed', reason: text.slice(0, 500) };
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await leases.hold(
          name,
          { holder: processId, ttlMs: leaseMs, waitMs, signal: waiting.signal },
          (lost, { fence }) => serve(lost, fence),
        );
      } catch (error) {
        log.error(
          { err: error, messageType },
          'a subscription by key could not be served; it is tried again',
        );
        await system.timers.sleep(1_000, stopping.signal).catch(() => {}); // the loop ends by itself
      }
    }
  }

  const running = run();
  const holder = await leases.inspect(name).catch(() => null); // unknown: then it is waited for
  if (holder === null || holder.holder === processId) {
    const cancel = system.timers.after(readyMs, ready.resolve, { keepAlive: true });
    await ready.promise;
    cancel();
  }
  return {
    async close() {
      stopping.abort(new Error('the component stops'));
      // While it is served, the lease is kept until what is under way is settled.
      if (!serving) waiting.abort(new Error('the component stops'));
      await running;
    },
  };
}

/** The host's answer, and one that will be another before long. */
function isPassing(text: string): boolean {
  try {
    const { code } = JSON.parse(text) as { code?: unknown };
    return ['HF_UNAVAILABLE', 'HF_NO_OWNER', 'HF_COORDINATION_UNAVAILABLE', 'HF_OWNER_TIMEOUT'].includes(
      String(code),
    );
  } catch {
    return false; // not ours
  }
}
