/**
 * Tells clients what changed. Each client gets its pushes in order and one at a time: the next goes out when the last was
 * answered. So a client that is frozen costs nothing but its own queue, and that is bounded: when it is full the directory
 * events in it give way to one `reset` (of a document only the newest state is kept anyway, of a lease only that it changed hands). A client that does not
 * answer for `answerMs` is cut off; it will connect again and start from a reset.
 */
import type { Channel } from '#channel';
import type { DirectoryEvent, StoredDocument } from '#core';
import { encodeEvent, PUSH, type WireEvent, type WirePush } from './wire.ts';

const eventsMax = 10_000;
const answerMs = 10_000;

export interface Subscribers {
  /** Adds a connection; it gets nothing until it asks. */
  add(channel: Channel): Subscriber;
  publishEvents(events: DirectoryEvent[]): void;
  publishDocument(name: string, document: StoredDocument): void;
  /** The lease changed hands: granted to somebody, or given up. (Ends by time are not told: who saw the lease knows when it ends.) */
  publishLease(name: string): void;
}

export interface Subscriber {
  watchDirectory(): void;
  watchDocument(name: string): void;
  watchLease(name: string): void;
  unwatchLease(name: string): void;
}

export function createSubscribers(): Subscribers {
  const queues = new Set<Queue>();
  return {
    add(channel) {
      const queue = new Queue(channel);
      queues.add(queue);
      void channel.closed.then(() => queues.delete(queue));
      return queue;
    },
    publishEvents(events) {
      const encoded = events.map(encodeEvent);
      for (const queue of queues) queue.events(encoded);
    },
    publishDocument(name, document) {
      for (const queue of queues) queue.document(name, document);
    },
    publishLease(name) {
      for (const queue of queues) queue.lease(name);
    },
  };
}

class Queue implements Subscriber {
  readonly #channel: Channel;
  readonly #names = new Set<string>();
  readonly #documents = new Map<string, StoredDocument>();
  readonly #leaseNames = new Set<string>();
  readonly #leases = new Set<string>();
  #directory = false;
  #events: WireEvent[] = [];
  #sending = false;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  watchDirectory(): void {
    this.#directory = true;
  }

  watchDocument(name: string): void {
    this.#names.add(name);
  }

  watchLease(name: string): void {
    this.#leaseNames.add(name);
  }

  unwatchLease(name: string): void {
    this.#leaseNames.delete(name);
    this.#leases.delete(name);
  }

  events(events: WireEvent[]): void {
    if (!this.#directory) return;
    this.#events =
      this.#events.length + events.length > eventsMax ? [{ type: 'reset' }] : [...this.#events, ...events];
    void this.#send();
  }

  document(name: string, document: StoredDocument): void {
    if (!this.#names.has(name)) return;
    this.#documents.set(name, document);
    void this.#send();
  }

  lease(name: string): void {
    if (!this.#leaseNames.has(name)) return;
    this.#leases.add(name);
    void this.#send();
  }

  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#events.length > 0 || this.#documents.size > 0 || this.#leases.size > 0) {
        const push: WirePush = {
          events: this.#events,
          documents: Array.from(this.#documents, ([name, document]) => ({ name, document })),
          leases: [...this.#leases],
        };
        this.#events = [];
        this.#documents.clear();
        this.#leases.clear();
        await this.#channel.request(PUSH, push, { timeoutMs: answerMs });
      }
    } catch {
      // Gone or frozen. What it missed it will ask for again.
      this.#channel.close();
    } finally {
      this.#sending = false;
    }
  }
}
