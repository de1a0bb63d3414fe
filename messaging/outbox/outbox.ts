/**
 * Messages that wait on disk for their broker, in the order in which they came. What `append` has returned from is synced: it survives the
 * process and the machine's power. Bounded in number and bytes. One process owns a file; see `outbox-folder.ts`.
 */
import { DatabaseSync } from 'node:sqlite';
import { HoldfastError } from '#core';
import type { WireMessage } from '../broker.ts';
import { wireBytes } from '../message.ts';

export interface OutboxLimits {
  messagesMax: number;
  bytesMax: number;
}

export interface Waiting {
  position: number;
  message: WireMessage;
}

export interface Outbox {
  readonly count: number;
  /** Whether there is nothing in it that anybody could want. */
  readonly disposable: boolean;
  /**
   * Stores what fits, in order, all of it in one transaction. Returns how many were taken: those behind are too many.
   * @throws HoldfastError HF_OUTBOX_FULL when the disk refuses, and nothing is stored
   */
  append(messages: readonly WireMessage[]): number;
  /** The oldest. */
  first(limit: number): Waiting[];
  remove(positions: readonly number[]): void;
  /** Takes it out of the way of those behind it, and keeps it in the file for somebody to look at. */
  setAside(position: number, reason: string): void;
  close(): void;
}

export function openOutbox(file: string, limits: OutboxLimits): Outbox {
  const database = new DatabaseSync(file);
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS waiting (
      position INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL, message_id TEXT NOT NULL,
      headers TEXT NOT NULL, body BLOB NOT NULL, size INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS refused (
      position INTEGER PRIMARY KEY, subject TEXT NOT NULL, message_id TEXT NOT NULL,
      headers TEXT NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL);
  `);
  const insert = database.prepare(
    'INSERT INTO waiting (subject, message_id, headers, body, size) VALUES (?, ?, ?, ?, ?)',
  );
  const oldest = database.prepare('SELECT * FROM waiting ORDER BY position LIMIT ?');
  const remove = database.prepare('DELETE FROM waiting WHERE position = ?');
  const refuse = database.prepare(
    `INSERT INTO refused SELECT position, subject, message_id, headers, body, ? FROM waiting WHERE position = ?`,
  );
  let { count, bytes } = database
    .prepare('SELECT count(*) AS count, coalesce(sum(size), 0) AS bytes FROM waiting')
    .get() as { count: number; bytes: number };

  /** Counts are changed by `work`, and put back if the transaction fails. */
  function transaction(work: () => void): void {
    const before = { count, bytes };
    try {
      database.exec('BEGIN IMMEDIATE');
      work();
      database.exec('COMMIT');
    } catch (cause) {
      if (database.isTransaction) database.exec('ROLLBACK');
      ({ count, bytes } = before);
      throw new HoldfastError(
        'HF_OUTBOX_FULL',
        `the outbox ${file} cannot be written: ${(cause as Error).message}; free space on its disk`,
        { cause },
      );
    }
  }

  function take(position: number): void {
    const row = database.prepare('SELECT size FROM waiting WHERE position = ?').get(position);
    if (!row) return;
    remove.run(position);
    count -= 1;
    bytes -= row.size as number;
  }

  return {
    get count() {
      return count;
    },
    get disposable() {
      return count === 0 && database.prepare('SELECT 1 FROM refused LIMIT 1').get() === undefined;
    },
    append(messages) {
      let taken = 0;
      transaction(() => {
        for (const message of messages) {
          const size = wireBytes(message);
          if (count >= limits.messagesMax || bytes + size > limits.bytesMax) break;
          const { subject, messageId, headers, body } = message;
          insert.run(subject, messageId, JSON.stringify(headers), body, size);
          count += 1;
          bytes += size;
          taken += 1;
        }
      });
      return taken;
    },
    first: limit => (oldest.all(limit) as unknown as Row[]).map(toWaiting),
    remove: positions => transaction(() => positions.forEach(take)),
    setAside: (position, reason) =>
      transaction(() => {
        refuse.run(reason, position);
        take(position);
      }),
    close: () => database.close(),
  };
}

interface Row {
  position: number;
  subject: string;
  message_id: string;
  headers: string;
  body: Uint8Array;
}

function toWaiting({ position, subject, message_id: messageId, headers, body }: Row): Waiting {
  const message = {
    subject,
    messageId,
    headers: JSON.parse(headers) as Record<string, string>,
    body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
  };
  return { position, message };
}
