/**
 * Every settings document that held, in the coordination store: one document with the list, and one for each revision, in a ring, so that nothing
 * has to be deleted. The settings document itself says which revision it is (compare-and-set gives each number once), so the history can
 * be behind it, after a crash, but never contradict it: `record` adds what is missing. Only the leader writes.
 *
 * Each manager keeps a copy on its disk of what it has seen, for a store that forgot.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  HoldfastError,
  makeFolder,
  settingsEtag,
  writeFileDurably,
  type DocumentStore,
  type Logger,
  type SettingsRevision,
  type StoredSettings,
} from '#core';
import { changeDocument } from '../cluster/notes.ts';

export const HISTORY_DOCUMENT = 'settings-history';
/** Revisions that are kept. */
export const HISTORY_MAX = 100;

/** One revision as it lies in the ring; its text is unchanged, byte for byte. */
export type StoredRevision = Pick<StoredSettings, 'text' | 'updatedAt' | 'updatedBy'> & { revision: number };

export interface SettingsHistory {
  /** Oldest first. The present settings are the last, unless their revision could not be written yet. */
  list(): Promise<SettingsRevision[]>;
  /** @throws HoldfastError HF_NOT_FOUND for one that never was, or is not kept any more */
  revision(revision: number): Promise<StoredRevision>;
  /** The highest number that was ever given, as far as store and disk know. */
  last(): Promise<number>;
  /** Makes sure that the store has this revision, and all that this disk has of those before if the store has none. */
  record(present: StoredRevision): Promise<void>;
  /** Replaces the whole: a backup is restored. */
  replace(revisions: readonly StoredRevision[]): Promise<void>;
  /** Keeps it on this disk, in the order of the calls. A failure is logged. */
  note(present: StoredRevision): void;
  /** Resolves when all of it is on the disk. */
  kept(): Promise<void>;
}

export const slotDocument = (revision: number) => `${HISTORY_DOCUMENT}/${revision % HISTORY_MAX}`;

export function createSettingsHistory(options: {
  documents: DocumentStore;
  /** Folder of the copies; made when needed. */
  directory: string;
  log: Logger;
}): SettingsHistory {
  const { documents, directory, log } = options;
  let turn: Promise<void> = Promise.resolve();

  async function list(): Promise<SettingsRevision[]> {
    const document = await documents.get(HISTORY_DOCUMENT);
    return document ? (JSON.parse(document.content) as SettingsRevision[]) : [];
  }

  async function revision(number: number): Promise<StoredRevision> {
    const document = await documents.get(slotDocument(number));
    const found = document && (JSON.parse(document.content) as StoredRevision);
    if (found?.revision === number) return found;
    const known = await list();
    const range = known.length === 0 ? 'none' : `${known[0]!.revision} to ${known.at(-1)!.revision}`;
    throw new HoldfastError(
      'HF_NOT_FOUND',
      `there is no revision ${number} of the settings; those that are kept: ${range}`,
    );
  }

  async function record(present: StoredRevision): Promise<void> {
    const known = await list();
    const facts = factsOf(present);
    if (known.some(one => one.revision >= facts.revision)) return;
    const earlier = known.length === 0 ? await earlierOnDisk(facts) : [];
    const missing = [...earlier, present];
    for (const one of missing) {
      // A leader that was deposed may be late: it must not write over what came a whole round later.
      await changeDocument<StoredRevision>(documents, slotDocument(one.revision), there =>
        there && there.revision > one.revision ? null : one,
      );
    }
    // Last: what is listed is there.
    await changeDocument<SettingsRevision[]>(documents, HISTORY_DOCUMENT, listed =>
      merged(listed ?? [], missing),
    );
  }

  async function replace(revisions: readonly StoredRevision[]): Promise<void> {
    for (const one of revisions.slice(-HISTORY_MAX)) {
      await changeDocument<StoredRevision>(documents, slotDocument(one.revision), () => one);
    }
    await changeDocument<SettingsRevision[]>(documents, HISTORY_DOCUMENT, () => merged([], revisions));
    revisions.slice(-HISTORY_MAX).forEach(note);
  }

  /** What this disk has of the revisions before this one; nothing if it saw another one under that number, in another cluster perhaps. */
  async function earlierOnDisk(present: SettingsRevision): Promise<StoredRevision[]> {
    const copies = await readCopies();
    const agrees = copies.some(
      one => one.revision === present.revision && factsOf(one).etag === present.etag,
    );
    return agrees ? copies.filter(one => one.revision < present.revision) : [];
  }

  async function readCopies(): Promise<StoredRevision[]> {
    await turn;
    const copies: StoredRevision[] = [];
    for (const name of await readdir(directory).catch(() => [])) {
      if (!/^\d+\.json$/.test(name)) continue;
      try {
        copies.push(JSON.parse(await readFile(join(directory, name), 'utf8')) as StoredRevision);
      } catch (error) {
        log.warn({ name, error: String(error) }, 'a copy of earlier settings cannot be read');
      }
    }
    return copies.toSorted((a, b) => a.revision - b.revision);
  }

  function note({ revision: number, text, updatedAt, updatedBy }: StoredRevision): void {
    const content = JSON.stringify({ revision: number, text, updatedAt, updatedBy });
    turn = turn.then(async () => {
      try {
        await makeFolder(directory);
        await writeFileDurably(join(directory, `${number % HISTORY_MAX}.json`), content);
      } catch (error) {
        log.warn({ directory, error: String(error) }, 'a copy of the settings could not be kept');
      }
    });
  }

  return {
    list,
    revision,
    record,
    async last() {
      const [known, copies] = [await list(), await readCopies()];
      return Math.max(0, known.at(-1)?.revision ?? 0, copies.at(-1)?.revision ?? 0);
    },
    replace,
    note,
    kept: () => turn,
  };
}

/** As the list shows it. */
export function factsOf({ revision, text, updatedAt, updatedBy }: StoredRevision): SettingsRevision {
  return { revision, etag: settingsEtag(text), updatedAt, updatedBy, sizeBytes: Buffer.byteLength(text) };
}

function merged(list: readonly SettingsRevision[], added: readonly StoredRevision[]): SettingsRevision[] {
  const byNumber = new Map(list.map(one => [one.revision, one]));
  for (const one of added) byNumber.set(one.revision, factsOf(one));
  return [...byNumber.values()].toSorted((a, b) => a.revision - b.revision).slice(-HISTORY_MAX);
}
