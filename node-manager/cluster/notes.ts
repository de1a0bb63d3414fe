/**
 * Notes: small JSON documents in the coordination store that a leader must find again. Each is watched and kept in memory, and changed only by
 * compare-and-set, only by a manager that leads.
 *
 * A store may forget everything (a Redis without persistence that was restarted). Nobody ever removes a note, so one that is missing while this
 * manager remembers it was forgotten: whoever leads writes it back, at the latest when it takes over.
 */
import { HoldfastError, type DocumentStore, type Logger, type StoredDocument, type System } from '#core';

/** Names the cluster and this life of its store, in every leader mark. */
export interface ClusterNote {
  clusterId: string;
  incarnation: string;
}

/** Who leads and where its API is; the lease alone names only the process. */
export interface LeaderNote {
  processId: string;
  nodeName: string;
  address: string;
  fence: string;
  /** The life of the store that the fence counts in. */
  incarnation: string;
}

/** Nonces of asked-for restarts, by instance id. */
export type RestartsNote = Record<string, string>;

/** One document; its content is never changed in place. */
export interface Note<Content> {
  /** What was seen last. */
  current(): Content;
  /**
   * Writes what `make` makes of the newest content; null leaves it as it is. `make` may be called several times. Resolves to what is stored then.
   * @throws HoldfastError HF_NOT_LEADER; HF_UNAVAILABLE when others keep changing it; HF_COORDINATION_UNAVAILABLE
   */
  change(make: (present: Content) => Content | null): Promise<Content>;
  /** Reads it anew, and writes it back if the store has forgotten it and this manager leads. */
  refresh(): Promise<void>;
}

export interface Notes {
  /** @param onChange called when the content has become another one, whoever changed it */
  open<Content>(name: string, empty: Content, onChange?: (content: Content) => void): Note<Content>;
  /** Of those that were opened. */
  names(): string[];
  /** All of them: whoever takes over decides by what is written, not by what it happened to see. */
  refresh(): Promise<void>;
  stop(): void;
}

const attemptsMax = 10;

export function createNotes(options: {
  documents: DocumentStore;
  log: Logger;
  /** Throws HF_NOT_LEADER unless this manager leads; asked before every write. */
  assertLeading: () => void;
}): Notes {
  const { documents, log, assertLeading } = options;
  const opened: Note<unknown>[] = [];
  const names = new Set<string>();
  const stops: (() => void)[] = [];

  function open<Content>(
    name: string,
    empty: Content,
    onChange: (content: Content) => void = () => {},
  ): Note<Content> {
    let text: string | null = null;
    let content = empty;
    /** What a write of ours replaced: a look that began before the write may still tell of it. */
    let replacedEtag: string | null = null;

    function adopt(document: StoredDocument): void {
      if (document.etag === replacedEtag || document.content === text) return;
      try {
        content = JSON.parse(document.content) as Content;
      } catch (error) {
        // Not written by a manager. What is known holds, and the next change replaces it.
        return log.error({ note: name, error: String(error) }, 'a note cannot be read');
      }
      text = document.content;
      onChange(content);
    }

    async function write(next: string, document: StoredDocument | null): Promise<boolean> {
      assertLeading();
      const outcome = await documents.put(name, next, document?.etag ?? null);
      if (!outcome.written) return false;
      replacedEtag = document?.etag ?? null;
      adopt({ content: next, etag: outcome.etag });
      return true;
    }

    const note: Note<Content> = {
      current: () => content,
      async change(make) {
        for (let attempt = 0; attempt < attemptsMax; attempt++) {
          assertLeading();
          const document = await documents.get(name);
          if (document) adopt(document);
          const next = make(content);
          // What was forgotten is written even if nothing is to be changed.
          const wanted = next === null ? (document ? null : text) : JSON.stringify(next);
          if (wanted === null || (await write(wanted, document))) return content;
        }
        throw new HoldfastError('HF_UNAVAILABLE', `the note ${name} is changed by others all the time`);
      },
      async refresh() {
        const document = await documents.get(name);
        if (document) return adopt(document);
        if (text === null) return;
        if (await write(text, null))
          log.warn({ note: name }, 'the store had forgotten a note; it got it back');
      },
    };
    opened.push(note as Note<unknown>);
    names.add(name);
    stops.push(documents.watch(name, adopt));
    return note;
  }

  return {
    open,
    names: () => [...names],
    async refresh() {
      await Promise.all(opened.map(note => note.refresh()));
    },
    stop() {
      for (const stop of stops.splice(0)) stop();
    },
  };
}

/**
 * Writes what `change` makes of the present content (null: nothing to write), without a memory of what was there. Resolves to what is stored then.
 * @throws HoldfastError HF_UNAVAILABLE when others keep changing it
 */
export async function changeDocument<Content>(
  documents: DocumentStore,
  name: string,
  change: (present: Content | null) => Content | null,
): Promise<Content | null> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const document = await documents.get(name);
    const present = document ? (JSON.parse(document.content) as Content) : null;
    const next = change(present);
    if (next === null) return present;
    const outcome = await documents.put(name, JSON.stringify(next), document?.etag ?? null);
    if (outcome.written) return next;
  }
  throw new HoldfastError('HF_UNAVAILABLE', `the document ${name} is changed by others all the time`);
}

/** The cluster's name and incarnation, made once in the life of a store. */
export async function clusterNote(
  documents: DocumentStore,
  clusterId: string,
  system: System,
): Promise<ClusterNote> {
  const note = await changeDocument<ClusterNote>(documents, 'cluster', present =>
    present ? null : { clusterId, incarnation: system.random.id(16) },
  );
  return note!;
}
