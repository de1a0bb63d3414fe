/**
 * The kernel's notices of changes, taken as hints of where to look, and as no more than that: they say nothing of what happened while nobody watched,
 * get lost when their queue overflows (which Node does not tell), do not come from network file systems, and fall silent when a watched folder is replaced.
 * So each folder is watched by itself, and a whole look comes at intervals besides.
 */
import { watch, type FSWatcher } from 'node:fs';
import { basename, join } from 'node:path';

export interface Hints {
  /** Watches exactly these folders (relative; '' is the root). Those that were not watched before have a hint now. */
  follow(folders: ReadonlySet<string>): void;
  /** The folders in which something may have changed since the last call. */
  take(): Set<string>;
  readonly isEmpty: boolean;
  /** Why some folders are not watched, or null. */
  readonly problem: string | null;
  /** Watches nothing any more; `follow` begins anew. */
  reset(): void;
}

export type Watch = (
  path: string,
  onChange: (name: string | null) => void,
  onError: (error: NodeJS.ErrnoException) => void,
) => () => void;

export const watchFolder: Watch = (path, onChange, onError) => {
  const watcher: FSWatcher = watch(path, { persistent: false }, (_, name) => onChange(name));
  watcher.on('error', onError);
  return () => watcher.close();
};

export function createHints(root: string, watchOne: Watch, onHint: () => void): Hints {
  const watched = new Map<string, () => void>();
  let hinted = new Set<string>();
  let problem: string | null = null;

  function drop(folder: string): void {
    watched.get(folder)?.();
    watched.delete(folder);
  }

  function begin(folder: string): void {
    const path = join(root, folder);
    const failed = (error: NodeJS.ErrnoException) => {
      drop(folder);
      // A folder that has just gone is for the next look to find.
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return;
      problem = `changes are found by looking alone, because ${path} cannot be watched (${explain(error)})`;
    };
    try {
      const close = watchOne(
        path,
        name => {
          // A folder of that name may be another one now, or this one itself: the notices of the old one would be silence.
          if (name !== null) drop(folder === '' ? name : `${folder}/${name}`);
          if (name === basename(path)) drop(folder);
          hinted.add(folder);
          onHint();
        },
        failed,
      );
      watched.set(folder, close);
    } catch (error) {
      failed(error as NodeJS.ErrnoException);
    }
  }

  return {
    follow(folders) {
      problem = null;
      for (const folder of watched.keys()) if (!folders.has(folder)) drop(folder);
      for (const folder of folders) {
        if (watched.has(folder) || problem !== null) continue;
        begin(folder);
        // It may have changed between the look and now.
        if (watched.has(folder)) hinted.add(folder);
      }
    },
    take() {
      const taken = hinted;
      hinted = new Set();
      return taken;
    },
    get isEmpty() {
      return hinted.size === 0;
    },
    get problem() {
      return problem;
    },
    reset() {
      for (const folder of watched.keys()) drop(folder);
      hinted.clear();
      problem = null;
    },
  };
}

function explain({ code = 'unknown' }: NodeJS.ErrnoException): string {
  if (code === 'ENOSPC') return 'ENOSPC: raise the sysctl fs.inotify.max_user_watches';
  if (code === 'EMFILE')
    return 'EMFILE: raise the sysctl fs.inotify.max_user_instances, or the limit of open files';
  return code;
}
