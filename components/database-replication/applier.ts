/** Applies changes inside the target's transaction: as many at once as the target can, one by one where something is not as expected. */
import { isComplete, keyText, type Key, type Row } from './cells.ts';
import type { Change, RowChange } from './change.ts';
import { decide, type ConflictKind, type ConflictPolicy } from './conflicts.ts';
import { halted } from './problem.ts';
import { convertKey, convertRow, keyOf, sourceKey, UnfitValue, type TablePlan } from './schema/plan.ts';
import type { Source } from './source/source.ts';
import type { Phase } from './state.ts';
import type { Finding, Target } from './target/target.ts';

export interface Applied {
  rows: number;
  conflicts: number;
  /** A row was read from the source as it is now, which may be newer than what is being applied. */
  readAhead: boolean;
}

export interface ApplierDeps {
  readonly source: Pick<Source, 'readRow' | 'holds'>;
  readonly target: Target;
  readonly policy: ConflictPolicy;
  /**
   * Rows that made room in the open transaction of the target, because the source has changed them too: their own change finds them
   * missing, rightly. Whoever ends the transaction empties it.
   */
  readonly madeRoom: Set<string>;
}

const rowId = (table: TablePlan, key: Key): string => `${table.index} ${keyText(key)}`;

/** Room may have to be made, or the row read, a few times; more means that something else is wrong. */
const attemptsMax = 5;

/** `changes` in the source's values, of one transaction or several whole ones, in order. @throws ReplicationProblem */
export async function applyChanges(
  deps: ApplierDeps,
  changes: readonly Change[],
  phase: Phase,
): Promise<Applied> {
  const applied: Applied = { rows: 0, conflicts: 0, readAhead: false };
  let run: RowChange[] = [];
  const flush = async (): Promise<void> => {
    const rows = run;
    run = [];
    if (rows.length > 0) await applyRows(deps, rows, phase, applied);
  };
  for (const change of changes) {
    if (change.type !== 'truncate') {
      run.push(phase !== 'following' && change.type === 'insert' ? { ...change, type: 'upsert' } : change);
      continue;
    }
    await flush();
    await deps.target.clear(change.tables.map(table => table.target));
    applied.rows += change.tables.length;
  }
  await flush();
  return applied;
}

async function applyRows(
  deps: ApplierDeps,
  rows: readonly RowChange[],
  phase: Phase,
  applied: Applied,
): Promise<void> {
  const { target } = deps;
  if (rows.length > 1) {
    const converted = convertAll(rows);
    if (converted && (await target.tryAll(converted, phase === 'following'))) {
      applied.rows += rows.length;
      return;
    }
  }
  for (const row of rows) await applyOne(deps, row, phase, applied);
}

/** Null: one of them does not fit, and has to be looked at by itself. */
function convertAll(rows: readonly RowChange[]): RowChange[] | null {
  try {
    return rows.map(convertChange);
  } catch (error) {
    if (error instanceof UnfitValue) return null;
    throw error;
  }
}

function convertChange(change: RowChange): RowChange {
  const key = convertKey(change.table, change.key);
  return 'row' in change ? { ...change, key, row: convertRow(change.table, change.row) } : { ...change, key };
}

async function applyOne(deps: ApplierDeps, change: RowChange, phase: Phase, applied: Applied): Promise<void> {
  const { source, target, policy, madeRoom } = deps;
  const { table } = change;
  const place = `${table.source}, key ${keyText(change.key).slice(0, 200)}`;
  let next: RowChange = change;
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const finding = await perform(target, next);
    if (finding.type === 'done') {
      applied.rows += 1;
      return;
    }
    const blockers = finding.type === 'blocked' ? await blockersOf(target, next) : [];
    const stale = blockers.length > 0 && blockers.every(key => source.holds(table, sourceKey(table, key)));
    const fleeting =
      (change.type === 'delete' && change.fleeting === true) || madeRoom.has(rowId(table, change.key));
    const why = 'why' in finding ? finding.why : '';
    const decision = decide({ policy, phase, change: change.type, finding: finding.type, fleeting, stale });
    if (decision.record) {
      applied.conflicts += 1;
      const key = keyText(change.key);
      const record = {
        table: table.target,
        key,
        change: change.type,
        finding: finding.type,
        act: decision.act,
        why,
      };
      await target.recordConflict(record);
    }
    switch (decision.act) {
      case 'nothing':
        applied.rows += 1;
        return;
      case 'halt':
        throw halted(haltMessage(change, place, finding.type, why), { table: table.target });
      case 'make-room': {
        if (blockers.length === 0) {
          throw halted(
            `${change.type} of ${place}: another row of the target's ${table.target} is in the way, by an index that is partial or on an expression (${why}): remove that row or that index`,
          );
        }
        for (const key of blockers) {
          await target.remove(table, key);
          madeRoom.add(rowId(table, sourceKey(table, key)));
        }
        break;
      }
      case 'overwrite': {
        const row = await wholeRow(source, next, applied);
        if (row === null) return; // gone from the source meanwhile: its delete is on the way
        next = { type: 'upsert', table, key: keyOf(table, row), row };
      }
    }
  }
  throw halted(
    `${change.type} of ${place}: not done after ${attemptsMax} attempts in the target's ${table.target}`,
  );
}

async function perform(target: Target, change: RowChange): Promise<Finding> {
  let converted: RowChange;
  try {
    converted = convertChange(change);
  } catch (error) {
    if (error instanceof UnfitValue) return { type: 'unfit', why: error.message };
    throw error;
  }
  const { type, table, key } = converted;
  switch (type) {
    case 'delete':
      return target.remove(table, key);
    case 'insert':
      return target.insert(table, converted.row);
    case 'upsert':
      return target.upsert(table, converted.row);
    case 'update':
      return target.update(table, key, converted.row);
  }
}

async function blockersOf(target: Target, change: RowChange): Promise<readonly Key[]> {
  if (!('row' in change)) return [];
  const { table, key, row } = convertChange(change) as RowChange & { row: Row };
  return target.blockers(table, change.type === 'insert' ? null : key, row);
}

/** The row with every column, from the source if the change did not bring all; null: it is not there any more. */
async function wholeRow(
  source: Pick<Source, 'readRow'>,
  change: RowChange,
  applied: Applied,
): Promise<Row | null> {
  const { table } = change;
  if ('row' in change && isComplete(change.row)) return change.row;
  applied.readAhead = true;
  return source.readRow(table, 'row' in change ? keyOf(table, change.row) : change.key);
}

function haltMessage(change: RowChange, place: string, finding: ConflictKind, why: string): string {
  const { target } = change.table;
  // What databases say about a value often quotes it, and messages end up in logs.
  const said = why.replace(/:\s+["“].*$/s, '');
  const found = {
    exists: `the target's ${target} has a row with that key already`,
    missing: `the target's ${target} has no such row`,
    blocked: `another row of the target's ${target} is in the way (${said})`,
    unfit: `the target's ${target} cannot take it (${said})`,
  }[finding];
  const advice =
    finding === 'unfit'
      ? 'mend the row in the source or the column in the target, or set `conflicts` to "skip" to leave such rows out'
      : 'mend the target, or set `conflicts` to "source" (the source is right) or "skip" (the target keeps its row)';
  return `${change.type} of ${place}: ${found}; ${advice}`;
}
