/**
 * Carries messages from the publisher to the component. Delivery begins after the component's start and ends before its stop: at the end nothing
 * more is taken, what is under way finishes and is acknowledged, and what waits goes back to the group, so to the instance's other copies.
 */
import {
  HoldfastError,
  type Component,
  type ComponentSubscribeOptions,
  type InstanceId,
  type LeaseService,
  type Logger,
  type MessagePublisher,
  type RemoteResource,
  type System,
} from '#core';
import { noPublisher } from '../context.ts';

export interface Subscriptions {
  /** Whether messages go to the owners of keys. */
  readonly keyed: boolean;
  /** Notes a wish. @throws HoldfastError HF_WRONG_STATE after `open` */
  add(messageType: string, options?: ComponentSubscribeOptions): void;
  /** @throws HoldfastError HF_NO_PUBLISHER, HF_START_FAILED */
  open(target: SubscriptionTarget): Promise<void>;
  /** Takes no more messages and resolves when none is under way. */
  close(): Promise<void>;
}

export interface SubscriptionTarget {
  system: System;
  component: Component;
  /** Null when the instance has none. */
  publisher: MessagePublisher | null;
  instanceId: InstanceId;
  processId: string;
  log: Logger;
  leases: Pick<LeaseService, 'hold' | 'inspect'>;
  resource: (instanceId: string, key: string) => RemoteResource;
  /** What marks requests that bring messages to owners. */
  mark: string;
}

interface Wish {
  messageType: string;
  options: ComponentSubscribeOptions;
}

export function createSubscriptions(): Subscriptions {
  const wishes: Wish[] = [];
  const opened: { close(): Promise<void> }[] = [];
  let open = false;

  return {
    get keyed() {
      return wishes.some(({ options }) => options.key !== undefined);
    },
    add(messageType, options = {}) {
      if (open) throw new HoldfastError('HF_WRONG_STATE', 'call subscribe in create or start, not later');
      wishes.push({ messageType, options });
    },
    async open(target) {
      open = true;
      for (const wish of wishes) opened.push(await subscribe(target, wish));
    },
    async close() {
      await Promise.allSettled(opened.splice(0).map(one => one.close()));
    },
  };
}

async function subscribe(target: SubscriptionTarget, wish: Wish): Promise<{ close(): Promise<void> }> {
  const { component, instanceId, log } = target;
  const { messageType, options } = wish;
  const { key, ...rest } = options;
  const publisher = deliveringPublisher(target);
  if (key !== undefined) {
    if (!component.openResource)
      throw cannot('subscribes with a key, but owns no resources: openResource is missing');
    const { subscribeKeyed } = await import('./keyed.ts');
    return subscribeKeyed({ ...target, publisher }, messageType, { ...rest, key });
  }
  if (!component.onMessage) throw cannot('subscribes to messages but has no onMessage');
  return publisher.subscribe(
    messageType,
    async (message, delivery) => {
      try {
        await component.onMessage!(message, delivery);
      } catch (error) {
        log.error({ err: error, messageId: message.messageId, messageType }, 'onMessage failed');
        throw error; // not acknowledged
      }
    },
    { ...rest, group: instanceId },
  );
}

/** @throws HoldfastError HF_NO_PUBLISHER, HF_START_FAILED */
function deliveringPublisher({ publisher, instanceId }: SubscriptionTarget) {
  if (!publisher) throw noPublisher(instanceId);
  if (publisher.subscribe)
    return publisher as MessagePublisher & Required<Pick<MessagePublisher, 'subscribe'>>;
  throw new HoldfastError(
    'HF_START_FAILED',
    `the publisher ${publisher.name} cannot deliver messages, and the component subscribes to some`,
  );
}

function cannot(what: string): HoldfastError {
  return new HoldfastError('HF_START_FAILED', `the component ${what}`);
}
