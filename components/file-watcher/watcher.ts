/**
 * Watches the folder for as long as the lease on it is held: look, write down what is new, publish it, wait for a hint. What is to be told is
 * decided in `changes.ts`; that it is told once, by `cursor.ts`.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isoTime, type ComponentContext, type System } from '#core';
import { beginChanges, nextRipeMs, ripen, see, type Changes, type Facts, type FileEvent } from './changes.ts';
import { openCursor, type Cursor } from './cursor.ts';
import { createHints, watchFolder, type Watch } from './hints.ts';
import { publishWaiting } from './publishing.ts';
import type { WatcherSettings } from './settings.ts';
import { createTree, FolderGoneError, isSelected, parentOf, TooManyFilesError } from './tree.ts';

export interface WatcherOptions {
  context: Pick<ComponentContext, 'instanceId' | 'nodeName' | 'publisher' | 'log'>;
  settings: WatcherSettings;
  system: System;
  fence: bigint;
  /** Ends when the lease ends. */
  signal: AbortSignal;
  /** Called after each look, and when publishing fails. */
  onState: (state: WatcherState) => void;
  /** Replaces the kernel's notices in tests. */
  watch?: Watch;
}

export interface WatcherState {
  files: number;
  /** Changes that are not quiet yet. */
  pending: number;
  /** Empty: all is well. */
  problems: string[];
}

/** Changes that come together are looked at together; a look that takes long is followed by a longer pause, within limits. */
const pauseMs = { min: 50, max: 1_000, perLook: 2 };
/** How often a folder that is not there is looked for. */
const goneRetryMs = 1_000;

/** Resolves when the signal has aborted; rejects when the cursor cannot be used. */
export async function watchUntil(options: WatcherOptions): Promise<void> {
  const { settings, system, signal } = options;
  const now = () => system.clock.monotonicMs();
  const cursor = openCursor(cursorFile(settings, options.context.nodeName), options.fence, () =>
    system.random.id(16),
  );
  let wake = (): void => {};
  const hints = createHints(settings.folder, options.watch ?? watchFolder, () => wake());
  const stop = () => wake();
  signal.addEventListener('abort', stop, { once: true });
  try {
    const told = adopt(cursor, options);
    const changes = beginChanges(told);
    const tree = createTree({ ...settings, root: settings.folder }, told);
    const report = (problems: string[]) =>
      options.onState({ files: tree.files, pending: changes.pending.size, problems });
    const publish = () => publishWaiting(cursor, options, problem => report([problem]));
    /** Null: the folder could not be looked at. */
    let wholeDueMs: number | null = 0;
    let isFirst = cursor.isNew;
    let lookedMs = 0;

    while (!signal.aborted) {
      // What was written down before is told before anything is added to it, so that an absent broker lets no file grow.
      await publish();
      const beganMs = now();
      const problems: string[] = [];
      try {
        const isWhole = wholeDueMs === null || beganMs >= wholeDueMs;
        const look = await tree.look(isWhole ? 'all' : placesToLook(hints.take(), changes));
        if (signal.aborted) break;
        lookedMs = now() - beganMs;
        if (isWhole) wholeDueMs = beganMs + settings.rescanMs;
        see(changes, look.sightings, beganMs);
        hints.follow(tree.folders());
        problems.push(...look.problems, ...(hints.problem === null ? [] : [hints.problem]));
        const silently = isFirst && settings.existingFiles === 'ignore';
        const events = ripen(changes, beganMs, silently ? 0 : settings.stableMs);
        if (isFirst || events.length > 0) cursor.record(events, isoTime(system.clock), { silently });
        isFirst = false;
      } catch (error) {
        if (!(error instanceof FolderGoneError) && !(error instanceof TooManyFilesError)) throw error;
        problems.push(`${settings.folder} ${error.message}`);
        hints.reset();
        wholeDueMs = null;
      }
      report(problems);
      await publish();
      await sleep(Math.min(Math.max(pauseMs.min, pauseMs.perLook * lookedMs), pauseMs.max), {
        untilHint: false,
      });
      if (wholeDueMs === null) await sleep(goneRetryMs, { untilHint: false });
      else if (hints.isEmpty) {
        const ripeMs = nextRipeMs(changes, settings.stableMs) ?? Infinity;
        await sleep(Math.min(wholeDueMs, ripeMs) - now(), { untilHint: true });
      }
    }
  } finally {
    signal.removeEventListener('abort', stop);
    hints.reset();
    cursor.close();
  }

  function sleep(ms: number, { untilHint }: { untilHint: boolean }): Promise<void> {
    return new Promise(resolve => {
      if (signal.aborted || ms <= 0) return resolve();
      const cancel = system.timers.after(Math.ceil(ms), resolve, { keepAlive: true });
      wake = () => {
        if (!untilHint && !signal.aborted) return;
        cancel();
        resolve();
      };
    });
  }
}

/** What was told and still counts: after a change of the filter, what it leaves out is forgotten without a word. */
function adopt(cursor: Cursor, { settings, system }: WatcherOptions): [string, Facts][] {
  const told = cursor.told();
  const left = told.filter(([path]) => !isSelected(path, settings));
  if (left.length > 0) {
    const events = left.map(([path]): FileEvent => ({ type: 'deleted', path }));
    cursor.record(events, isoTime(system.clock), { silently: true });
  }
  return told.filter(([path]) => isSelected(path, settings));
}

/** One file for each folder, so that watching another one begins anew; and for each owner, because nodes of one machine share the data directory. */
function cursorFile({ stateDirectory, folder, ownerPer }: WatcherSettings, nodeName: string): string {
  const owner = ownerPer === 'node' ? `${nodeName}-` : '';
  const digest = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  return join(stateDirectory, `file-watcher-${owner}${digest}.sqlite`);
}

/** Where something may have changed, and where something was still changing. */
function placesToLook(hinted: Set<string>, { pending }: Changes): Set<string> {
  for (const path of pending.keys()) hinted.add(parentOf(path));
  return hinted;
}
