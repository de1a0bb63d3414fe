/** A database that rows are written to. */
import type { Value } from './rows.ts';

export interface Target {
  /** Connects, and makes the tables that are missing. May be called again after it has rejected. */
  open(): Promise<void>;
  /**
   * Writes the rows and the message's id, in one transaction. Resolves to false, having written nothing, when the id is there already.
   * @throws AwayError when the database cannot be asked at the moment; the database's own error when it refuses
   */
  write(messageId: string, rows: readonly Value[][], nowMs: number): Promise<boolean>;
  /** Forgets the ids of messages that were written before this time. */
  forget(beforeMs: number): Promise<void>;
  close(): Promise<void>;
}

/** Trying again later can help. */
export class AwayError extends Error {}
