/**
 * Carries messages from the publisher to the component's `onMessage`. Delivery begins after the component's start and
 * ends before its stop; a message that comes outside of that is refused, so that the medium keeps it.
 */
import {
  HoldfastError,
  type Component,
  type ComponentSubscribeOptions,
  type InstanceId,
  type Logger,
  type MessageHandler,
  type MessagePublisher,
  type Subscription,
} from '#core';
import { noPublisher } from './context.ts';

export interface Subscriptions {
  /** Notes a wish. @throws HoldfastError HF_WRONG_STATE after `open` */
  add(messageType: string, options?: ComponentSubscribeOptions): void;
  /** @throws HoldfastError HF_NO_PUBLISHER, HF_START_FAILED */
  open(target: SubscriptionTarget): Promise<void>;
  /** Takes no more messages and resolves when none is under way. */
  close(): Promise<void>;
}

export interface SubscriptionTarget {
  component: Component;
  /** Null when the instance has none. */
  publisher: MessagePublisher | null;
  instanceId: InstanceId;
  log: Logger;
}

export function createSubscriptions(): Subscriptions {
  const wishes: { messageType: string; options: ComponentSubscribeOptions }[] = [];
  const underWay = new Set<Promise<void>>();
  const subscriptions: Subscription[] = [];
  let state: 'collecting' | 'delivering' | 'closed' = 'collecting';

  return {
    add(messageType, options = {}) {
      if (state !== 'collecting') {
        throw new HoldfastError('HF_WRONG_STATE', 'call subscribe in create or start, not later');
      }
      wishes.push({ messageType, options });
    },
    async open({ component, publisher, instanceId, log }) {
      state = 'delivering';
      if (wishes.length === 0) return;
      if (!publisher) throw noPublisher(instanceId);
      if (!publisher.subscribe) {
        throw new HoldfastError(
          'HF_START_FAILED',
          `the publisher ${publisher.name} cannot deliver messages, and the component subscribes to some`,
        );
      }
      if (!component.onMessage) {
        throw new HoldfastError(
          'HF_START_FAILED',
          'the component subscribes to messages but has no onMessage',
        );
      }
      for (const { messageType, options } of wishes) {
        const deliver: MessageHandler = async (message, delivery) => {
          if (state !== 'delivering') throw new HoldfastError('HF_UNAVAILABLE', 'the component is stopping');
          const work = (async () => component.onMessage!(message, delivery))();
          underWay.add(work);
          try {
            await work;
          } catch (error) {
            log.error({ err: error, messageId: message.messageId, messageType }, 'onMessage failed');
            throw error; // not acknowledged
          } finally {
            underWay.delete(work);
          }
        };
        subscriptions.push(
          await publisher.subscribe(messageType, deliver, { ...options, group: instanceId }),
        );
      }
    },
    async close() {
      // First nothing more is taken: a message that came now would be refused, and that would count as an attempt.
      await Promise.allSettled(subscriptions.map(subscription => subscription.close()));
      state = 'closed';
      await Promise.allSettled(underWay);
    },
  };
}
