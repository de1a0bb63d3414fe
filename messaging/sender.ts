/**
 * The way of a message out. While the broker is there and nothing waits on disk, messages go to it directly, many at a time; when it
 * is not, they go to the outbox, and from there to the broker before anything newer does.
 *
 *   direct ──the session ends, or an answer does not come in time──▶ stored ──the outbox is empty──▶ direct
 *
 * What must hold: messages reach the broker in the order of the calls. So at the change to `stored` everything that is not settled goes to
 * the outbox first, in order, whether the broker has it (its answer was lost) or not: it is sent again with the same id.
 */
import { HoldfastError, type Logger, type System } from '#core';
import type { BrokerSession, WireMessage } from './broker.ts';
import type { Link } from './link.ts';
import { wireBytes } from './message.ts';
import type { OutboxFolder } from './outbox/outbox-folder.ts';

export interface Sender {
  publish(message: WireMessage): Promise<void>;
  /** Nothing is taken any more. Resolves when nothing waits, or after `drainMs`. */
  close(drainMs: number): Promise<void>;
}

export interface SenderDeps {
  system: System;
  log: Logger;
  link: Link;
  outbox: OutboxFolder;
  /** After how long without an answer the broker counts as away. */
  publishTimeoutMs: number;
}

interface Entry {
  message: WireMessage;
  bytes: number;
  /** When it went to the broker. */
  sentMs: number;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** Of messages on their way to the broker; more wait in memory, bounded as well. */
const underWayMax = { count: 1_000, bytes: 32 * 1024 * 1024 };
const waitingMax = { count: 10_000, bytes: 64 * 1024 * 1024 };
const drainBatch = 200;
const adoptMs = 10_000;
/** Until a full broker is asked again. */
const fullPauseMs = 1_000;

export function createSender(deps: SenderDeps): Sender {
  const { system, log, link, outbox, publishTimeoutMs } = deps;
  let mode: 'direct' | 'stored' = 'stored';
  /** Sent to the broker, in order, not settled. */
  const underWay = new Set<Entry>();
  let underWayBytes = 0;
  /** Not sent or stored yet, in order. */
  let waiting: Entry[] = [];
  let waitingBytes = 0;
  let closed = false;
  let draining = false;
  let storing = false;
  const idle: (() => void)[] = [];
  /** Ends the waiting of `drain` for its batch. */
  let breakOff: ((cause: Error) => void) | null = null;

  link.onUp(session => void drain(session));
  link.onDown(() => {
    breakOff?.(new Error('the session has ended'));
    store();
  });
  const cancelAdopting = system.timers.every(adoptMs, () => {
    outbox.adopt();
    if (outbox.count > 0) store();
  });
  const cancelWatching = system.timers.every(publishTimeoutMs / 4, () => {
    const [oldest] = underWay;
    const late = oldest && system.clock.monotonicMs() - oldest.sentMs > publishTimeoutMs;
    if (late && link.session) link.fail(link.session, tooLate());
  });
  const tooLate = () => new Error(`the broker did not confirm a message within ${publishTimeoutMs} ms`);

  function settle(): void {
    if (underWay.size > 0 || waiting.length > 0 || outbox.count > 0) return;
    for (const resolve of idle.splice(0)) resolve();
  }

  function pump(): void {
    const session = link.session;
    if (mode !== 'direct' || !session) return storeSoon();
    let sent = 0;
    while (sent < waiting.length && underWay.size < underWayMax.count && underWayBytes < underWayMax.bytes) {
      const entry = waiting[sent++]!;
      entry.sentMs = system.clock.monotonicMs();
      waitingBytes -= entry.bytes;
      underWay.add(entry);
      underWayBytes += entry.bytes;
      void sendDirectly(session, entry);
    }
    waiting = sent === waiting.length ? [] : waiting.slice(sent);
  }

  async function sendDirectly(session: BrokerSession, entry: Entry): Promise<void> {
    let refusal: { error: unknown } | null = null;
    try {
      await session.send(entry.message);
    } catch (error) {
      if (!isRefusal(error)) {
        // In `store` all that is under way goes to the outbox, this one among them.
        if (underWay.has(entry)) store();
        link.fail(session, error as Error);
        return;
      }
      refusal = { error };
    }
    if (!underWay.delete(entry)) return; // it went to the outbox meanwhile, and is sent again
    underWayBytes -= entry.bytes;
    if (refusal) entry.reject(refusal.error);
    else entry.resolve();
    if (waiting.length > 0) pump();
    settle();
  }

  /** From here on everything goes through the outbox, beginning with what is not settled. */
  function store(): void {
    mode = 'stored';
    waiting = [...underWay, ...waiting];
    waitingBytes += underWayBytes;
    underWay.clear();
    underWayBytes = 0;
    storeSoon();
    if (link.session) void drain(link.session);
  }

  /** What comes in one turn of the event loop is one transaction. */
  function storeSoon(): void {
    if (storing || waiting.length === 0) return;
    storing = true;
    setImmediate(() => {
      storing = false;
      if (mode === 'direct') return pump();
      const entries = waiting;
      waiting = [];
      waitingBytes = 0;
      append(entries);
      if (link.session) void drain(link.session);
      settle();
    });
  }

  function append(entries: Entry[]): void {
    let taken: number;
    try {
      taken = outbox.append(entries.map(({ message }) => message));
    } catch (error) {
      for (const { reject } of entries) reject(error);
      return;
    }
    entries.forEach((entry, index) => {
      if (index < taken) entry.resolve();
      else entry.reject(full(entry, 'the broker is away, and the outbox is full'));
    });
  }

  async function drain(session: BrokerSession): Promise<void> {
    if (draining) return;
    draining = true;
    try {
      for (;;) {
        const batch = outbox.first(drainBatch);
        if (batch.length === 0) break;
        const outcomes = await inTime(Promise.allSettled(batch.map(({ message }) => session.send(message))));
        const done: number[] = [];
        outcomes.forEach((outcome, index) => {
          const { position, message } = batch[index]!;
          if (outcome.status === 'fulfilled') done.push(position);
          else if (isRefusal(outcome.reason) && outcome.reason.code !== 'HF_OUTBOX_FULL') {
            log.error(
              { err: outcome.reason, messageId: message.messageId },
              'the broker refuses a message of the outbox for good; it is set aside in the outbox file',
            );
            outbox.setAside(position, outcome.reason.message);
          }
        });
        outbox.remove(done);
        const failed = outcomes.find(outcome => outcome.status === 'rejected' && !isRefusal(outcome.reason));
        if (failed?.status === 'rejected') throw failed.reason as Error;
        if (outcomes.some(isFull)) await inTime(system.timers.sleep(fullPauseMs));
      }
      if (link.session === session && mode === 'stored') {
        mode = 'direct';
        pump();
      }
    } catch (error) {
      link.fail(session, error as Error);
    } finally {
      draining = false;
      settle();
      // A new session may have come while the old one was given up.
      if (mode === 'stored' && link.session && link.session !== session) void drain(link.session);
    }
  }

  /** @throws when it takes too long, or the session ends */
  async function inTime<T>(answer: Promise<T>): Promise<T> {
    const broken = Promise.withResolvers<never>();
    breakOff = broken.reject;
    const cancel = system.timers.after(publishTimeoutMs + fullPauseMs, () => broken.reject(tooLate()));
    try {
      return await Promise.race([answer, broken.promise]);
    } finally {
      breakOff = null;
      cancel();
    }
  }

  return {
    publish(message) {
      const bytes = wireBytes(message);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const entry = { message, bytes, sentMs: 0, resolve, reject };
      if (closed) reject(new HoldfastError('HF_WRONG_STATE', 'the publisher is stopping'));
      else if (waiting.length >= waitingMax.count || waitingBytes + bytes > waitingMax.bytes) {
        reject(full(entry, 'more messages are published than the broker takes'));
      } else {
        waiting.push(entry);
        waitingBytes += bytes;
        pump();
      }
      return promise;
    },
    async close(drainMs) {
      closed = true;
      cancelAdopting();
      cancelWatching();
      const { promise, resolve } = Promise.withResolvers<void>();
      idle.push(resolve);
      settle();
      const cancel = system.timers.after(link.session ? drainMs : 0, resolve, { keepAlive: true });
      await promise;
      cancel();
      // What the broker has not confirmed goes to disk, so that the next start sends it.
      if (underWay.size + waiting.length > 0) {
        const left = [...underWay, ...waiting];
        underWay.clear();
        waiting = [];
        append(left);
      }
    },
  };
}

/** What the broker says of this very message, and not of the connection. */
function isRefusal(error: unknown): error is HoldfastError {
  return (
    error instanceof HoldfastError &&
    ['HF_MESSAGE_INVALID', 'HF_MESSAGE_TOO_LARGE', 'HF_OUTBOX_FULL'].includes(error.code)
  );
}

function isFull(outcome: PromiseSettledResult<void>): boolean {
  return (
    outcome.status === 'rejected' && isRefusal(outcome.reason) && outcome.reason.code === 'HF_OUTBOX_FULL'
  );
}

function full({ message }: Entry, why: string): HoldfastError {
  return new HoldfastError(
    'HF_OUTBOX_FULL',
    `${why}: the message ${message.messageId} was not taken; publish it again later, or raise the outbox limits in the publisher's settings`,
    { details: { messageId: message.messageId } },
  );
}
