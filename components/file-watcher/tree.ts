/**
 * The folder as it was when it was last looked at, and looking at it again: whole, or only some of its folders. A look tells what differs from the
 * one before. Symbolic links are neither followed nor told, so that no loop and no path outside of the folder is ever entered.
 */
import type { BigIntStats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { dirname, join, matchesGlob } from 'node:path';
import type { Facts, Sighting } from './changes.ts';

export interface TreeOptions extends Selection {
  /** Absolute. */
  root: string;
  filesMax: number;
}

/** Which files count. */
export interface Selection {
  recursive: boolean;
  filter: readonly string[];
  ignore: readonly string[];
}

export interface Look {
  sightings: Sighting[];
  /** Folders that cannot be read, each with the reason: what they held is taken as unchanged. */
  problems: string[];
}

export interface Tree {
  /**
   * Looks at these folders (relative; '' is the root), and into all that are new below them; `all`: at everything.
   * @throws FolderGoneError when the root is not there; TooManyFilesError
   */
  look(folders: Iterable<string> | 'all'): Promise<Look>;
  /** Relative paths of all folders, for those who watch each of them. */
  folders(): ReadonlySet<string>;
  readonly files: number;
}

export class FolderGoneError extends Error {}
export class TooManyFilesError extends Error {}

interface Folder {
  files: Map<string, Facts>;
  folders: Set<string>;
}

/** How many files are asked for their facts at a time. */
const asksMax = 32;

/** @param known what was told, so that the first look finds what has gone */
export function createTree(options: TreeOptions, known: Iterable<readonly [string, Facts]>): Tree {
  const { root, recursive } = options;
  const tree = new Map<string, Folder>();
  let files = 0;
  /** What was found and not handed out yet: it outlives a look that fails halfway. */
  let sightings: Sighting[] = [];
  for (const [path, facts] of known) {
    folderAt(parentOf(path)).files.set(path, facts);
    files++;
  }

  /** Makes it, and those above it, if there is none. */
  function folderAt(path: string): Folder {
    let folder = tree.get(path);
    if (!folder) {
      folder = { files: new Map(), folders: new Set() };
      tree.set(path, folder);
      if (path !== '') folderAt(parentOf(path)).folders.add(path);
    }
    return folder;
  }

  async function lookAt(path: string, deep: boolean, problems: string[]): Promise<void> {
    const names = await namesIn(path, problems);
    if (names === 'gone') return forget(path);
    if (names === 'unreadable') return;
    const folder = folderAt(path);
    const found = new Map<string, Facts>();
    for (let first = 0; first < names.files.length; first += asksMax) {
      await Promise.all(
        names.files.slice(first, first + asksMax).map(async file => {
          const facts = await factsOf(join(root, file));
          if (facts) found.set(file, facts);
        }),
      );
    }
    const count = files + found.size - folder.files.size;
    if (count > options.filesMax) {
      throw new TooManyFilesError(
        `holds more than ${options.filesMax} files that match; raise filesMax, or narrow filter`,
      );
    }
    files = count;
    for (const file of folder.files.keys()) {
      if (!found.has(file)) sightings.push({ path: file, facts: null });
    }
    for (const [file, facts] of found) sightings.push({ path: file, facts });
    folder.files = found;
    for (const below of folder.folders) if (!names.folders.has(below)) forget(below);
    for (const below of names.folders) {
      if (deep || !folder.folders.has(below)) {
        folder.folders.add(below);
        await lookAt(below, true, problems);
      }
    }
  }

  /** The folder is not there any more: nor is what it held. */
  function forget(path: string): void {
    const folder = tree.get(path);
    if (!folder) return;
    for (const file of folder.files.keys()) sightings.push({ path: file, facts: null });
    files -= folder.files.size;
    for (const below of folder.folders) forget(below);
    tree.delete(path);
    tree.get(parentOf(path))?.folders.delete(path);
  }

  async function namesIn(
    path: string,
    problems: string[],
  ): Promise<{ files: string[]; folders: Set<string> } | 'gone' | 'unreadable'> {
    try {
      const entries = await readdir(join(root, path), { withFileTypes: true });
      const at = (name: string) => (path === '' ? name : `${path}/${name}`);
      const below = recursive ? entries.filter(entry => entry.isDirectory()) : [];
      return {
        files: entries
          .filter(entry => entry.isFile() && isSelected(at(entry.name), options))
          .map(entry => at(entry.name)),
        folders: new Set(
          below.map(entry => at(entry.name)).filter(folder => !matches(folder, options.ignore)),
        ),
      };
    } catch (error) {
      const { code = 'unknown', message } = error as NodeJS.ErrnoException;
      const isGone = code === 'ENOENT' || code === 'ENOTDIR';
      if (path === '') throw new FolderGoneError(isGone ? 'is not there' : `cannot be read: ${message}`);
      if (isGone) return 'gone';
      problems.push(`${path} cannot be read (${code})`);
      return 'unreadable';
    }
  }

  return {
    async look(which) {
      const problems: string[] = [];
      if (which === 'all') await lookAt('', true, problems);
      else for (const folder of which) if (tree.has(folder)) await lookAt(folder, false, problems);
      const found = sightings;
      sightings = [];
      return { sightings: found, problems };
    },
    folders: () => new Set(tree.keys()),
    get files() {
      return files;
    },
  };
}

export function isSelected(path: string, { recursive, filter, ignore }: Selection): boolean {
  return (recursive || !path.includes('/')) && matches(path, filter) && !matches(path, ignore);
}

/** Of a relative path; '' is the root. */
export function parentOf(path: string): string {
  return path.includes('/') ? dirname(path) : '';
}

function matches(path: string, globs: readonly string[]): boolean {
  return globs.some(glob => matchesGlob(path, glob));
}

/** Null: it has gone between the two questions, or is no file any more. */
async function factsOf(path: string): Promise<Facts | null> {
  let stats: BigIntStats;
  try {
    stats = await lstat(path, { bigint: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  if (!stats.isFile()) return null;
  return { inode: String(stats.ino), size: Number(stats.size), modified: String(stats.mtimeNs) };
}
