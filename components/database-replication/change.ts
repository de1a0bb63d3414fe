/** What happened in the source, in the words that every target understands. */
import type { Key, Row } from './cells.ts';
import type { TablePlan } from './schema/plan.ts';

export type RowChange =
  /** A row that was not there. */
  | { readonly type: 'insert'; readonly table: TablePlan; readonly key: Key; readonly row: Row }
  /** A row that may be there: how copies of whole tables arrive. */
  | { readonly type: 'upsert'; readonly table: TablePlan; readonly key: Key; readonly row: Row }
  /** `key` is what it was before; the row holds the new one. */
  | { readonly type: 'update'; readonly table: TablePlan; readonly key: Key; readonly row: Row }
  /** `fleeting`: it may have come and gone without the target having seen it. */
  | { readonly type: 'delete'; readonly table: TablePlan; readonly key: Key; readonly fleeting?: boolean };

export type Change = RowChange | { readonly type: 'truncate'; readonly tables: readonly TablePlan[] };

export type SourceEvent =
  /**
   * Changes of one transaction, in order; a large one comes in several of these. `atMs`: when it was committed in the source, by the
   * source's clock, null if that is not known.
   */
  | { readonly type: 'changes'; readonly changes: readonly Change[]; readonly atMs: number | null }
  /** The transaction is whole: with what came since the commit before, the target may become the source as of `position`. */
  | {
      readonly type: 'commit';
      readonly position: string;
      /** Changes of the next transaction are here already. */
      readonly more: boolean;
    }
  /** Nothing is under way, and everything up to `position` has been given. */
  | { readonly type: 'idle'; readonly position: string };
