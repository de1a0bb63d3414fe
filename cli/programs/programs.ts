/**
 * Holdfast's own programs (the command, the agent, the coordinator) as bundles, `build/programs/<id>/`: loading one file takes a
 * third of the processor time that loading some hundred takes, and a cluster on one machine starts half a dozen of them. Whoever
 * starts a program (`bin/programs.js`) compares every file that went in with `current.json` first, so an edited source is never
 * served stale: then it is bundled again, or run as it is.
 */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Plugin } from 'esbuild';
import { writeFileDurably } from '#core';
import { bundle, stopBundler } from '../pack/bundle.ts';

/** Source of each program, by the name of its bundle. */
const sources: Readonly<Record<string, string>> = {
  'holdfast.js': 'cli/main.ts',
  'agent.js': 'node-api/main.ts',
  'coordinator.js': 'ownership/embedded/coordinator-main.ts',
};
/** Steer what is made although they are no input. */
const configuration = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'node_modules/esbuild/package.json',
];
/** By how much a file's time may lag behind the clock. */
const clockStepMs = 50;
const keepMs = 7 * 86_400_000;
const keepCount = 10;

/** What `bin/programs.js` reads. Paths are relative to the project. */
export interface Current {
  /** Folder below `build/programs`. */
  id: string;
  /** Every file that decides on the bundles: path, size in bytes, times of change and of change of status, in milliseconds. */
  inputs: [path: string, sizeBytes: number, modifiedMs: number, changedMs: number][];
}

/** Bundles them, and makes them current unless a source was edited meanwhile. @throws HoldfastError HF_PACKAGE_INVALID */
export async function buildPrograms(project: string, nowMs: number): Promise<void> {
  const made = await bundle({
    entries: Object.fromEntries(Object.entries(sources).map(([name, path]) => [name, join(project, path)])),
    directory: project,
    split: true,
    external: ['esbuild'], // a program of its own, which finds itself by its place
    plugins: [placesOfSources(project)],
  });
  await stopBundler();
  const builder = (await readdir(import.meta.dirname)).map(name => join(import.meta.dirname, name));
  const paths = [...made.inputs, ...builder, ...configuration.map(path => join(project, path))];
  const inputs = [...new Set(paths)].sort().map((path): Current['inputs'][number] => {
    const { size, mtimeMs, ctimeMs } = statSync(path);
    return [relative(project, path), size, mtimeMs, ctimeMs];
  });
  if (inputs.some(([, , modifiedMs]) => modifiedMs > nowMs - clockStepMs)) return; // perhaps not as it was read
  const files = [
    ...made.modules,
    ...(await Promise.all(made.assets.map(async ({ name, path }) => ({ name, code: await readFile(path) })))),
  ];
  files.push({ name: 'package.json', code: Buffer.from('{"type":"module"}\n') });
  const hash = createHash('sha256');
  for (const { name, code } of files) hash.update(`${name}\0${code.length}\0`).update(code);
  const id = hash.digest('hex').slice(0, 24);
  const root = join(project, 'build/programs');
  await place(join(root, id), files);
  await writeFileDurably(join(root, 'current.json'), JSON.stringify({ id, inputs } satisfies Current), 0o644);
  await removeOld(root, id, nowMs);
}

/** All of it or nothing: several may build at once, and the same input makes the same files. */
async function place(folder: string, files: readonly { name: string; code: Buffer }[]): Promise<void> {
  const staging = `${folder}.${process.pid}`;
  for (const { name, code } of files) {
    await mkdir(dirname(join(staging, name)), { recursive: true });
    await writeFile(join(staging, name), code);
  }
  try {
    await rename(staging, folder);
  } catch {
    await rm(staging, { recursive: true, force: true }); // it is there already
  }
}

/** What runs may still load parts of its bundle, long after it was replaced: the latest stay, and all of the last week. */
async function removeOld(root: string, id: string, nowMs: number): Promise<void> {
  const found: { path: string; modifiedMs: number }[] = [];
  for (const name of await readdir(root)) {
    if (name === id || name === 'current.json') continue;
    const path = join(root, name);
    const facts = await stat(path).catch(() => null); // somebody else removes it too
    if (facts) found.push({ path, modifiedMs: facts.mtimeMs });
  }
  found.sort((a, b) => b.modifiedMs - a.modifiedMs);
  for (const { path, modifiedMs } of found.slice(keepCount)) {
    if (nowMs - modifiedMs > keepMs) await rm(path, { recursive: true, force: true });
  }
}

/**
 * Sources that name files by their own place go on doing so, and what they start is the program beside them. The bundles lie
 * three folders below the project.
 */
function placesOfSources(project: string): Plugin {
  return {
    name: 'places-of-sources',
    setup(build) {
      build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        const place = relative(project, path);
        if (place.startsWith('..') || place.includes('node_modules')) return undefined;
        if (place === 'core/system/program-file.ts') return { contents: programFileModule(), loader: 'js' };
        const text = await readFile(path, 'utf8');
        if (!text.includes('import.meta.')) return undefined;
        const up = `../../../${place}`;
        const contents = text
          .replaceAll('join(import.meta.dirname', `join(import.meta.dirname, ${JSON.stringify(dirname(up))}`)
          .replaceAll(', import.meta.url)', `, new URL(${JSON.stringify(up)}, import.meta.url))`);
        return { contents, loader: 'ts' };
      });
    },
  };
}

function programFileModule(): string {
  const programs = Object.entries(sources).map(([name, source]) => [`/${source}`, name]);
  return [
    `import { join } from 'node:path';`,
    `const programs = ${JSON.stringify(programs)};`,
    `export function programFile(source) {`,
    `  const found = programs.find(([end]) => source.endsWith(end));`,
    `  return found ? join(import.meta.dirname, found[1]) : source;`,
    `}`,
  ].join('\n');
}
