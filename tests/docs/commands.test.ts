/**
 * Runs the documentation: a copy of the project, its README and guides from top to bottom, every line of every `sh` block
 * in order, in one working folder with one cluster. A `json` block after an `sh` block is what the last command must
 * have printed; "…" stands for any text.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot, until } from '../support/cluster.ts';
import { skipLoudly } from '../support/skip-loudly.ts';
import { stepByStep } from '../support/step-by-step.ts';

const guides = ['README.md', 'docs/component-author.md', 'docs/operator.md'];
/** The default ports, which the documentation names. */
const ports = [5101, 5102, 5103, 7777, 8000];

interface Block {
  commands: string[];
  expected: unknown;
}

/** `sh` blocks with their commands (continued lines joined) and the `json` block that follows, if one does. */
function blocksOf(markdown: string): Block[] {
  const fences = [...markdown.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)];
  return fences.flatMap((fence, index) => {
    if (fence[1] !== 'sh') return [];
    const next = fences[index + 1];
    const follows =
      next?.[1] === 'json' && markdown.slice(fence.index + fence[0].length, next.index).trim() === '';
    return [
      {
        commands: fence[2]!
          .replaceAll('\\\n', ' ')
          .split('\n')
          .filter(line => line.trim() !== ''),
        expected: follows ? JSON.parse(next[2]!) : undefined,
      },
    ];
  });
}

function matches(actual: unknown, expected: unknown): void {
  if (expected === '…') return assert.equal(typeof actual, 'string');
  if (Array.isArray(expected)) {
    assert(Array.isArray(actual));
    assert.equal(actual.length, expected.length);
    return expected.forEach((item, index) => matches(actual[index], item));
  }
  if (typeof expected === 'object' && expected !== null) {
    return Object.entries(expected).forEach(([name, value]) =>
      matches((actual as Record<string, unknown>)?.[name], value),
    );
  }
  assert.equal(actual, expected);
}

function listens(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });
}

describe('documentation', function () {
  this.timeout(180_000);
  stepByStep();
  let directory: string;
  let starter: ChildProcess | undefined;
  let output = '';

  before(async function () {
    const taken = [];
    for (const port of ports) if (await listens(port)) taken.push(port);
    if (taken.length > 0) skipLoudly(this, `the documented ports ${taken.join(', ')} are in use`);
    directory = mkdtempSync(join(tmpdir(), 'holdfast-docs-'));
    const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
      cwd: projectRoot,
      encoding: 'utf8',
    });
    for (const file of files.split('\0').filter(name => name !== '' && existsSync(join(projectRoot, name)))) {
      cpSync(join(projectRoot, file), join(directory, file), { recursive: true });
    }
    symlinkSync(join(projectRoot, 'node_modules'), join(directory, 'node_modules'));
  });
  after(async () => {
    if (starter && starter.exitCode === null && starter.signalCode === null) {
      const exited = once(starter, 'exit');
      process.kill(-starter.pid!, 'SIGINT'); // as Ctrl-C in a terminal does: the whole group
      await exited;
    }
    if (directory) rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  });

  async function run(command: string): Promise<string> {
    if (command === 'npm start') {
      starter = spawn('bash', ['-c', command], {
        cwd: directory,
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      });
      starter.stdout!.on('data', chunk => (output += chunk));
      starter.stderr!.on('data', chunk => (output += chunk));
      await until(
        'npm start prints a first curl',
        () => Promise.resolve(output.includes('curl')),
        60_000,
      ).catch(error => {
        throw new Error(`npm start printed:\n${output}`, { cause: error });
      });
      return output;
    }
    const child = spawn('bash', ['-c', `set -o pipefail; ${command}`], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let printed = '';
    let problems = '';
    child.stdout.on('data', chunk => (printed += chunk));
    child.stderr.on('data', chunk => (problems += chunk));
    const [code] = (await once(child, 'close')) as [number];
    assert.equal(code, 0, `${command}\n${printed}${problems}`);
    assert.doesNotMatch(printed, /"statusCode":[45]/, `${command}\n${printed}`);
    return printed;
  }

  for (const guide of guides) {
    const blocks = blocksOf(readFileSync(join(projectRoot, guide), 'utf8'));
    it(`${guide}: its ${blocks.flatMap(block => block.commands).length} commands work as written`, async () => {
      assert(blocks.length > 0);
      const workers: string[] = [];
      for (const { commands, expected } of blocks) {
        let printed = '';
        for (const command of commands) printed = await run(command);
        if (expected === undefined) continue;
        const answer = JSON.parse(printed) as { worker?: string };
        matches(answer, expected);
        if (answer.worker) workers.push(answer.worker);
      }
      // The README kills the owner and shows that another one has its rows.
      assert.equal(
        new Set(workers).size,
        workers.length,
        `the same worker answered again: ${workers.join(', ')}`,
      );
      if (guide === 'README.md') assert.equal(workers.length, 2);
    });
  }
});
