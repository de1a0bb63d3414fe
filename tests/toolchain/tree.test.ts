/** Rules about the whole tree that no linter knows. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { allowedImports, depthMax } from '../../oxlint.config.ts';

const projectRoot = join(import.meta.dirname, '../..');
const lineCountMax = 400;

/** Files of the project as git sees them: known ones and new ones, without what is ignored. */
function projectFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: projectRoot,
    encoding: 'utf8',
  });
  return listed.split('\0').filter(path => path !== '' && existsSync(join(projectRoot, path)));
}

const files = projectFiles();
const sources = files.filter(path => path.endsWith('.ts') && !path.startsWith('tests/fixtures/'));
const read = (path: string) => readFileSync(join(projectRoot, path), 'utf8');

/** The folder of the import rules that a file belongs to, or null (tests, bench, top level). */
function folderOf(path: string): string | null {
  const [top] = path.split('/');
  if (top === 'components' || top === 'publishers') return `${top}/*`;
  return top !== undefined && top in allowedImports ? top : null;
}

describe('the project tree', () => {
  it('has exact versions of all dependencies', () => {
    const document = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
    for (const list of ['dependencies', 'devDependencies', 'optionalDependencies']) {
      for (const [name, version] of Object.entries(document[list] ?? {})) {
        assert.match(version, /^[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?$/, `${list}: ${name}`);
      }
    }
  });

  it('has every package in its lockfile that npm ci looks for, those of other platforms too', () => {
    // npm leaves out what the registry does not answer for, and then refuses its own lockfile.
    const { packages } = JSON.parse(read('package-lock.json')) as {
      packages: Record<string, { optionalDependencies?: Record<string, string> }>;
    };
    for (const [name, { optionalDependencies = {} }] of Object.entries(packages)) {
      for (const dependency of Object.keys(optionalDependencies)) {
        assert(`node_modules/${dependency}` in packages, `${name} needs ${dependency}`);
      }
    }
  });

  it('maps every folder of the import rules in package.json, and no other', () => {
    const { imports } = JSON.parse(read('package.json')) as { imports: Record<string, string> };
    const expected = Object.keys(allowedImports).filter(folder => !folder.includes('*'));
    assert.deepEqual(Object.keys(imports).sort(), expected.map(folder => `#${folder}`).sort());
    for (const [name, target] of Object.entries(imports)) assert.equal(target, `./${name.slice(1)}/index.ts`);
  });

  it('documents the import rules as they are', () => {
    const rows = [...read('docs/architecture.md').matchAll(/^\| ([a-z][^|]*?) +\| ([^|]*?) +\|$/gm)];
    const documented = new Map<string, string[]>();
    for (const [, names, allowed] of rows) {
      for (const name of names!.split(', ')) {
        const folder = name.replace('\\*', '*').replace('/_', '/*');
        const list = allowed!.split(', ').filter(other => other !== 'core' && other in allowedImports);
        documented.set(folder, list.sort());
      }
    }
    for (const [folder, allowed] of Object.entries(allowedImports)) {
      if (folder === 'core') continue;
      assert.deepEqual(documented.get(folder), [...allowed].sort(), `docs/architecture.md, row of ${folder}`);
    }
  });

  it('keeps the import rules in dynamic imports too', () => {
    for (const path of sources) {
      const folder = folderOf(path);
      if (!folder) continue;
      for (const [, name] of read(path).matchAll(/\bimport\(\s*'#([a-z-]+)'/g)) {
        const allowed = name === 'core' || name === folder || allowedImports[folder]!.includes(name!);
        assert(allowed, `${path} imports #${name}`);
      }
    }
  });

  it('is not deeper than the lint rules reach', () => {
    for (const path of sources) {
      const folder = folderOf(path);
      if (!folder) continue;
      const depth = path.split('/').length - folder.split('/').length - 1;
      assert(depth < depthMax, `${path}: raise depthMax in oxlint.config.ts`);
    }
  });

  it('never names the node manager or the router in the host and the agent', () => {
    for (const path of sources) {
      if (!/^(?:component-host|node-api)\//.test(path)) continue;
      assert.doesNotMatch(read(path), /['"`](?:node-manager|router)(?:['"`/@])/, path);
    }
  });

  it('suppresses no check', () => {
    const suppression = /(?:\/\/|\/\*) *(?:ox|es)lint-disable|@ts-(?:ignore|expect-error|nocheck)/;
    for (const path of sources) {
      if (path.startsWith('tests/toolchain/')) continue;
      assert.doesNotMatch(read(path), suppression, path);
    }
  });

  it(`has no source file over ${lineCountMax} lines`, () => {
    for (const path of sources) {
      if (path.startsWith('tests/') || path.startsWith('bench/')) continue;
      const lines = read(path).split('\n').length - 1;
      assert(lines <= lineCountMax, `${path} has ${lines} lines`);
    }
  });
});
