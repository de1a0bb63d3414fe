/**
 * A client's side of watching. Listeners outlive connections: each new connection subscribes again, and since events may have
 * been missed between, directory listeners get a `reset`, document listeners the present document if it changed, and who watches a lease
 * looks again.
 */
import type { Channel } from '#channel';
import type { DirectoryEvent, Logger, StoredDocument } from '#core';
import { decodeEvent, PUSH, type WirePush } from './wire.ts';

export interface Subscriptions {
  /** Takes over a new connection: before any other call is sent over it. */
  attach(channel: Channel): void;
  watchDirectory(listener: (event: DirectoryEvent) => void): () => void;
  watchDocument(name: string, listener: (document: StoredDocument) => void): () => void;
  /** Calls `look` when the lease may have changed hands. */
  watchLease(name: string, look: () => void): () => void;
}

interface DocumentListener {
  listener: (document: StoredDocument) => void;
  etag: string | null;
}

export function createSubscriptions(log: Logger): Subscriptions {
  const directory = new Set<{ listener: (event: DirectoryEvent) => void }>();
  const documents = new Map<string, Set<DocumentListener>>();
  const leases = new Map<string, Set<{ look: () => void }>>();
  let channel: Channel | null = null;

  function guarded(call: () => void): void {
    try {
      call();
    } catch (error) {
      log.error({ err: error }, 'a listener failed');
    }
  }
  function tell(event: DirectoryEvent): void {
    for (const { listener } of directory) guarded(() => listener(event));
  }
  function tellDocument(name: string, document: StoredDocument, only?: DocumentListener): void {
    for (const entry of only ? [only] : [...(documents.get(name) ?? [])]) {
      if (entry.etag === document.etag || !documents.get(name)?.has(entry)) continue;
      entry.etag = document.etag;
      guarded(() => entry.listener(document));
    }
  }

  function look(name: string): void {
    for (const entry of leases.get(name) ?? []) guarded(entry.look);
  }

  /** A subscription that is not answered leaves the client deaf; a new connection is the way to be sure. */
  async function ask<Result>(over: Channel, method: string, params: object): Promise<Result | null> {
    try {
      return await over.request<Result>(method, params);
    } catch (error) {
      log.warn({ err: error, method }, 'subscribing failed, connecting again');
      over.close();
      return null;
    }
  }
  async function watchDocumentOver(over: Channel, name: string, only?: DocumentListener): Promise<void> {
    const found = await ask<StoredDocument>(over, 'document.watch', { name });
    if (found) tellDocument(name, found, only);
  }

  async function watchLeaseOver(over: Channel, name: string): Promise<void> {
    await ask(over, 'lease.watch', { name });
    look(name); // what changed before the subscription was not told
  }

  return {
    attach(fresh) {
      channel = fresh;
      void fresh.closed.then(() => {
        if (channel === fresh) channel = null;
      });
      fresh.handle(PUSH, (push: WirePush) => {
        for (const event of push.events) tell(decodeEvent(event));
        for (const { name, document } of push.documents) tellDocument(name, document);
        for (const name of push.leases) look(name);
      });
      fresh.listen();
      if (directory.size > 0) {
        void ask(fresh, 'watchDirectory', {});
        // Told at once: what a listener asks now goes out after the subscription, over the same connection.
        tell({ type: 'reset' });
      }
      for (const name of documents.keys()) void watchDocumentOver(fresh, name);
      for (const name of leases.keys()) void watchLeaseOver(fresh, name);
    },
    watchDirectory(listener) {
      const entry = { listener };
      directory.add(entry);
      if (channel) void ask(channel, 'watchDirectory', {});
      return () => directory.delete(entry);
    },
    watchDocument(name, listener) {
      const entry: DocumentListener = { listener, etag: null };
      const entries = documents.get(name) ?? new Set();
      documents.set(name, entries.add(entry));
      if (channel) void watchDocumentOver(channel, name, entry);
      return () => {
        entries.delete(entry);
        if (entries.size === 0) documents.delete(name);
      };
    },
    watchLease(name, lookAgain) {
      const entry = { look: lookAgain };
      const entries = leases.get(name) ?? new Set();
      const isNew = entries.size === 0;
      leases.set(name, entries.add(entry));
      if (isNew && channel) void watchLeaseOver(channel, name);
      return () => {
        if (!entries.delete(entry) || entries.size > 0) return;
        leases.delete(name);
        if (channel) void ask(channel, 'lease.unwatch', { name });
      };
    },
  };
}
