/**
 * The way of messages to one subscription's handler: so many at a time, in order where that is asked for, again after a failure, to the
 * dead letters after too many. Lives over the broker's sessions; each new session gets a new consumer.
 *
 * A message is held here, unacknowledged, from its arrival until it is settled, also in the pause before another attempt: so nothing
 * but the broker's own redelivery is asked of an adapter. One that arrives again meanwhile (its session ended) is the same piece
 * of work: the handler never gets one message twice at a time. What is held is bounded by the prefetch, and bounds what the broker hands out.
 */
import type { Delivery, Logger, Message, MessageHandler, System } from '#core';
import { createAcknowledged } from './acknowledged.ts';
import type { BrokerSession, Consumer, Incoming } from './broker.ts';
import { createLanes } from './lanes.ts';
import { decodeMessage } from './message.ts';
import { afterFailure, type SubscriptionPlan } from './subscribe-options.ts';

export interface Deliveries {
  /** Consumes from this session from now on. Never rejects: a consumer that cannot be made ends the session. */
  consume(session: BrokerSession, onFailure: (cause: Error) => void): Promise<void>;
  /** The session has ended. What is under way goes on. */
  lost(): void;
  /** Takes no more, gives back what waits, and resolves when what runs is settled. Idempotent. */
  close(): Promise<void>;
  /** The results of what runs no longer matter. */
  abort(reason: Error): void;
}

export interface DeliveriesDeps {
  system: System;
  log: Logger;
  subject: string;
  plan: SubscriptionPlan;
  duplicateWindowMs: number;
  handler: MessageHandler;
}

/** One message, whatever the number of times that it has arrived. */
interface Work {
  readonly messageId: string;
  readonly message: Message;
  readonly lane: string | null;
  attempt: number;
  /** Each is to be settled with its consumer. */
  arrivals: { incoming: Incoming; consumer: Consumer }[];
  cancelPause: (() => void) | null;
}

export function createDeliveries(deps: DeliveriesDeps): Deliveries {
  const { system, log, subject, plan, duplicateWindowMs, handler } = deps;
  const acknowledged = createAcknowledged({
    now: () => system.clock.monotonicMs(),
    windowMs: duplicateWindowMs,
  });
  const held = new Map<string, Work>();
  const lanes = createLanes<Work>({ concurrency: plan.concurrency, run: attempt });
  const member = system.random.id(16);
  const settling = new Set<Promise<void>>();
  const given = new AbortController();
  let consumer: Consumer | null = null;
  let closing: Promise<void> | null = null;
  const cancelExtending = system.timers.every(plan.ackWaitMs / 3, extend);

  function arrive(incoming: Incoming, from: Consumer): void {
    const { messageId } = incoming.message;
    const arrival = { incoming, consumer: from };
    if (closing) return quietly(from.release([incoming]));
    if (acknowledged.has(messageId)) return void confirm(messageId, [arrival]);
    const before = held.get(messageId);
    if (before) {
      before.arrivals.push(arrival);
      return;
    }
    let message: Message;
    let lane: string | null;
    try {
      message = decodeMessage(incoming.message);
      lane = plan.orderBy ? plan.orderBy(message) : null;
    } catch (error) {
      return void bury(incoming, from, `it cannot be read: ${textOf(error)}`, incoming.attempt);
    }
    if (incoming.attempt > plan.maxDeliver) {
      const reason = `it was handed out ${incoming.attempt - 1} times, and each time the process ended before it was handled`;
      return void bury(incoming, from, reason, incoming.attempt - 1);
    }
    const work = {
      messageId,
      message,
      lane,
      attempt: incoming.attempt,
      arrivals: [arrival],
      cancelPause: null,
    };
    held.set(messageId, work);
    lanes.add(work);
  }

  async function attempt(work: Work): Promise<void> {
    const delivery: Delivery = { attempt: work.attempt, group: plan.group, signal: given.signal };
    try {
      await handler(work.message, delivery);
    } catch (error) {
      return failed(work, error);
    }
    acknowledged.add(work.messageId);
    finish(work);
    // The next message does not wait for the broker's answer; `close` does.
    const settled = confirm(work.messageId, work.arrivals).finally(() => settling.delete(settled));
    settling.add(settled);
  }

  async function failed(work: Work, error: unknown): Promise<void> {
    const facts = {
      err: error,
      messageId: work.messageId,
      subject,
      group: plan.group,
      attempt: work.attempt,
    };
    if (closing || given.signal.aborted) {
      finish(work);
      return giveBack([work]);
    }
    const verdict = afterFailure(plan, work.attempt, system.random.fraction());
    if (verdict.type === 'retry') {
      log.warn(facts, 'a message was not handled; it is tried again');
      work.attempt += 1;
      work.cancelPause = system.timers.after(verdict.afterMs, () => {
        work.cancelPause = null;
        lanes.again(work);
      });
      return;
    }
    if (verdict.type === 'bury') {
      log.error(facts, 'a message became a dead letter: it failed too often');
      const { incoming, consumer: from } = work.arrivals.at(-1)!;
      await bury(incoming, from, textOf(error), work.attempt);
      await Promise.all(work.arrivals.slice(0, -1).map(settleCopy));
    } else {
      log.error(facts, 'a message was dropped: it failed too often');
      await confirm(work.messageId, work.arrivals);
    }
    finish(work);
  }

  function finish(work: Work): void {
    held.delete(work.messageId);
    lanes.done(work);
  }

  async function confirm(messageId: string, arrivals: Work['arrivals']): Promise<void> {
    const outcomes = await Promise.allSettled(
      arrivals.map(({ incoming, consumer: from }) => from.ack(incoming)),
    );
    // Not confirmed: it comes again with another session, and is acknowledged then without being handled.
    if (outcomes.some(({ status }) => status === 'fulfilled')) acknowledged.confirmed(messageId);
  }

  /** A failure leaves it with the broker, which delivers it again. */
  async function bury(incoming: Incoming, from: Consumer, reason: string, attempts: number): Promise<void> {
    const failedAt = new Date(system.clock.wallMs()).toISOString();
    try {
      await from.bury(incoming, { reason: reason.slice(0, 1_000), attempts, failedAt });
    } catch (error) {
      log.warn(
        { err: error, messageId: incoming.message.messageId },
        'a dead letter could not be put away yet',
      );
    }
  }

  const settleCopy = ({ incoming, consumer: from }: Work['arrivals'][number]) =>
    from.ack(incoming).catch(() => {}); // of a session that is over: the broker settles it by itself

  async function giveBack(works: readonly Work[]): Promise<void> {
    const arrivals = works.flatMap(work => work.arrivals);
    for (const from of new Set(arrivals.map(arrival => arrival.consumer))) {
      const own = arrivals.filter(arrival => arrival.consumer === from).map(({ incoming }) => incoming);
      await from.release(own).catch(() => {}); // the broker gives it to others when the wait is over
    }
  }

  function extend(): void {
    const own = [...held.values()].flatMap(({ arrivals }) =>
      arrivals.filter(arrival => arrival.consumer === consumer).map(({ incoming }) => incoming),
    );
    if (consumer && own.length > 0) quietly(consumer.extend(own));
  }

  async function end(): Promise<void> {
    cancelExtending();
    await consumer?.stop().catch(() => {}); // the session is over, and the consumer with it
    const waiting = [...held.values()].filter(work => lanes.drop(work));
    for (const work of waiting) {
      work.cancelPause?.();
      held.delete(work.messageId);
    }
    await giveBack(waiting);
    await lanes.idle();
    await Promise.all(settling);
    consumer = null;
  }

  return {
    async consume(session, onFailure) {
      if (closing) return;
      const { group, prefetch, ackWaitMs } = plan;
      const exclusive = plan.orderBy !== null;
      let made: Consumer | null = null;
      const early: Incoming[] = [];
      try {
        const options = { subject, group, member, prefetch, ackWaitMs, exclusive };
        made = await session.consume(options, incoming => {
          if (made) arrive(incoming, made);
          else early.push(incoming);
        });
        if (closing) return await made.stop();
        consumer = made;
        for (const incoming of early) arrive(incoming, made);
      } catch (error) {
        onFailure(error as Error);
      }
    },
    lost() {
      consumer = null;
    },
    close() {
      closing ??= end();
      return closing;
    },
    abort: reason => given.abort(reason),
  };
}

/** Its rejection means a session that is over, which is dealt with elsewhere. */
function quietly(promise: Promise<void>): void {
  promise.catch(() => {});
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
