/**
 * The calls of one process on a SQLite file that other processes write too. Calls that come in one turn of the event loop share a
 * transaction, so that one sync to disk serves all of them; after each, others find the file free.
 *
 * SQLite's own waiting would block the event loop, and its growing pauses let a busy process starve the others. Here the file is
 * asked again after a short random pause that does not grow: whoever waits longest has tried most often.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { System } from '#core';

export interface Transactions {
  /** Runs `work` in a transaction. Resolves when it is committed. `work` does not throw: what it finds wrong it returns. */
  write<T>(work: () => T): Promise<T>;
  close(): void;
}

interface Entry {
  work: () => unknown;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

const batchMax = 256;
const pauseMs = { min: 0.5, max: 4 };
const sqliteBusy = 5;

export function createTransactions(options: {
  database: DatabaseSync;
  system: System;
  /** How long others may keep the file. */
  waitMs: number;
  /** The file is of no use any more. */
  onFailure: (cause: Error) => void;
}): Transactions {
  const { database, system, waitMs, onFailure } = options;
  const now = () => system.clock.monotonicMs();
  const queue: Entry[] = [];
  let draining = false;

  function begin(): boolean {
    try {
      database.exec('BEGIN IMMEDIATE');
      return true;
    } catch (error) {
      if (primaryCode(error) === sqliteBusy) return false;
      throw error;
    }
  }

  function run(batch: Entry[]): void {
    let results: unknown[];
    try {
      results = batch.map(({ work }) => work());
      database.exec('COMMIT');
    } catch (error) {
      if (database.isOpen && database.isTransaction) database.exec('ROLLBACK');
      // A full disk or file refuses this batch; the next one may delete, and succeed.
      for (const { reject } of batch) reject(error);
      if (!isFull(error)) fail(error as Error);
      return;
    }
    batch.forEach(({ resolve }, index) => resolve(results[index]));
  }

  function fail(cause: Error): void {
    for (const { reject } of queue.splice(0)) reject(cause);
    onFailure(cause);
  }

  async function drain(): Promise<void> {
    draining = true;
    await nextTurn();
    let sinceMs = now();
    while (queue.length > 0) {
      try {
        if (begin()) {
          run(queue.splice(0, batchMax));
          await nextTurn();
          sinceMs = now();
          continue;
        }
      } catch (error) {
        fail(error as Error);
        continue;
      }
      if (now() - sinceMs > waitMs) fail(new Error(`other processes kept the file locked for ${waitMs} ms`));
      const pause = pauseMs.min + system.random.fraction() * (pauseMs.max - pauseMs.min);
      await new Promise<void>(resolve => system.timers.after(pause, resolve, { keepAlive: true }));
    }
    draining = false;
  }

  return {
    write<T>(work: () => T) {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      queue.push({ work, resolve, reject });
      if (!draining) void drain();
      return promise as Promise<T>;
    },
    close() {
      for (const { reject } of queue.splice(0)) reject(new Error('the file was closed'));
    },
  };
}

/** No room: on the disk, or under the bound of the file. */
export function isFull(error: unknown): boolean {
  return primaryCode(error) === 13;
}

/** Extended codes keep the primary one in the low byte. */
function primaryCode(error: unknown): number | null {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code & 0xff : null;
}

const nextTurn = () => new Promise<void>(resolve => void setImmediate(resolve));
