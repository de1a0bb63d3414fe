/**
 * A whole publisher, made of a broker's adapter: what components and the host see as `MessagePublisher`.
 *
 * stopped ──start──▶ started ──stop──▶ stopped. It is started also while the broker is away: messages go to the outbox then, and
 * subscriptions begin when it is there.
 */
import { join } from 'node:path';
import {
  createSystem,
  HoldfastError,
  type DeadLetter,
  type MessageHandler,
  type MessagePublisher,
  type PublisherContext,
  type PublisherState,
  type Subscription,
  type System,
} from '#core';
import type { Broker, BrokerSession } from './broker.ts';
import { createDeliveries, type Deliveries } from './deliveries.ts';
import { createLink, type Link } from './link.ts';
import { checkSubject, decodeMessage, encodeMessage } from './message.ts';
import { createOutboxFolder, type OutboxFolder } from './outbox/outbox-folder.ts';
import { createSender, type Sender } from './sender.ts';
import { readPublisherSettings } from './settings.ts';
import { planSubscription } from './subscribe-options.ts';

/** How long a start and a subscription wait for the broker before they go on without it. */
const brokerWaitMs = 3_000;
/** How long a stop waits for handlers, and for messages to go out. */
const stopMs = { handlers: 4_000, sending: 2_000 };

interface Running {
  link: Link;
  sender: Sender;
  outbox: OutboxFolder;
  subscriptions: Set<Deliveries>;
}

export function createBrokerPublisher(
  context: PublisherContext,
  broker: Broker,
  system: System = createSystem(),
): MessagePublisher {
  const { log, instanceId } = context;
  const settings = readPublisherSettings(context.settings);
  let running: Running | null = null;
  let state: PublisherState = 'stopped';

  /** @throws HoldfastError HF_WRONG_STATE */
  function assertRunning(): Running {
    if (running) return running;
    throw new HoldfastError('HF_WRONG_STATE', `the publisher ${context.name} is ${state}; start it first`);
  }

  function make(): Running {
    const link = createLink({ broker, system, log });
    const outbox = createOutboxFolder({
      directory: join(context.dataDirectory, 'outbox', context.name),
      name: `${context.processId}-${system.random.id(8)}`,
      limits: settings.outbox,
      log,
    });
    const { publishTimeoutMs } = settings;
    const sender = createSender({ system, log, link, outbox, publishTimeoutMs });
    const subscriptions = new Set<Deliveries>();
    link.onUp(session => {
      for (const deliveries of subscriptions) void deliver(link, deliveries, session);
    });
    link.onDown(() => {
      for (const deliveries of subscriptions) deliveries.lost();
    });
    return { link, sender, outbox, subscriptions };
  }

  const deliver = (link: Link, deliveries: Deliveries, session: BrokerSession) =>
    deliveries.consume(session, cause => {
      log.error({ err: cause }, 'a subscription could not be made');
      link.fail(session, cause);
    });

  async function session(): Promise<BrokerSession> {
    const { link } = assertRunning();
    await link.settled(brokerWaitMs);
    if (link.session) return link.session;
    throw new HoldfastError(
      'HF_BROKER_UNAVAILABLE',
      `the broker of ${context.name} cannot be reached; see the log`,
    );
  }

  return {
    name: context.name,
    instanceId,
    get state() {
      return state;
    },
    async start() {
      if (running) return;
      const made = make();
      running = made;
      state = 'started';
      made.outbox.adopt();
      made.link.start();
      await made.link.settled(brokerWaitMs);
    },
    async stop() {
      const stopping = running;
      if (!stopping) return;
      running = null;
      state = 'stopped';
      const { link, sender, outbox, subscriptions } = stopping;
      const abort = () => {
        for (const deliveries of subscriptions) deliveries.abort(new Error('the publisher stops'));
      };
      const handled = Promise.all([...subscriptions].map(deliveries => deliveries.close()));
      await before(system, stopMs.handlers, handled, abort);
      await sender.close(stopMs.sending);
      await link.stop();
      outbox.close();
    },
    async publish(message) {
      const { sender } = assertRunning();
      return sender.publish(encodeMessage(message, settings.contentBytesMax));
    },
    async subscribe(messageType, handler: MessageHandler, options = {}): Promise<Subscription> {
      const { link, subscriptions } = assertRunning();
      const subject = checkSubject(messageType);
      const plan = planSubscription(options, instanceId);
      const { duplicateWindowMs } = settings;
      const deliveries = createDeliveries({ system, log, subject, plan, duplicateWindowMs, handler });
      await link.settled(brokerWaitMs);
      subscriptions.add(deliveries);
      if (link.session) await deliver(link, deliveries, link.session);
      return {
        async close() {
          await deliveries.close();
          subscriptions.delete(deliveries);
        },
      };
    },
    deadLetters: {
      async list({ group, limit = 100, cursor } = {}) {
        const query = {
          group: group ?? null,
          limit: Math.max(1, Math.min(1_000, Math.floor(limit))),
          cursor: cursor ?? null,
        };
        const page = await (await session()).listDeadLetters(query);
        const deadLetters = page.deadLetters.map((buried): DeadLetter => ({
          ...buried,
          message: decodeMessage(buried.message),
        }));
        return { deadLetters, cursor: page.cursor };
      },
      replay: async ids => (await session()).replayDeadLetters(ids),
      remove: async ids => (await session()).removeDeadLetters(ids),
    },
  };
}

/** Waits for `work`; calls `late` and goes on without it when it takes longer. */
async function before(system: System, ms: number, work: Promise<unknown>, late: () => void): Promise<void> {
  const over = Promise.withResolvers<void>();
  const cancel = system.timers.after(
    ms,
    () => {
      late();
      over.resolve();
    },
    { keepAlive: true },
  );
  await Promise.race([work, over.promise]);
  cancel();
}
