/**
 * Notices every change of one file. Watches the folder, not the file, so that a rename over it is seen; a look at the
 * file each second catches what the watcher misses (network file systems, a folder that was replaced).
 */
import { watch, type FSWatcher } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { System } from '#core';

const debounceMs = 50;
const pollMs = 1_000;

/** Calls after a change has settled. The result stops it. */
export function watchFile(path: string, system: System, onChange: () => void): () => void {
  let stopped = false;
  let cancelPending: (() => void) | null = null;
  let seen: string | null = null;
  let watcher: FSWatcher | null = null;

  function changed(): void {
    cancelPending?.();
    cancelPending = system.timers.after(debounceMs, () => {
      cancelPending = null;
      if (!stopped) onChange();
    });
  }

  async function look(): Promise<void> {
    watcher ??= tryWatch();
    const facts = await stat(path).then(
      found => `${found.ino} ${found.size} ${found.mtimeMs}`,
      () => 'missing',
    );
    if (seen !== null && facts !== seen) changed();
    seen = facts;
  }

  function tryWatch(): FSWatcher | null {
    try {
      const created = watch(dirname(path), { persistent: false }, (_event, name) => {
        if (name === null || name === basename(path)) changed();
      });
      created.on('error', () => {
        created.close(); // the folder went away; the next look watches its successor
        watcher = null;
      });
      return created;
    } catch {
      return null; // no such folder yet: the next look tries again
    }
  }

  void look();
  const cancelPoll = system.timers.every(pollMs, () => void look());
  return () => {
    stopped = true;
    cancelPoll();
    cancelPending?.();
    watcher?.close();
  };
}
