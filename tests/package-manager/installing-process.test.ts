/** What an installation costs the process that does it, from source and bundled into one file. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { build } from 'esbuild';
import { execa } from 'execa';
import { packageZip, sampleZip } from '../fixtures/package-manager/packages.ts';

const fixture = join(import.meta.dirname, '../fixtures/package-manager/installs-package.ts');
const mebibyte = 2 ** 20;

interface Outcome {
  installed?: string;
  refused?: string;
  risenKilobytes: number;
  turns: number;
}

describe('a process that installs a package', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function install(zip: Buffer, script = fixture): Promise<Outcome> {
    const archive = join(folder, 'package.zip');
    await writeFile(archive, zip);
    const { stdout } = await execa(process.execPath, [script, join(folder, 'store'), archive]);
    return JSON.parse(stdout) as Outcome;
  }

  it('unpacks 192 MiB with little memory and a running event loop', async () => {
    const content = Buffer.alloc(64 * mebibyte, 'a');
    const { installed, risenKilobytes, turns } = await install(
      packageZip(['a', 'b', 'c'].map(name => ({ name: `content/${name}.bin`, content }))),
    );
    assert.equal(installed, '1.0.0');
    assert(risenKilobytes < 64 * 1024, `memory rose by ${risenKilobytes} kB`);
    // Content passes in chunks of 64 KiB, with a turn of the event loop for most of them.
    assert(turns > 1000, `the event loop turned ${turns} times`);
  }).timeout(60_000);

  it('refuses a bomb that hides its size, with little memory', async () => {
    const data = deflateRawSync(Buffer.alloc(200 * mebibyte));
    const { refused, risenKilobytes } = await install(
      packageZip([{ name: 'content/a', content: 'tiny', data }]),
    );
    assert.equal(refused, 'HF_PACKAGE_TOO_LARGE');
    assert(risenKilobytes < 48 * 1024, `memory rose by ${risenKilobytes} kB`);
  }).timeout(60_000);

  it('works bundled into one file as well as from source', async () => {
    const outfile = join(folder, 'bundle.mjs');
    await build({
      entryPoints: [fixture],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node24',
      mainFields: ['module', 'main'], // UMD builds require by paths that a bundler cannot see
      logLevel: 'silent',
      banner: {
        js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
      },
    });
    assert.equal((await install(sampleZip('1.2.3'), outfile)).installed, '1.2.3');
    assert.equal((await install(packageZip([{ name: '../evil' }]), outfile)).refused, 'HF_PACKAGE_INVALID');
  }).timeout(60_000);
});
