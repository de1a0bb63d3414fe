/** The first copy of tables, page by page; each page and the place that it ends at are one transaction of the target. */
import type { System } from '#core';
import { applyChanges, type ApplierDeps } from './applier.ts';
import { keyText, parseKey, rowBytes, type Key, type Row } from './cells.ts';
import type { RowChange } from './change.ts';
import type { Progress } from './progress.ts';
import { keyOf, type TablePlan } from './schema/plan.ts';
import { batchBytesMax, type Source } from './source/source.ts';
import type { StoredState } from './state.ts';

export interface CopyDeps extends ApplierDeps {
  readonly source: Source;
  readonly system: System;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

const pageRows = { first: 200, max: 2_000 };

/** As many as make a page of about `batchBytesMax`, going by the page before. */
export function nextPageRows(rows: number, bytes: number): number {
  if (rows === 0) return pageRows.first;
  const fitting = Math.floor(batchBytesMax / Math.max(1, bytes / rows));
  return Math.max(1, Math.min(fitting, pageRows.max));
}

/** Resolves to the state in which every table has been copied. */
export async function copyTables(
  deps: CopyDeps,
  tables: readonly TablePlan[],
  begun: StoredState,
): Promise<StoredState> {
  let state = begun;
  for (const table of tables) {
    if (!state.copied.includes(table.source)) state = await copyTable(deps, table, state);
  }
  const mark = await deps.source.mark();
  return save(deps, { ...state, phase: 'catching-up', mark, cursor: null });
}

async function copyTable(deps: CopyDeps, table: TablePlan, begun: StoredState): Promise<StoredState> {
  const { source, target, progress, signal } = deps;
  progress.copying = table.source;
  let state = begun;
  const { cursor } = state;
  let after: Key | null = cursor?.table === table.source ? parseKey(cursor.after) : null;
  let asked = pageRows.first;
  let reading = source.readPage(table, after, asked);
  for (;;) {
    signal.throwIfAborted();
    const page: readonly Row[] = await reading;
    const last = page.at(-1);
    const ended = page.length < asked;
    if (last) {
      after = keyOf(table, last);
      asked = nextPageRows(
        page.length,
        page.reduce((bytes, row) => bytes + rowBytes(row), 0),
      );
    }
    // The next page is read while this one is written.
    reading = ended ? Promise.resolve([]) : source.readPage(table, after, asked);
    reading.catch(() => {
      // Told when it is waited for, if it still matters then.
    });
    const changes = page.map((row): RowChange => ({ type: 'upsert', table, key: keyOf(table, row), row }));
    await target.begin();
    const applied = await applyChanges(deps, changes, 'copying');
    state = {
      ...state,
      rows: state.rows + applied.rows,
      conflicts: state.conflicts + applied.conflicts,
      copied: ended ? [...state.copied, table.source] : state.copied,
      cursor: ended || after === null ? null : { table: table.source, after: keyText(after) },
    };
    await target.saveState(state);
    await target.commit();
    deps.madeRoom.clear();
    Object.assign(progress, { rows: state.rows, conflicts: state.conflicts });
    progress.transactions += 1;
    await deps.system.timers.sleep(0); // SQLite does not let go of the event loop by itself
    if (!ended) continue;
    progress.copying = null;
    return state;
  }
}

async function save({ target }: CopyDeps, state: StoredState): Promise<StoredState> {
  await target.begin();
  await target.saveState(state);
  await target.commit();
  return state;
}
