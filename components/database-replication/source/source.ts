/**
 * What a replication needs of a source. Positions are texts that only the source understands.
 *
 * The first copy reads every table in pieces, each at its own moment, while the source keeps all changes since before the first piece.
 * Applying these afterwards, in order, makes the target what the source was at one moment: every change names its row and says what
 * the row became, so that a newer state is overwritten by an older one only until the newer change comes. That moment is
 * reached when all changes up to the last piece have been applied: `mark`.
 */
import type { Key, Row } from '../cells.ts';
import type { SourceEvent } from '../change.ts';
import type { DatabaseKind, TablePair } from '../schema/schema-check.ts';
import type { TablePlan, TableShape } from '../schema/plan.ts';

export interface Beginning {
  /** Which source this is; kept by the target. */
  readonly sourceId: string;
  /** All changes after it are kept. */
  readonly position: string;
}

export interface Backlog {
  /** Row changes that wait; of PostgreSQL those that have been received. */
  readonly rows: number;
  /** Bytes of log that wait or are kept because of us. */
  readonly bytes: number | null;
  readonly oldestMs: number | null;
  /** What an operator should do something about; empty: nothing. */
  readonly warnings: readonly string[];
}

export interface Source {
  readonly kind: DatabaseKind;
  shapes(): Promise<ReadonlyMap<string, TableShape>>;
  /** Has the source keep changes from now on, as if it never had. @throws ReplicationProblem when it cannot */
  begin(tables: readonly TablePlan[]): Promise<Beginning>;
  /** Checks that it is the same source, and has kept everything after the position. @throws ReplicationProblem */
  resume(stored: Beginning, tables: readonly TablePlan[]): Promise<void>;
  /** Rows in the order of the key, after `after` (null: from the first). */
  readPage(table: TablePlan, after: Key | null, rowsMax: number): Promise<readonly Row[]>;
  /** The row as it is now. */
  readRow(table: TablePlan, key: Key): Promise<Row | null>;
  /** Whether a row with the key is there at the moment whose changes are being given; null: it cannot tell. */
  holds(table: TablePlan, key: Key): boolean | null;
  /** Whatever has been read before lies before it. */
  mark(): Promise<string>;
  reached(position: string, mark: string): boolean;
  /** Ends with the signal. Asked for the next event only after the last one has been dealt with. */
  follow(from: string, signal: AbortSignal): AsyncIterable<SourceEvent>;
  /** The target has everything up to `position`, durably: the source may forget it. */
  confirm(position: string): void;
  /** @param position everything before it has been given */
  backlog(position: string): Promise<Backlog>;
  /** Takes everything away that `begin` made. */
  retire(): Promise<void>;
  close(): Promise<void>;
}

export interface SourceOptions {
  readonly name: string;
  readonly pairs: readonly TablePair[];
  readonly fence: bigint;
  /** Rows in one event, at most. */
  readonly batchRows: number;
}

/** Bytes of one event, roughly. */
export const batchBytesMax = 1024 * 1024;
