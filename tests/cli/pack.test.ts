import assert from 'node:assert/strict';
import { mkdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import AdmZip from 'adm-zip';
import { execa } from 'execa';
import { packFolder } from '#cli';
import { HoldfastError } from '#core';
import { readPackage } from '#package-manager';
import { entryCandidates } from '../../cli/pack/package-folder.ts';
import { makeFolder, manifestOf, type Folder } from './helpers.ts';

const component = `export default function create() { return { async start() {}, async stop() {} }; }\n`;

/** A dependency as npm would have installed it. */
function install(folder: Folder, name: string, files: Record<string, string>, json: object = {}): void {
  folder.write({
    [`node_modules/${name}/package.json`]: JSON.stringify({
      name,
      version: '1.0.0',
      main: 'index.js',
      ...json,
    }),
    ...Object.fromEntries(
      Object.entries(files).map(([file, content]) => [`node_modules/${name}/${file}`, content]),
    ),
  });
}

/** Runs the bundle of a ZIP and gives what it exports. */
async function load(zipPath: string, folder: Folder): Promise<{ default: () => unknown }> {
  new AdmZip(zipPath).extractAllTo(join(folder.path, 'unpacked'), true);
  const url = pathToFileURL(join(folder.path, 'unpacked/content/index.js'));
  return (await import(url.href)) as { default: () => unknown };
}

function refusal(pattern: RegExp): (error: unknown) => boolean {
  return error => {
    assert(error instanceof HoldfastError, String(error));
    assert.equal(error.code, 'HF_PACKAGE_INVALID');
    assert.match(error.message, pattern);
    return true;
  };
}

describe('packing a folder', function () {
  this.timeout(60_000);
  let folder: Folder;
  let out: Folder;
  beforeEach(() => {
    folder = makeFolder();
    out = makeFolder();
    folder.write({ 'manifest.json': manifestOf() });
  });
  afterEach(() => {
    folder[Symbol.dispose]();
    out[Symbol.dispose]();
  });
  const pack = () => packFolder(folder.path, { outDirectory: out.path });

  it('makes a ZIP that nodes accept, named after package and version', async () => {
    folder.write({ 'main.ts': `import type { Foo } from './types.d.ts';\n${component}` });
    const packed = await pack();
    assert.equal(packed.zipPath, join(out.path, 'sample-1.0.0.zip'));
    const read = await readPackage(await readFile(packed.zipPath));
    assert.equal(read.sha256, packed.sha256);
    assert.equal(read.sizeBytes, packed.sizeBytes);
    assert.equal(read.manifest.packageName, 'sample');
  });

  it('gives the same bytes for the same input, wherever and whenever it is packed', async () => {
    const files = {
      'main.ts': `import { name } from './part.ts';\nexport { name };\n${component}`,
      'part.ts': `export const name: string = 'part';\n`,
      'content/b/logo.svg': '<svg/>',
      'content/a.txt': 'a',
      'README.md': '# Sample\n',
    };
    folder.write(files);
    using elsewhere = makeFolder();
    elsewhere.write({ 'manifest.json': manifestOf(), ...files });
    await utimes(join(elsewhere.path, 'content/a.txt'), new Date(1e12), new Date(1e12));
    using secondOut = makeFolder();
    const first = await pack();
    const second = await packFolder(elsewhere.path, { outDirectory: secondOut.path });
    assert.equal(second.sha256, first.sha256);
    assert.deepEqual(await readFile(second.zipPath), await readFile(first.zipPath));
    assert.deepEqual(
      new AdmZip(first.zipPath).getEntries().map(entry => entry.entryName),
      [
        'README.md',
        'content/a.txt',
        'content/b/logo.svg',
        'content/index.js',
        'content/package.json',
        'manifest.json',
      ],
    );
  });

  it('packs again only what has changed', async () => {
    folder.write({ 'main.js': `import './part.js';\n${component}`, 'part.js': '', 'content/a.txt': 'a' });
    const first = await pack();
    assert.equal(first.changed, true);
    assert.deepEqual(await pack(), { ...first, changed: false });
    for (const change of [
      { 'part.js': 'console.log(1);' },
      { 'content/a.txt': 'other' },
      { 'content/new.txt': 'new' },
      { 'manifest.json': manifestOf({ description: 'other' }) },
      { 'main.ts': component },
    ]) {
      folder.write(change);
      assert.equal((await pack()).changed, true, JSON.stringify(change));
      assert.equal((await pack()).changed, false);
    }
    await writeFile(first.zipPath, 'broken by somebody');
    assert.equal((await pack()).changed, true);
  });

  it('loads nothing more for the use of node:http than a require would', async () => {
    install(folder, 'asks', {
      'index.js': `const http = require('http'); exports.methods = http.METHODS;`,
    });
    folder.write({
      'main.ts': [
        `import http, { createServer } from 'node:http';`,
        `import * as all from 'http';`,
        `import { methods } from 'asks';`,
        `export const same = [http.createServer, all.createServer].every(item => item === createServer);`,
        `export { methods };`,
        component,
      ].join('\n'),
    });
    const packed = await pack();
    const loaded = (await load(packed.zipPath, folder)) as unknown as { same: boolean; methods: string[] };
    assert.equal(loaded.same, true);
    assert.ok(loaded.methods.includes('GET'));
    const main = join(folder.path, 'unpacked/content/index.js');
    const script = `await import(${JSON.stringify(main)}); console.log(process.moduleLoadList.some(name => name.includes('undici')))`;
    const { stdout } = await execa(process.execPath, ['--input-type=module', '--eval', script]);
    assert.equal(stdout, 'false');
  });

  it('gives CommonJS its names also where it becomes a part of its own', async () => {
    install(folder, 'named', {
      'index.js': `class Named {} module.exports = Named; module.exports.Named = Named; module.exports.word = 'said';`,
    });
    folder.write({
      'manifest.json': manifestOf({ kind: 'host' }),
      'main.ts': [
        `export async function find() { const { default: found, Named, word } = await import('named'); return [found === Named, word]; }`,
        component,
      ].join('\n'),
    });
    const loaded = (await load((await pack()).zipPath, folder)) as unknown as {
      find(): Promise<unknown[]>;
    };
    assert.deepEqual(await loaded.find(), [true, 'said']);
  });

  it('bundles a CommonJS dependency with its own requires', async () => {
    folder.write({
      'main.js': `import { greet } from 'old';\nexport default () => greet('you');\n`,
      'package.json': JSON.stringify({ dependencies: { old: '1' } }),
    });
    install(folder, 'old', {
      'index.js': `
        const { join } = require('path');
        const { EOL } = require('node:os');
        const other = require('./other.js');
        exports.greet = name => [other, name, join('a', 'b'), EOL, typeof __dirname, require('path').sep].join(' ');`,
      'other.js': `module.exports = 'hello';`,
    });
    const { zipPath } = await pack();
    const loaded = await load(zipPath, folder);
    assert.equal(loaded.default(), 'hello you a/b \n string /');
  });

  it('leaves a module alone that makes its own require and __dirname', async () => {
    folder.write({
      'main.js': `
        import { createRequire } from 'node:module';
        import old from 'old';
        const require = createRequire(import.meta.url);
        const __dirname = import.meta.dirname;
        export default () => [require('node:path').sep, __dirname.length > 0, old];`,
    });
    install(folder, 'old', { 'index.js': `module.exports = require('os').EOL + typeof __filename;` });
    const { zipPath } = await pack();
    assert.deepEqual((await load(zipPath, folder)).default(), ['/', true, '\nstring']);
  });

  it('takes along what a dependency reads beside its code', async () => {
    folder.write({ 'main.js': `import page from 'page';\nexport default () => page();\n` });
    install(folder, 'page', {
      'lib/index.js': `
        const { readFileSync } = require('fs');
        module.exports = () => readFileSync(require('path').join(__dirname, '../public/page.html'), 'utf8');`,
      'public/page.html': '<p>hello</p>',
      'test/big.html': 'not needed',
      'index.js': `module.exports = require('./lib/index.js');`,
    });
    const { zipPath } = await pack();
    const names = new AdmZip(zipPath).getEntries().map(entry => entry.entryName);
    assert(names.includes('content/node_modules/page/public/page.html'), names.join());
    assert(!names.some(name => name.includes('big.html')));
    assert.equal((await load(zipPath, folder)).default(), '<p>hello</p>');
    folder.write({ 'node_modules/page/public/page.html': 'changed' });
    assert.equal((await pack()).changed, true);
  });

  it('takes the ES module of a UMD dependency, whose requires cannot be bundled', async () => {
    folder.write({ 'main.js': `import { part } from 'umd';\nexport default () => part;\n` });
    install(
      folder,
      'umd',
      {
        'index.js': `(function (factory) {
          if (typeof module === 'object') factory(require, exports);
          else if (typeof define === 'function' && define.amd) define(['require', 'exports'], factory);
        })(function (require, exports) { exports.part = require('./part').part; });`,
        'part.js': `exports.part = 'umd part';`,
        'esm/index.js': `export { part } from './part.js';`,
        'esm/part.js': `export const part = 'esm part';`,
      },
      { module: 'esm/index.js' },
    );
    const { zipPath } = await pack();
    assert.equal((await load(zipPath, folder)).default(), 'esm part');
  });

  it('names a dependency that is a native module', async () => {
    folder.write({ 'main.js': `import fast from 'fast-thing';\nexport default () => fast;\n` });
    install(folder, 'fast-thing', { 'index.js': `module.exports = require('./build/fast.node');` });
    await assert.rejects(pack(), refusal(/fast-thing is a native module/));
    install(folder, 'fast-thing', { 'index.js': '', 'binding.gyp': '{}' });
    await assert.rejects(pack(), refusal(/fast-thing is a native module/));
  });

  it('leaves out a native module that its user declares as optional', async () => {
    folder.write({ 'main.js': `import user from 'user';\nexport default () => user;\n` });
    install(
      folder,
      'user',
      { 'index.js': `try { module.exports = require('fast-thing'); } catch { module.exports = 'slow'; }` },
      { peerDependenciesMeta: { 'fast-thing': { optional: true } } },
    );
    install(folder, 'fast-thing', { 'index.js': `module.exports = 'fast';`, 'binding.gyp': '{}' });
    const { zipPath } = await pack();
    new AdmZip(zipPath).extractAllTo(join(out.path, 'far'), true);
    const url = pathToFileURL(join(out.path, 'far/content/index.js'));
    assert.equal(((await import(url.href)) as { default: () => unknown }).default(), 'slow');
  });

  it('says which dependencies are not installed, and how to install them', async () => {
    folder.write({
      'main.js': component,
      'package.json': JSON.stringify({ dependencies: { hono: '4', '@scope/thing': '1' } }),
    });
    await assert.rejects(pack(), refusal(/hono, @scope\/thing; run: npm install --prefix/));
  });

  it('says where the source is wrong', async () => {
    folder.write({ 'main.ts': `import x from 'not-there';\nexport default x;\n` });
    await assert.rejects(pack(), refusal(/main\.ts:1:\d+: Could not resolve "not-there".*npm install/));
    folder.write({ 'main.ts': `export default {\n` });
    await assert.rejects(pack(), refusal(/main\.ts:2/));
  });

  it('says what is missing or in the way', async () => {
    await assert.rejects(pack(), refusal(/no entry module; expected one of main\.ts/));
    folder.write({ 'main.js': component, 'content/index.js': 'mine' });
    await assert.rejects(pack(), refusal(/has the name of the bundle/));
    using empty = makeFolder();
    await assert.rejects(packFolder(empty.path), refusal(/there is no .*manifest\.json/));
    folder.write({ 'manifest.json': manifestOf({ packageVersion: 'one' }) });
    await assert.rejects(pack(), refusal(/packageVersion/));
  });

  it('refuses links among the files that go along', async () => {
    folder.write({ 'main.js': component });
    await mkdir(join(folder.path, 'content'));
    await symlink('/etc/passwd', join(folder.path, 'content/passwd'));
    await assert.rejects(pack(), refusal(/neither a file nor a folder/));
  });

  it('looks for the entry first where the manifest names it', () => {
    assert.equal(entryCandidates('index.js')[0], 'main.ts');
    assert.deepEqual(entryCandidates('server.js').slice(0, 3), ['server.ts', 'src/server.ts', 'server.js']);
  });
});
