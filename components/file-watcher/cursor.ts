/**
 * What was told of a folder, kept so that a restart tells nothing twice and misses nothing: a SQLite file with what was told, and with the messages that
 * have not been published yet.
 *
 * Why this holds. Events and the new state are written in one transaction, with the ids of their messages; then the messages are published and
 * removed, in order. A crash before the transaction leaves everything to the next look. A crash after it leaves the messages, and those that were
 * published but not removed are published again under the same id. The fence of the owner's lease is checked in each transaction, so that an earlier owner
 * that wakes up writes nothing.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createSqliteFence } from '#fences';
import type { Facts, FileEvent } from './changes.ts';

export interface StoredEvent {
  /** Counts from 1; unique together with the cursor's id. */
  sequence: number;
  /** ISO 8601. */
  detectedAt: string;
  event: FileEvent;
}

export interface Cursor {
  /** New with every file: if it was lost, what is told anew has other ids. */
  readonly id: string;
  /** Whether nothing was ever told. */
  readonly isNew: boolean;
  told(): [string, Facts][];
  /** All or nothing; `silently`: takes the events as told without a message. */
  record(events: readonly FileEvent[], detectedAt: string, options?: { silently?: boolean }): void;
  /** The oldest events that were not published yet. */
  unpublished(limit: number): StoredEvent[];
  /** Forgets the messages up to this one. */
  published(sequence: number): void;
  close(): void;
}

const schema = `
  CREATE TABLE IF NOT EXISTS cursor (id TEXT NOT NULL, begun INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS told (path TEXT PRIMARY KEY, inode TEXT NOT NULL, size INTEGER NOT NULL, modified TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS outbox (sequence INTEGER PRIMARY KEY AUTOINCREMENT, detected_at TEXT NOT NULL, event TEXT NOT NULL);`;

/**
 * Takes the file over for the owner with this fence; makes it if there is none.
 * @throws HF_FENCED when a newer owner has taken it over; SQLite's errors
 */
export function openCursor(file: string, fence: bigint, newId: () => string): Cursor {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(file, { timeout: 500 });
  try {
    database.exec('PRAGMA synchronous = FULL');
    const fenced = createSqliteFence(database);
    fenced.install(fence, () => {
      database.exec(schema);
      database
        .prepare('INSERT INTO cursor (id, begun) SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM cursor)')
        .run(newId());
    });
    const { id, begun } = database.prepare('SELECT id, begun FROM cursor').get() as {
      id: string;
      begun: number;
    };
    const put = database.prepare(
      'INSERT OR REPLACE INTO told (path, inode, size, modified) VALUES (?, ?, ?, ?)',
    );
    const remove = database.prepare('DELETE FROM told WHERE path = ?');
    const keep = database.prepare('INSERT INTO outbox (detected_at, event) VALUES (?, ?)');
    const waiting = database.prepare(
      'SELECT sequence, detected_at, event FROM outbox ORDER BY sequence LIMIT ?',
    );
    const settle = database.prepare('DELETE FROM outbox WHERE sequence <= ?');
    const begin = database.prepare('UPDATE cursor SET begun = 1');

    return {
      id,
      isNew: begun === 0,
      told: () =>
        database
          .prepare('SELECT path, inode, size, modified FROM told')
          .all()
          .map(row => [
            String(row.path),
            { inode: String(row.inode), size: Number(row.size), modified: String(row.modified) },
          ]),
      record(events, detectedAt, { silently = false } = {}) {
        fenced.write(fence, () => {
          begin.run();
          for (const event of events) {
            if (event.type === 'renamed') remove.run(event.from);
            if (event.type === 'deleted') remove.run(event.path);
            else put.run(event.path, event.facts.inode, event.facts.size, event.facts.modified);
            if (!silently) keep.run(detectedAt, JSON.stringify(event));
          }
        });
      },
      unpublished: limit =>
        waiting.all(limit).map(row => ({
          sequence: Number(row.sequence),
          detectedAt: String(row.detected_at),
          event: JSON.parse(String(row.event)) as FileEvent,
        })),
      published: sequence => fenced.write(fence, () => void settle.run(sequence)),
      close: () => database.close(),
    };
  } catch (error) {
    database.close();
    throw error;
  }
}
