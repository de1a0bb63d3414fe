import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { createComponent, packFolder } from '#cli';
import { readPackage } from '#package-manager';
import { holdfast, makeFolder, projectRoot, type Folder } from './helpers.ts';

describe('new component', function () {
  this.timeout(60_000);
  let folder: Folder;
  beforeEach(() => {
    folder = makeFolder();
  });
  afterEach(() => folder[Symbol.dispose]());

  for (const language of ['typescript', 'javascript'] as const) {
    for (const does of ['answer', 'own', 'run'] as const) {
      it(`makes a ${language} component to ${does} that packs as it is`, async () => {
        const directory = join(folder.path, 'my-thing');
        await createComponent(directory, { name: 'my-thing', language, does });
        const { zipPath } = await packFolder(directory, { outDirectory: folder.path });
        const { manifest } = await readPackage({ path: zipPath });
        assert.equal(manifest.packageName, 'my-thing');
        assert.equal(manifest.packageVersion, '0.1.0');
        const readme = await readFile(join(directory, 'README.md'), 'utf8');
        assert.match(readme, /^holdfast pack my-thing$/m);
        assert.match(readme, /^holdfast deploy my-thing-0\.1\.0\.zip( |$)/m);
      });
    }
  }

  it('makes code that passes the strict type check', async () => {
    for (const does of ['answer', 'own', 'run'] as const) {
      const directory = join(folder.path, `typed-${does}`);
      await createComponent(directory, { name: 'typed', language: 'typescript', does });
    }
    folder.write({
      'tsconfig.json': JSON.stringify({
        extends: join(projectRoot, 'tsconfig.json'),
        compilerOptions: { types: ['node'], typeRoots: [join(projectRoot, 'node_modules/@types')] },
        include: ['*/main.ts'],
        exclude: [],
      }),
    });
    execFileSync(process.execPath, [join(projectRoot, 'node_modules/typescript/bin/tsc'), '--noEmit'], {
      cwd: folder.path,
      encoding: 'utf8',
    });
  });

  it('refuses names that no package may have', async () => {
    for (const name of ['Upper', '../evil', 'a b', '-x', '']) {
      const outcome = await holdfast(['new', 'component', '--', name], { cwd: folder.path });
      assert.equal(outcome.code, 2, `${name}: ${outcome.stderr}`);
      assert.match(outcome.stderr, /HF_USAGE: .*cannot name a package/);
    }
  });

  it('refuses a folder that is not empty', async () => {
    folder.write({ 'taken/file': '' });
    const outcome = await holdfast(['new', 'component', 'taken'], { cwd: folder.path });
    assert.equal(outcome.code, 2);
    assert.match(outcome.stderr, /HF_USAGE: .*taken exists and is not empty/);
  });
});
