/** How far a replication is, as the target keeps it beside the rows. */

/**
 * ```
 *  copying ── every table has been read ──▶ catching-up ── all changes up to `mark` applied ──▶ following
 *     ▲                                                                                          │
 *     └──────────────────────────────── a table was added ──────────────────────────────────────┘
 * ```
 * Only while `following` is the target what the source was at one moment.
 */
export type Phase = 'copying' | 'catching-up' | 'following';

export interface StoredState {
  readonly generation: number;
  readonly phase: Phase;
  readonly sourceId: string;
  /** Everything before it has been applied. */
  readonly position: string;
  /** Where the pieces of the copy end, while catching up. */
  readonly mark: string | null;
  /** Source tables that have been copied. */
  readonly copied: readonly string[];
  /** The table that is being copied, and the last key that is here, as `keyText` writes it. */
  readonly cursor: { readonly table: string; readonly after: string } | null;
  /** Row changes applied since the generation began, copies of whole tables too. */
  readonly rows: number;
  readonly conflicts: number;
}
