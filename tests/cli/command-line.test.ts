import assert from 'node:assert/strict';
import { join } from 'node:path';
import { HoldfastError } from '#core';
import { allows, scopeOf } from '#http-api';
import { describeFailure } from '../../cli/failure.ts';
import { parseLifetime } from '../../cli/commands/token.ts';
import { holdfast, makeFolder, manifestOf, type Folder } from './helpers.ts';

const secret = 'a'.repeat(43);

describe('the command line', function () {
  this.timeout(60_000);
  let folder: Folder;
  beforeEach(() => {
    folder = makeFolder();
  });
  afterEach(() => folder[Symbol.dispose]());
  const run = (...words: string[]) => holdfast(words, { cwd: folder.path });

  it('answers wrong usage with exit code 2', async () => {
    for (const words of [
      ['nonsense'],
      ['pack'],
      ['pack', '.', '--nonsense'],
      ['logs', 'x', '--tail', 'many'],
      ['token', 'create', '--scope', 'everything'],
      ['token', 'create', '--expires', 'soon', '--token-file', join(folder.path, 'token')],
      ['deploy', 'x.zip', '--route', '/x'],
      ['up', '--settings', 'nowhere.json'],
      ['status'],
    ]) {
      const outcome = await run(...words);
      assert.equal(outcome.code, 2, `${words.join(' ')}: ${outcome.stderr}`);
      assert.notEqual(outcome.stderr, '');
      assert.doesNotMatch(outcome.stderr, /^ +at /m, 'no stack');
    }
  });

  it('shows help with an example for every command', async () => {
    const top = await run('--help');
    assert.equal(top.code, 0);
    const commands = [...top.stdout.matchAll(/^ {2}([a-z]+) /gm)]
      .map(match => match[1]!)
      .filter(name => name !== 'help');
    assert.deepEqual(commands.sort(), [
      'backup',
      'bootstrap',
      'deploy',
      'deployments',
      'explain',
      'jobs',
      'key',
      'logs',
      'new',
      'node',
      'nodes',
      'pack',
      'plan',
      'reconciliation',
      'restart',
      'restore',
      'rollback',
      'settings',
      'status',
      'sync',
      'token',
      'up',
    ]);
    const keyCommands = ['show', 'move', 'release', 'pause', 'resume'].map(name => ['key', name]);
    const deploymentCommands = ['list', 'show', 'promote', 'pause', 'resume', 'abort'].map(name => [
      'deployments',
      name,
    ]);
    const settingsCommands = ['get', 'put', 'history', 'show', 'diff', 'undo'].map(name => [
      'settings',
      name,
    ]);
    const words = [
      ...settingsCommands,
      ...commands.map(name => [name]),
      ...keyCommands,
      ...deploymentCommands,
      ['token', 'create'],
      ['new', 'component'],
    ];
    for (const command of words) {
      const { code, stdout } = await run(...command, '--help');
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`Examples?:\\n  .*holdfast ${command.join(' ')}`), command.join(' '));
    }
  });

  it('tells a failure as code and message, and the stack only if asked', async () => {
    const brief = await run('pack', '.');
    assert.equal(brief.code, 1);
    assert.match(brief.stderr, /^HF_PACKAGE_INVALID: there is no .*manifest\.json/);
    assert.doesNotMatch(brief.stderr, /^ +at /m);
    const verbose = await run('pack', '.', '--verbose');
    assert.equal(verbose.code, 1);
    assert.match(verbose.stderr, /^ +at /m);
  });

  it('says of files that cannot be used what is wrong with them, and what to do', async () => {
    folder.write({ short: 'short', file: '', 'thing/manifest.json': manifestOf(), 'thing/main.js': '' });
    const missing = await run('status', '--token-file', 'nowhere');
    assert.match(missing.stderr, /^HF_USAGE: .*nowhere: ENOENT.*; name another with --token-file/);
    const none = await run('status', '--token-file', 'short');
    assert.match(none.stderr, /^HF_STATE_UNUSABLE: .*short does not hold a token; expected one line/);
    const blocked = await run('pack', 'thing', '--out', 'file/below');
    assert.equal(blocked.code, 1);
    assert.match(blocked.stderr, /^HF_STATE_UNUSABLE: cannot use .*file\/below: ENOTDIR.*; make it usable/);
  });

  it('tells problems once', () => {
    const problems = [{ path: '$.tail', value: 0, expected: 'at least 1' }];
    const bare = new HoldfastError('HF_REQUEST_INVALID', '$.tail is 0, expected at least 1', {
      details: { problems },
    });
    assert.equal(describeFailure(bare), 'HF_REQUEST_INVALID:\n  $.tail is 0, expected at least 1\n');
  });

  it('packs into the current folder and answers with JSON', async () => {
    folder.write({ 'thing/manifest.json': manifestOf(), 'thing/main.js': 'export default () => ({});' });
    const outcome = await run('pack', 'thing', '--json');
    assert.equal(outcome.code, 0, outcome.stderr);
    const answer = JSON.parse(outcome.stdout) as { zipPath: string; changed: boolean };
    assert.equal(answer.zipPath, join(folder.path, 'sample-1.0.0.zip'));
    assert.equal(answer.changed, true);
  });

  it('names the cluster that does not answer', async () => {
    folder.write({ '.holdfast/token': `${secret}\n` });
    const outcome = await run('status', '--uri', 'http://127.0.0.1:1');
    assert.equal(outcome.code, 1);
    assert.match(outcome.stderr, /^HF_NODE_UNREACHABLE: http:\/\/127\.0\.0\.1:1 /);
    assert.match(outcome.stderr, /npm start/);
    assert(!outcome.stderr.includes(secret));
  });

  describe('token', () => {
    it('prints the cluster secret of the nearest .holdfast', async () => {
      folder.write({ '.holdfast/token': `${secret}\n`, 'deep/below/file': '' });
      const outcome = await holdfast(['token'], { cwd: join(folder.path, 'deep/below') });
      assert.equal(outcome.stdout, `${secret}\n`);
    });

    it('makes tokens that have their scope and their end', async () => {
      folder.write({ '.holdfast/token': secret });
      const outcome = await run('token', 'create', '--scope', 'deploy', '--expires', '12h', '--json');
      assert.equal(outcome.code, 0, outcome.stderr);
      const { token, expiresAt } = JSON.parse(outcome.stdout) as { token: string; expiresAt: string };
      const endMs = Date.parse(expiresAt);
      const scope = scopeOf(token, secret, endMs - 1);
      assert.equal(scope, 'deploy');
      assert(!allows(scope, 'admin'));
      assert.equal(scopeOf(token, secret, endMs), null);
      const inHours = (endMs - Date.now()) / 3_600_000;
      assert(inHours > 11 && inHours <= 12, `${inHours}`);
    });

    it('refuses to make tokens from a derived token, and an empty file', async () => {
      folder.write({ derived: 'hf1.read.0.abcdefghijklmnop', empty: '' });
      const derived = await run('token', 'create', '--token-file', 'derived');
      assert.match(derived.stderr, /HF_USAGE: .*derived token/);
      const empty = await run('token', 'create', '--token-file', 'empty');
      assert.match(empty.stderr, /HF_STATE_UNUSABLE: .*empty/);
    });

    it('reads times', () => {
      assert.equal(parseLifetime('90s'), 90);
      assert.equal(parseLifetime('2d'), 172_800);
      assert.equal(parseLifetime('never'), null);
      for (const text of ['', '0d', '5', '-1h', '1y'])
        assert.throws(() => parseLifetime(text), { code: 'HF_USAGE' });
    });
  });
});
