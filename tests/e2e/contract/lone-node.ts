/** An agent alone, as an operator starts it on a real machine: `bin/holdfast node`. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, holdfast } from '../../support/cluster.ts';

export interface LoneNode {
  directory: string;
  stateRoot: string;
  uri: string;
  token: string;
  dispose(): Promise<void>;
}

/** Starts `bin/holdfast node`; resolves when it says that it is ready. Whoever starts it stops it, with its hosts. */
export async function startNode(words: string[], cwd: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [holdfast, 'node', ...words, '--stop-hosts'], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, npm_lifecycle_event: undefined },
  });
  let output = '';
  await new Promise<void>((resolve, reject) => {
    const collect = (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes('is ready at')) resolve();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('exit', exitCode => reject(new Error(`node ended with ${exitCode}:\n${output}`)));
  });
  return child;
}

export async function stopNode(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGINT');
  await exited;
}

export async function startLoneNode(): Promise<LoneNode> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-node-'));
  const stateRoot = join(directory, '.holdfast');
  const token = 'a-token-for-a-node-that-stands-alone';
  await mkdir(stateRoot, { mode: 0o700 });
  await writeFile(join(stateRoot, 'token'), `${token}\n`, { mode: 0o600 });
  const port = await freePort();
  const data = join(stateRoot, 'nodes/node-1');
  const child = await startNode(
    ['--name', 'node-1', '--listen', `127.0.0.1:${port}`, '--data', data],
    directory,
  );
  return {
    directory,
    stateRoot,
    uri: `http://127.0.0.1:${port}`,
    token,
    async dispose() {
      await stopNode(child);
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
