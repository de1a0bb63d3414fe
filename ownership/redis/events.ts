/**
 * Watching. Listeners outlive connections: each new connection subscribes again before anything else is asked over it, and since events
 * may have been missed between, directory listeners get a `reset`, and document listeners the present document if it changed.
 */
import type { DirectoryEvent, Logger, StoredDocument } from '#core';
import type { Link } from './link.ts';
import { readEvent } from './replies.ts';

export interface Watching {
  /** For a new connection: subscribes. */
  prepare(link: Link): void;
  onMessage(channel: string, text: string): void;
  /** Events may have been missed. */
  onGap(): void;
  watchDirectory(listener: (event: DirectoryEvent) => void): () => void;
  watchDocument(name: string, listener: (document: StoredDocument) => void): () => void;
}

export interface WatchingPorts {
  log: Logger;
  link: () => Link | null;
  /** The document as it is now. */
  read: (name: string) => Promise<StoredDocument | null>;
}

interface DocumentListener {
  listener: (document: StoredDocument) => void;
  etag: string | null;
}

export function createWatching({ log, link, read }: WatchingPorts): Watching {
  const directory = new Set<{ listener: (event: DirectoryEvent) => void }>();
  const documents = new Map<string, Set<DocumentListener>>();
  const reading = new Map<string, { again: boolean }>();

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

  /** One read at a time for each name, so that an older document never follows a newer one. */
  async function show(name: string): Promise<void> {
    const running = reading.get(name);
    if (running) {
      running.again = true;
      return;
    }
    const state = { again: true };
    reading.set(name, state);
    try {
      while (state.again) {
        state.again = false;
        const document = await read(name);
        for (const entry of document ? [...(documents.get(name) ?? [])] : []) {
          if (entry.etag === document!.etag || !documents.get(name)?.has(entry)) continue;
          entry.etag = document!.etag;
          guarded(() => entry.listener(document!));
        }
      }
    } catch (error) {
      log.warn({ reason: (error as Error).message, name }, 'a watched document could not be read');
      // While connected nobody would ask again; a new connection does.
      link()?.close();
    } finally {
      reading.delete(name);
    }
  }

  return {
    prepare(fresh) {
      if (directory.size > 0) fresh.subscribe(fresh.channels.events);
      if (documents.size > 0) fresh.subscribe(fresh.channels.documents);
    },
    onMessage(channel, text) {
      if (channel === link()?.channels.documents) {
        if (documents.has(text)) void show(text);
        return;
      }
      guarded(() => tell(readEvent(text)));
    },
    onGap() {
      tell({ type: 'reset' });
      for (const name of documents.keys()) void show(name);
    },
    watchDirectory(listener) {
      const entry = { listener };
      directory.add(entry);
      const present = link();
      if (directory.size === 1) present?.subscribe(present.channels.events);
      return () => directory.delete(entry);
    },
    watchDocument(name, listener) {
      const entry: DocumentListener = { listener, etag: null };
      const entries = documents.get(name) ?? new Set();
      documents.set(name, entries.add(entry));
      const present = link();
      if (present) {
        present.subscribe(present.channels.documents);
        void show(name);
      }
      return () => {
        entries.delete(entry);
        if (entries.size === 0) documents.delete(name);
      };
    },
  };
}
