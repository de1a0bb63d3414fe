/**
 * A client's side of watching. Listeners outlive connections: each new connection subscribes again, and since events may have
 * been missed between, directory listeners get a `reset`, and document listeners the present document if it changed.
 */
import type { Channel } from '#channel';
import type { DirectoryEvent, Logger, StoredDocument } from '#core';
import { decodeEvent, PUSH, type WirePush } from './wire.ts';

export interface Subscriptions {
  /** Takes over a new connection: before any other call is sent over it. */
  attach(channel: Channel): void;
  watchDirectory(listener: (event: DirectoryEvent) => void): () => void;
  watchDocument(name: string, listener: (document: StoredDocument) => void): () => void;
}

interface DocumentListener {
  listener: (document: StoredDocument) => void;
  etag: string | null;
}

export function createSubscriptions(log: Logger): Subscriptions {
  const directory = new Set<{ listener: (event: DirectoryEvent) => void }>();
  const documents = new Map<string, Set<DocumentListener>>();
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

  return {
    attach(fresh) {
      channel = fresh;
      void fresh.closed.then(() => {
        if (channel === fresh) channel = null;
      });
      fresh.handle(PUSH, (push: WirePush) => {
        for (const event of push.events) tell(decodeEvent(event));
        for (const { name, document } of push.documents) tellDocument(name, document);
      });
      fresh.listen();
      if (directory.size > 0) {
        void ask(fresh, 'watchDirectory', {});
        // Told at once: what a listener asks now goes out after the subscription, over the same connection.
        tell({ type: 'reset' });
      }
      for (const name of documents.keys()) void watchDocumentOver(fresh, name);
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
  };
}
