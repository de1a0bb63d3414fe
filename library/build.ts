/**
 * Makes `dist/` for programs that install this package from npm and want `holdfast/leases` or `holdfast/fences`: Node does not strip types
 * below node_modules. One JavaScript file for each (and what they share), with the package's dependencies left outside;
 * and the declarations that these two need, no others.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { createDeclarations } from './declarations.ts';

const root = join(import.meta.dirname, '..');
const entries = ['leases', 'fences'];

const staging = await mkdtemp(join(root, '.dist-'));
try {
  await Promise.all([bundle(join(staging, 'dist')), declare(join(staging, 'dist/types'))]);
  // The old folder goes first: a folder that is not empty cannot be replaced by a rename.
  await rename(join(root, 'dist'), join(staging, 'old')).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await rename(join(staging, 'dist'), join(root, 'dist'));
} finally {
  await rm(staging, { recursive: true, force: true });
}

async function bundle(directory: string): Promise<void> {
  const { dependencies, imports } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
    imports: Record<string, string>;
  };
  await build({
    entryPoints: entries.map(name => join(root, 'library', `${name}.ts`)),
    outdir: directory,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node22',
    external: Object.keys(dependencies),
    alias: Object.fromEntries(Object.entries(imports).map(([name, target]) => [name, join(root, target)])),
    logLevel: 'error',
  });
}

async function declare(directory: string): Promise<void> {
  const emitted = join(staging, 'emitted');
  const configuration = join(staging, 'tsconfig.json');
  await writeFile(
    configuration,
    JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        noEmit: false,
        declaration: true,
        emitDeclarationOnly: true,
        noCheck: true,
        rootDir: root,
        outDir: emitted,
        typeRoots: [join(root, 'node_modules/@types')],
      },
      include: entries.map(name => join(root, 'library', `${name}.ts`)),
    }),
  );
  await promisify(execFile)(join(root, 'node_modules/.bin/tsc'), ['-p', configuration]);
  const declarations = createDeclarations(emitted);
  for (const [path, text] of declarations(entries.map(name => join(emitted, 'library', `${name}.d.ts`)))) {
    const target = join(directory, relative(emitted, path));
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, text);
  }
}
