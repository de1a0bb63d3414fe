/**
 * Takes a group's messages for one consumer. Looks when the bell rings, when there is room again, and from time to time. The time on
 * its row in the file is what says that it lives; consumers that are gone, or whose time is over, lose what they had taken to
 * those who look.
 */
import { isRunning, processIdentity, type System } from '#core';
import type { Consumer, ConsumeOptions, Incoming } from '#messaging';
import type { Bells } from './bells.ts';
import type { Store } from './store.ts';
import type { Transactions } from './transactions.ts';

const lookMs = 1_000;

export async function startConsumer(
  deps: { system: System; store: Store; transactions: Transactions; bells: Bells },
  options: ConsumeOptions,
  onMessage: (incoming: Incoming) => void,
): Promise<Consumer & { end(): void }> {
  const { system, store, transactions, bells } = deps;
  const { subject, member: id, prefetch, ackWaitMs, exclusive } = options;
  const me = processIdentity(process.pid)!;
  const seqs = new WeakMap<Incoming, number>();
  const held = new Set<Incoming>();
  let stopped = false;
  let taking = false;
  let again = false;

  const row = () => ({ id, ...me, untilMs: system.clock.bootMs() + ackWaitMs });
  const group = await transactions.write(() => {
    const made = store.group(subject, options.group);
    if (exclusive) store.freeGroup(made);
    else store.endConsumer(id); // what it had in a session before comes again
    store.putConsumer(row());
    return made;
  });
  const cancelBell = bells.listen(subject, () => void take());
  const cancelLooking = system.timers.every(lookMs, () => void look());
  const cancelLiving = system.timers.every(ackWaitMs / 3, () =>
    ignore(transactions.write(() => store.putConsumer(row()))),
  );
  void take();

  async function take(): Promise<void> {
    again = true;
    if (taking) return;
    taking = true;
    try {
      while (again && !stopped && held.size < prefetch && store.hasFree(group)) {
        again = false;
        const limit = prefetch - held.size;
        const taken = await transactions.write(() => (stopped ? [] : store.take(group, id, limit)));
        if (taken.length === limit) again = true;
        for (const { seq, attempt, message } of taken) {
          const incoming = { message, attempt };
          seqs.set(incoming, seq);
          held.add(incoming);
          onMessage(incoming);
        }
      }
    } catch {
      // The session is over: whoever had it makes another.
    }
    taking = false;
  }

  /** What belongs to nobody any more is given to everybody. */
  async function look(): Promise<void> {
    const nowMs = system.clock.bootMs();
    try {
      const gone = store
        .consumers()
        .filter(other => other.id !== id && (other.untilMs < nowMs || !isRunning(other)));
      if (gone.length > 0) {
        await transactions.write(() => {
          for (const other of gone) {
            // It may have shown a sign of life since.
            const now = store.consumers().find(({ id }) => id === other.id);
            if (now?.untilMs === other.untilMs) store.endConsumer(other.id);
          }
        });
        bells.ring(subject);
      }
    } catch {
      // The next look sees it again, or the session is over.
    }
    await take();
  }

  async function settle(
    incoming: readonly Incoming[],
    work: (seq: number, incoming: Incoming) => void,
  ): Promise<void> {
    for (const one of incoming) held.delete(one);
    const settled = transactions.write(() => {
      for (const one of incoming) work(seqs.get(one)!, one);
    });
    void take(); // in the same transaction
    await settled;
  }

  return {
    ack: incoming => settle([incoming], seq => void store.ack(group, seq, id)),
    async release(incoming) {
      await settle(incoming, seq => store.release(group, seq, id));
      bells.ring(subject);
    },
    extend: () => Promise.resolve(), // this process lives, and says so for all that it has
    bury: (incoming, facts) => settle([incoming], seq => store.bury(group, seq, id, facts)),
    async stop() {
      stopped = true;
      cancelBell();
      cancelLooking();
    },
    /** With the session: what is still held goes to others. */
    end() {
      stopped = true;
      cancelBell();
      cancelLooking();
      cancelLiving();
    },
  };
}

function ignore(promise: Promise<void>): void {
  promise.catch(() => {}); // the session is over
}
