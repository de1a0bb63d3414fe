/**
 * The process store: one JSON document (lowdb) that is on disk, synced, before what it announces happens. The memory
 * copy is the truth while the agent runs; `save` resolves when a write that began after the call has been synced, so
 * that changes made meanwhile share one write. A document that is broken is replaced by its backup generation (the
 * adapter does that); when neither can be used, starting is refused rather than processes forgotten.
 */
import { Low } from 'lowdb';
import { HoldfastError, type Logger } from '#core';
import { createDurableAdapter } from '#package-manager';
import { emptyDocument, isStoreDocument, type StoreDocument } from './records.ts';

export interface ProcessStore {
  /** Change it in place, then `save`. */
  readonly document: StoreDocument;
  /** @throws HoldfastError HF_CAPACITY when the disk does not take it */
  save(): Promise<void>;
  /** Resolves when nothing is being written: what was saved before the call is on disk, or its `save` has rejected. */
  settled(): Promise<void>;
}

/** @throws HoldfastError HF_STATE_UNUSABLE when neither the document nor its backup can be read */
export async function openProcessStore(path: string, log: Pick<Logger, 'warn'>): Promise<ProcessStore> {
  const adapter = createDurableAdapter<StoreDocument>(path, {
    isUsable: isStoreDocument,
    onRecovered: problem => log.warn({ path, problem }, 'the process store was broken; its backup took over'),
  });
  const database = new Low<StoreDocument>(adapter, emptyDocument());
  await database.read();

  let running: Promise<void> | null = null;
  let next: Promise<void> | null = null;

  async function write(): Promise<void> {
    try {
      await database.write();
    } catch (cause) {
      throw new HoldfastError('HF_CAPACITY', `cannot write ${path}: ${(cause as Error).message}`, { cause });
    }
  }

  return {
    document: database.data,
    save() {
      if (!running) return start();
      // Whoever comes while a write runs waits for the one after it, together with all others who came.
      next ??= running.then(start, start);
      return next;
    },
    async settled() {
      await (next ?? running)?.catch(() => {}); // whoever called `save` hears of the failure
    },
  };

  function start(): Promise<void> {
    next = null;
    const current = write();
    running = current;
    const done = () => {
      if (running === current) running = null;
    };
    current.then(done, done);
    return current;
  }
}
