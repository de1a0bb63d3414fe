/**
 * The calls of one process on a SQLite file that other processes write too.
 *
 * SQLite's own waiting blocks the event loop, and its growing pauses let a busy process starve the others for seconds. Here the file is
 * asked without waiting, and asked again after a short random pause that does not grow: whoever waits longest has tried most
 * often. Calls that come together share one transaction, and after each transaction the process lets the others in between.
 */
import type { DatabaseSync } from 'node:sqlite';
import { HoldfastError, type System } from '#core';

export interface TransactionQueue {
  /** Runs `work` in a `BEGIN IMMEDIATE` transaction, in the order of the calls. What it throws is rejected; nothing is written then. */
  write<T>(work: () => T): Promise<T>;
  /** Runs `work` on the last committed state. */
  read<T>(work: () => T): Promise<T>;
  /** Rejects what waits. */
  close(): void;
}

interface Entry {
  work: () => unknown;
  untilMs: number;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

const batchMax = 64;
const pauseMs = { min: 0.5, max: 4 };
const sqliteBusy = 5;

export function createTransactionQueue(options: {
  database: DatabaseSync;
  system: System;
  /** How long a call waits for other processes. */
  waitMs: number;
}): TransactionQueue {
  const { database, system, waitMs } = options;
  const now = () => system.clock.monotonicMs();
  let queue: Entry[] = [];
  let draining = false;

  function assertOpen(): void {
    if (!database.isOpen) throw unavailable('the lease store has been closed');
  }

  const pause = () =>
    system.timers.sleep(pauseMs.min + system.random.fraction() * (pauseMs.max - pauseMs.min));

  /** False: another process has the file. */
  function begin(): boolean {
    try {
      database.exec('BEGIN IMMEDIATE');
      return true;
    } catch (error) {
      if (isBusy(error)) return false;
      throw error;
    }
  }

  function runBatch(batch: Entry[]): void {
    const results: unknown[] = [];
    try {
      for (const { work } of batch) results.push(work());
      database.exec('COMMIT');
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      // One call cannot be told from another when the transaction fails: none of them has happened.
      for (const { reject } of batch) reject(wrapped(error));
      return;
    }
    batch.forEach(({ resolve }, index) => resolve(results[index]));
  }

  async function drain(): Promise<void> {
    draining = true;
    // Calls of this turn of the event loop come along, and between two turns other processes find the file free.
    await nextTurn();
    while (queue.length > 0) {
      let begun = true;
      try {
        assertOpen();
        begun = begin();
        if (begun) runBatch(queue.splice(0, batchMax));
        else dropLate();
      } catch (error) {
        for (const { reject } of queue.splice(0)) reject(wrapped(error));
      }
      await (begun ? nextTurn() : pause());
    }
    draining = false;
  }

  function dropLate(): void {
    const nowMs = now();
    const late = queue.filter(entry => nowMs >= entry.untilMs);
    queue = queue.filter(entry => nowMs < entry.untilMs);
    for (const { reject } of late) {
      reject(unavailable(`other processes kept the lease file locked for ${waitMs} ms`));
    }
  }

  return {
    write<T>(work: () => T) {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      queue.push({ work, untilMs: now() + waitMs, resolve, reject });
      if (!draining) void drain();
      return promise as Promise<T>;
    },
    async read(work) {
      const untilMs = now() + waitMs;
      for (;;) {
        try {
          assertOpen();
          return work();
        } catch (error) {
          // Readers wait for nobody in WAL mode, but for a process that recovers or resets the log.
          if (!isBusy(error) || now() >= untilMs) throw wrapped(error);
        }
        await pause();
      }
    },
    close() {
      for (const { reject } of queue.splice(0)) reject(unavailable('the lease store has been closed'));
    },
  };
}

const nextTurn = () => new Promise<void>(resolve => setImmediate(resolve));

/** The primary code of the result: BUSY has flavours, and a cut-off checkpoint is one of them. */
function isBusy(error: unknown): boolean {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === 'number' && (code & 0xff) === sqliteBusy;
}

function wrapped(cause: unknown): HoldfastError {
  return cause instanceof HoldfastError ? cause : unavailable('the lease file cannot be used', cause);
}

function unavailable(text: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF_COORDINATION_UNAVAILABLE', text, { cause });
}
