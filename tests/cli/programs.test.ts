/** Bundled programs: made once, never served stale, and done without where they cannot be made. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { execa } from 'execa';
import { makeFolder, projectRoot, type Folder } from './helpers.ts';

type Find = (project: string, node: string | null) => string | null;
const { findPrograms } = createRequire(import.meta.url)('../../bin/programs.js') as { findPrograms: Find };

/** Stands for the builder: notes what it would have bundled, and that it ran. */
const builder = `
import { appendFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
appendFileSync('calls', 'x');
if (readFileSync('source.ts', 'utf8').startsWith('broken')) process.exit(1);
mkdirSync('build/programs/one', { recursive: true });
writeFileSync('build/programs/one/holdfast.js', '');
const { size, mtimeMs, ctimeMs } = statSync('source.ts');
writeFileSync('build/programs/current.json', JSON.stringify({ id: 'one', inputs: [['source.ts', size, mtimeMs, ctimeMs]] }));
`;

describe('bundled programs', function () {
  this.timeout(60_000);
  let project: Folder;
  beforeEach(() => {
    project = makeFolder();
    project.write({ 'source.ts': 'first', 'cli/programs/main.ts': builder });
  });
  afterEach(() => project[Symbol.dispose]());
  const find = () => findPrograms(project.path, process.execPath);
  const calls = () => readFileSync(join(project.path, 'calls'), 'utf8').length;
  const source = () => join(project.path, 'source.ts');
  const folder = () => join(project.path, 'build/programs/one');

  it('are made when they are first needed, and then found', () => {
    assert.equal(find(), folder());
    assert.equal(find(), folder());
    assert.equal(calls(), 1);
  });

  it('are made again after any change of a source, also one that keeps its size and time', () => {
    find();
    const { atime, mtime } = statSync(source());
    writeFileSync(source(), 'other');
    utimesSync(source(), atime, mtime);
    assert.equal(findPrograms(project.path, null), null, 'stale');
    assert.equal(find(), folder());
    assert.equal(calls(), 2);
    rmSync(source());
    copyFileSync(join(projectRoot, 'package.json'), source());
    assert.equal(findPrograms(project.path, null), null, 'stale');
  });

  it('are done without when the sources cannot be bundled or are no project', () => {
    writeFileSync(source(), 'broken');
    assert.equal(find(), null);
    rmSync(join(project.path, 'cli'), { recursive: true });
    assert.equal(find(), null);
    writeFileSync(join(project.path, 'build/programs'), 'no folder');
    assert.equal(find(), null);
  });

  it('do what the sources do', async () => {
    const programs = findPrograms(projectRoot, process.execPath);
    assert.ok(programs, 'they cannot be made; run: node cli/programs/main.ts');
    const help = async (main: string) => (await execa(process.execPath, [main, '--help'])).stdout;
    assert.equal(await help(join(programs, 'holdfast.js')), await help(join(projectRoot, 'cli/main.ts')));
    // Files that are named by their place, and what is started, are found from there too.
    const made = await execa(
      process.execPath,
      [join(programs, 'holdfast.js'), 'new', 'component', 'sample'],
      { cwd: project.path },
    );
    assert.equal(made.exitCode, 0);
    for (const name of ['agent.js', 'coordinator.js']) {
      const { exitCode } = await execa(process.execPath, [join(programs, name), '--wrong'], {
        reject: false,
      });
      assert.notEqual(exitCode, 0, `${name} read its words`);
    }
  });
});
