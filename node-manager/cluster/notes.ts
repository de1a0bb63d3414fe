/** Small JSON documents in the coordination store: what a leader must find again. Changed by compare-and-set. */
import { HoldfastError, type DocumentStore, type System } from '#core';

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
}

/** Nonces of asked-for restarts, by instance id. */
export type RestartsNote = Record<string, string>;

/**
 * Writes what `change` makes of the present content (null: nothing to write). Resolves to what is stored then.
 * @throws HoldfastError HF_UNAVAILABLE when others keep changing it
 */
export async function changeNote<Note>(
  documents: DocumentStore,
  name: string,
  change: (present: Note | null) => Note | null,
): Promise<Note | null> {
  for (let attempt = 0; attempt < 10; attempt++) {
    const document = await documents.get(name);
    const present = document ? (JSON.parse(document.content) as Note) : null;
    const next = change(present);
    if (next === null) return present;
    const outcome = await documents.put(name, JSON.stringify(next), document?.etag ?? null);
    if (outcome.written) return next;
  }
  throw new HoldfastError('HF_UNAVAILABLE', `the document ${name} is changed by others all the time`);
}

/** The cluster's name and incarnation, made once. */
export async function clusterNote(
  documents: DocumentStore,
  clusterId: string,
  system: System,
): Promise<ClusterNote> {
  const note = await changeNote<ClusterNote>(documents, 'cluster', present =>
    present ? null : { clusterId, incarnation: system.random.id(16) },
  );
  return note!;
}
