/** One owner's replication from its beginning: connect, check, take over, copy what has not been copied, follow. Fails with what is wrong. */
import type { Logger, System } from '#core';
import { copyTables, type CopyDeps } from './copy.ts';
import { follow } from './follow.ts';
import { refused } from './problem.ts';
import type { Progress } from './progress.ts';
import { checkSchemas } from './schema/schema-check.ts';
import type { TablePlan } from './schema/plan.ts';
import type { ReplicationSettings } from './settings.ts';
import { openPostgresSource } from './source/postgres-source.ts';
import { openSqliteSource } from './source/sqlite-source.ts';
import type { Source } from './source/source.ts';
import type { StoredState } from './state.ts';
import { openPostgresTarget } from './target/postgres-target.ts';
import { openSqliteTarget } from './target/sqlite-target.ts';
import type { Target } from './target/target.ts';

export interface ReplicationDeps {
  readonly settings: ReplicationSettings;
  /** Of the lease: the target, and a SQLite source, refuse an older one. */
  readonly fence: bigint;
  readonly holder: string;
  readonly signal: AbortSignal;
  readonly system: System;
  readonly log: Logger;
  readonly progress: Progress;
  /** Called with the source as soon as there is one to ask how much waits. */
  readonly onSource: (source: Source | null) => void;
}

/** Never resolves. @throws ReplicationProblem, HF_FENCED, and whatever passes by itself */
export async function replicate(deps: ReplicationDeps): Promise<never> {
  const { signal } = deps;
  signal.throwIfAborted();
  const target = await openTarget(deps);
  try {
    const source = await openSource(deps);
    // What is under way fails at once: a server that does not answer must not hold up the end.
    const closeBoth = (): void => {
      source.close().catch(() => {});
      target.close().catch(() => {});
    };
    signal.addEventListener('abort', closeBoth, { once: true });
    try {
      signal.throwIfAborted(); // while they were being opened: the listener came too late
      return await run(deps, source, target);
    } finally {
      signal.removeEventListener('abort', closeBoth);
      deps.onSource(null);
      await target.rollback();
      await source.close();
    }
  } finally {
    await target.close();
  }
}

async function run(deps: ReplicationDeps, source: Source, target: Target): Promise<never> {
  const { settings, signal, progress, log, system } = deps;
  await target.takeOver();
  const found = await target.readState();
  if (settings.retired) return retire(deps, source, target);
  const tables = await plan(settings, source, target);
  let state = await beginOrResume(deps, { source, target, tables, found });
  Object.assign(progress, {
    phase: state.phase,
    position: state.position,
    rows: state.rows,
    conflicts: state.conflicts,
  });
  deps.onSource(source);
  const copying: CopyDeps = {
    source,
    target,
    policy: settings.conflicts,
    system,
    progress,
    signal,
    madeRoom: new Set(),
  };
  if (state.phase === 'copying') {
    log.info({ tables: tables.length, rows: state.rows }, 'copying whole tables');
    state = await copyTables(copying, tables, state);
    progress.phase = state.phase;
  }
  log.info({ phase: state.phase, position: state.position }, 'following the source');
  return follow({ ...copying, batchRows: settings.batchRows }, state);
}

async function plan(
  { tables }: ReplicationSettings,
  source: Source,
  target: Target,
): Promise<readonly TablePlan[]> {
  const [from, to] = [await source.shapes(), await target.shapes()];
  const verdict = checkSchemas(
    tables,
    { kind: source.kind, shapes: from },
    { kind: target.kind, shapes: to },
  );
  if (verdict.fits) return verdict.tables;
  throw refused(`source and target do not fit:\n- ${verdict.problems.join('\n- ')}`, {
    problems: verdict.problems,
  });
}

async function beginOrResume(
  { settings }: ReplicationDeps,
  about: { source: Source; target: Target; tables: readonly TablePlan[]; found: StoredState | null },
): Promise<StoredState> {
  const { source, target, tables, found } = about;
  const { generation, existingRows } = settings;
  if (found && generation < found.generation) {
    throw refused(
      `settings.generation is ${generation}, but ${found.generation} has been begun; it can only be raised`,
    );
  }
  const fresh = found === null || generation > found.generation;
  const known = fresh ? [] : found.copied.filter(name => tables.some(table => table.source === name));
  const started = fresh ? [] : [...known, ...(found.cursor ? [found.cursor.table] : [])];
  const news = tables.filter(table => !started.includes(table.source));
  // Rows of an earlier generation are ours, and so is a table whose copy had begun.
  const mayDelete = existingRows === 'delete' || (fresh && found !== null);
  const full: string[] = [];
  for (const table of news) if (!(await target.isEmpty(table.target))) full.push(table.target);
  if (full.length > 0 && !mayDelete) {
    throw refused(
      `the target's ${full.join(', ')} has rows already, which are not of this replication: empty it, or set \`existingRows\` to "delete"`,
    );
  }
  if (!fresh) await source.resume(found, tables);
  const beginning = fresh ? await source.begin(tables) : found;
  const state: StoredState = fresh
    ? {
        ...beginning,
        generation,
        phase: 'copying',
        mark: null,
        copied: [],
        cursor: null,
        rows: 0,
        conflicts: 0,
      }
    : { ...found, copied: known, phase: known.length < tables.length ? 'copying' : found.phase };
  await target.begin();
  await target.clear(full);
  await target.saveState(state);
  await target.commit();
  return state;
}

async function retire(deps: ReplicationDeps, source: Source, target: Target): Promise<never> {
  await source.retire();
  await target.begin();
  await target.forgetState();
  await target.commit();
  deps.progress.phase = 'retired';
  deps.log.info({}, 'retired: the source keeps nothing for this replication any more');
  const { signal } = deps;
  signal.throwIfAborted();
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

async function openTarget({ settings, fence, holder, system }: ReplicationDeps): Promise<Target> {
  const { name, target, tables: pairs } = settings;
  if (target.kind === 'postgres') return openPostgresTarget(target, { name, pairs, fence, holder });
  return openSqliteTarget(target.file, { name, pairs, fence, holder, system });
}

async function openSource({ settings, fence, holder, system }: ReplicationDeps): Promise<Source> {
  const { name, source, tables: pairs, batchRows, pollMs } = settings;
  const options = { name, pairs, fence, batchRows, system };
  if (source.kind === 'postgres') return openPostgresSource(source, options);
  return openSqliteSource(source.file, { ...options, holder, pollMs });
}
