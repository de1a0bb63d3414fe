/**
 * The last good settings on this machine's disk. A store that forgot gets them back from whoever leads and remembers; when that manager ended
 * before it could, the next one finds them here. Nothing else reads them: while the store has settings, those hold.
 */
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder, writeFileDurably, type Logger, type StoredSettings } from '#core';

type Remembered = Pick<StoredSettings, 'text' | 'updatedAt' | 'updatedBy' | 'revision'>;

export interface LastSettings {
  /** Keeps them, in the order of the calls. A failure is logged. */
  note(settings: Remembered): void;
  /** Resolves when all of it is on the disk. */
  kept(): Promise<void>;
  /** Null: none are there, or what is there cannot be read. */
  read(): Promise<Remembered | null>;
}

export function createLastSettings(path: string, log: Logger): LastSettings {
  let turn: Promise<void> = Promise.resolve();
  return {
    note({ text, updatedAt, updatedBy, revision }) {
      const content = JSON.stringify({ text, updatedAt, updatedBy, revision });
      turn = turn.then(async () => {
        try {
          await makeFolder(dirname(path));
          await writeFileDurably(path, content);
        } catch (error) {
          log.warn({ path, error: String(error) }, 'the last good settings could not be kept');
        }
      });
    },
    kept: () => turn,
    async read() {
      await turn;
      try {
        return JSON.parse(await readFile(path, 'utf8')) as StoredSettings;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
          log.warn({ path, error: String(error) }, 'the last good settings cannot be read');
        }
        return null;
      }
    },
  };
}
