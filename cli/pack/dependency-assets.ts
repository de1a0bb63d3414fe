/**
 * Dependencies that read files beside their code (style sheets, templates) by `__dirname`. In a bundle that would be the folder
 * of the bundle, so such code gets a `__dirname` of its own below the bundle, `node_modules/<package>/…`, and the package's
 * files that are no code go into the ZIP there.
 */
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Plugin } from 'esbuild';
import { owningPackage } from './owning-package.ts';

export interface Asset {
  /** Relative to the bundle's folder. */
  name: string;
  /** Absolute. */
  path: string;
}

export interface DependencyAssets {
  plugin: Plugin;
  /** After the bundle was made. Sorted. */
  files(): Promise<Asset[]>;
}

const code = /\.(?:[cm]?[jt]sx?|map|md|markdown|node|gyp|sh)$/i;
const servedFolder = /(?:^|\/)(?:assets|public|static|templates|views|www)\//;
const ignoredFolders = new Set([
  'node_modules',
  'test',
  'tests',
  '__tests__',
  'doc',
  'docs',
  'example',
  'examples',
]);
const ignoredFiles =
  /^(?:\.|licen[cs]e|changelog|history|authors|readme|package\.json$|package-lock\.json$|tsconfig)/i;

export function dependencyAssets(): DependencyAssets {
  const directories = new Set<string>();
  return {
    plugin: {
      name: 'dependency-assets',
      setup(build) {
        build.onLoad({ filter: /\/node_modules\/.*\.[cm]?js$/ }, async ({ path }) => {
          const text = await readFile(path, 'utf8');
          if (!/\b__(?:dirname|filename)\b/.test(text)) return undefined;
          const owner = owningPackage(path);
          if (owner) directories.add(owner.directory);
          const name = JSON.stringify(`/${nameBelowBundle(path)}`);
          const folder = JSON.stringify(`/${dirname(nameBelowBundle(path))}`);
          // Declared where the module's own code finds them; one line, so that places in messages stay right.
          const prelude = `var __filename=__holdfastDirname+${name},__dirname=__holdfastDirname+${folder};`;
          const declares = /\b(?:const|let|var|function|class)\s+__(?:dirname|filename)\b/.test(text);
          if (declares) return undefined;
          return { contents: prelude + text.replace(/^#!.*/, ''), loader: 'js' };
        });
      },
    },
    async files() {
      const found = await Promise.all([...directories].map(filesOf));
      return found.flat().sort((a, b) => (a.name < b.name ? -1 : 1));
    },
  };
}

/** `…/node_modules/a/lib/x.js` → `node_modules/a/lib/x.js`. */
function nameBelowBundle(path: string): string {
  return path.slice(path.indexOf('/node_modules/') + 1);
}

async function filesOf(directory: string): Promise<Asset[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.flatMap(entry => {
    const path = join(entry.parentPath, entry.name);
    const name = relative(directory, path);
    const folders = name.split('/').slice(0, -1);
    const wanted =
      entry.isFile() &&
      !ignoredFiles.test(entry.name) &&
      !folders.some(folder => ignoredFolders.has(folder) || folder.startsWith('.')) &&
      (!code.test(name) || servedFolder.test(name));
    return wanted ? [{ name: nameBelowBundle(path), path }] : [];
  });
}
