/**
 * A lowdb adapter for state that must survive crashes. lowdb's own file adapter does not sync, gives the file away to
 * other users and fails on an empty file.
 *
 * What must hold: `write` resolves only when the data would survive a power loss; at every moment `path` holds one
 * whole generation, and `path.backup` the one before (a hard link, so it costs no second write). A file that cannot be
 * read is set aside as `path.corrupt` and the backup takes its place. One process writes: the folder's owner sees to that.
 */
import { link, readFile, rename, rm } from 'node:fs/promises';
import { HoldfastError, writeFileDurably } from '#core';
import type { Adapter } from 'lowdb';

export interface DurableAdapterOptions {
  /** Whether parsed JSON is a generation that can be used; default: any object or array. */
  isUsable?: (value: unknown) => boolean;
  /** Told when the backup had to take over, with the reason. */
  onRecovered?: (problem: string) => void;
  /** For tests that stop the process between two steps. */
  onStep?: (step: 'backup-made') => void | Promise<void>;
}

/**
 * `read` resolves to null when neither file exists, and rejects with HF_STATE_UNUSABLE when there is something but
 * nothing usable. `write` replaces the file (0600) atomically and durably; calls are carried out one after the other.
 */
export function createDurableAdapter<Data>(path: string, options: DurableAdapterOptions = {}): Adapter<Data> {
  const backup = `${path}.backup`;
  const isUsable = options.isUsable ?? (value => typeof value === 'object' && value !== null);
  /** Only what was read or written as usable may become the backup. */
  let mainIsUsable = false;
  let last: Promise<unknown> = Promise.resolve();

  async function load(file: string): Promise<{ data: Data } | { problem: string } | null> {
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw unusable(`${file} cannot be read: ${(error as Error).message}`, error);
    }
    if (text.trim() === '') return { problem: 'it is empty' };
    try {
      const data: unknown = JSON.parse(text);
      return isUsable(data) ? { data: data as Data } : { problem: 'it does not have the expected content' };
    } catch (error) {
      return { problem: `it is not JSON (${(error as Error).message})` };
    }
  }

  async function read(): Promise<Data | null> {
    const main = await load(path);
    mainIsUsable = main !== null && 'data' in main;
    if (main && 'data' in main) return main.data;
    const older = await load(backup);
    if (older && 'data' in older) {
      if (main) await rename(path, `${path}.corrupt`);
      options.onRecovered?.(main ? main.problem : 'it is missing');
      return older.data;
    }
    if (!main && !older) return null;
    throw unusable(
      `${path} cannot be used: ${main?.problem ?? 'it is missing'}; its backup neither: ${older?.problem ?? 'it is missing'}. ` +
        'Restore the file, or remove both to begin anew.',
    );
  }

  async function write(data: Data): Promise<void> {
    const text = `${JSON.stringify(data, null, 1)}\n`;
    if (mainIsUsable) {
      const temporary = `${backup}.tmp`;
      await rm(temporary, { force: true });
      await link(path, temporary);
      await rename(temporary, backup);
      await options.onStep?.('backup-made');
    }
    await writeFileDurably(path, text); // syncs the folder, and with it the backup's name
    mainIsUsable = true;
  }

  return {
    read,
    write(data) {
      const result = last.then(() => write(data));
      last = result.catch(() => undefined); // this caller learns of it; the next write is none the worse
      return result;
    },
  };
}

function unusable(message: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF_STATE_UNUSABLE', message, { cause });
}
