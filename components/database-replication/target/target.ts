/**
 * What a replication needs of a target. Every change happens in a transaction that begins with a check of the fence, and ends by storing
 * how far the source has been copied: so what is applied twice, or by two owners, is not applied at all.
 * Rows and keys are in the target's values. `Finding`s are answers; what is thrown (a server that is away) ends the transaction.
 */
import type { Key, Row } from '../cells.ts';
import type { RowChange } from '../change.ts';
import type { ConflictRecord } from '../conflicts.ts';
import type { DatabaseKind } from '../schema/schema-check.ts';
import type { TablePlan, TableShape } from '../schema/plan.ts';
import type { StoredState } from '../state.ts';

export type Finding =
  | { readonly type: 'done' }
  /** No row with that key. */
  | { readonly type: 'missing' }
  /** A row with that key, where there should be none. */
  | { readonly type: 'exists' }
  /** Another row holds what a unique index grants once. */
  | { readonly type: 'blocked'; readonly why: string }
  /** The value or the row as such is not acceptable. */
  | { readonly type: 'unfit'; readonly why: string };

/** Of each transaction. */
export const conflictsKept = 10_000;

export interface Target {
  readonly kind: DatabaseKind;
  shapes(): Promise<ReadonlyMap<string, TableShape>>;
  /** Installs the fence, and makes the tables of the replication itself. @throws HF_FENCED */
  takeOver(): Promise<void>;
  readState(): Promise<StoredState | null>;
  isEmpty(table: string): Promise<boolean>;
  /** @throws HF_FENCED */
  begin(): Promise<void>;
  commit(): Promise<void>;
  /** Does not fail. */
  rollback(): Promise<void>;
  saveState(state: StoredState): Promise<void>;
  forgetState(): Promise<void>;
  insert(table: TablePlan, row: Row): Promise<Finding>;
  /** Inserts, or overwrites the row with that key. */
  upsert(table: TablePlan, row: Row): Promise<Finding>;
  /** Changes what the row has; `undefined` cells stay. */
  update(table: TablePlan, key: Key, row: Row): Promise<Finding>;
  remove(table: TablePlan, key: Key): Promise<Finding>;
  clear(tables: readonly string[]): Promise<void>;
  /** Keys of rows other than that of `key` which hold what unique indexes (the primary key too) would grant to `row`. */
  blockers(table: TablePlan, key: Key | null, row: Row): Promise<readonly Key[]>;
  /** All of it, and resolves to true; or nothing of it, because something was not as expected. `strict`: a row to delete must be there. */
  tryAll(changes: readonly RowChange[], strict: boolean): Promise<boolean>;
  recordConflict(record: ConflictRecord): Promise<void>;
  close(): Promise<void>;
}
