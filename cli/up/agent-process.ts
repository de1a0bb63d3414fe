/**
 * One agent (`node-api/main.ts`) as a child process in a process group of its own, so that Ctrl-C in a terminal reaches
 * only us, who then stop it in order. It holds a pipe from us (the lifeline) and ends with its hosts when that closes.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fromErrorBody, HoldfastError, programFile } from '#core';

export interface AgentOptions {
  name: string;
  /** host:port */
  listen: string;
  dataDirectory: string;
  stateRoot: string;
  tokenFile: string;
  /** Where it finds the address of the coordination store. */
  coordinationFile?: string;
  clusterName?: string;
  warmSpares?: { perNode: number; memoryMb: number };
  orphanGraceMs?: number;
}

export interface AgentProcess {
  readonly name: string;
  /** Resolves when its API listens. Rejects with what it says is wrong, or when it ends before. */
  readonly ready: Promise<{ uri: string }>;
  /** Never rejects. */
  readonly exited: Promise<{ code: number | null; signal: string | null }>;
  /** Asks it to stop, with its hosts. */
  stop(): void;
  /** Ends it at once; its hosts see that it is gone. */
  kill(): void;
}

const mainPath = programFile(join(import.meta.dirname, '../../node-api/main.ts'));

export function startAgent(options: AgentOptions): AgentProcess {
  mkdirSync(options.dataDirectory, { recursive: true, mode: 0o700 });
  // It logs to agent.log itself; here lands what Node writes when it crashes.
  const stderrPath = join(options.dataDirectory, 'agent.stderr');
  const stderr = openSync(stderrPath, 'a', 0o600);
  // Not execa: its clean-up would end the agent before it could stop its hosts.
  const child = spawn(process.execPath, [mainPath, ...wordsOf(options)], {
    stdio: ['ignore', 'pipe', stderr, 'pipe'],
    detached: true,
  });
  closeSync(stderr); // the child has its own
  child.stdio[3]!.on('error', () => {}); // it closed its end: its exit tells more

  const exited = new Promise<{ code: number | null; signal: string | null }>(done => {
    child.once('exit', (code, signal) => done({ code, signal }));
    child.once('error', () => done({ code: null, signal: null })); // it could not be started
  });
  const { promise: ready, resolve, reject } = Promise.withResolvers<{ uri: string }>();
  ready.catch(() => {}); // whoever waits for it hears of it; others look at `exited`
  const lines = createInterface({ input: child.stdout! });
  lines.on('line', line => {
    const message = parseLine(line);
    if (message?.ready) resolve({ uri: message.uri ?? '' });
    else if (message?.error) reject(namedError(options.name, message.error));
  });
  void exited.then(({ code, signal }) => {
    reject(
      new HoldfastError(
        'HF_START_FAILED',
        `the agent of ${options.name} ended with ${signal ?? `exit code ${code}`} before it was ready; see ${stderrPath} and agent.log beside it`,
      ),
    );
  });
  return {
    name: options.name,
    ready,
    exited,
    stop: () => child.kill('SIGTERM'),
    kill: () => child.kill('SIGKILL'),
  };
}

function wordsOf(options: AgentOptions): string[] {
  const words = [
    ['--name', options.name],
    ['--listen', options.listen],
    ['--data', options.dataDirectory],
    ['--state-root', options.stateRoot],
    ['--token-file', options.tokenFile],
    ['--lifeline-fd', '3'],
  ].flat();
  if (options.coordinationFile !== undefined) words.push('--coordination-file', options.coordinationFile);
  if (options.clusterName !== undefined) words.push('--cluster-name', options.clusterName);
  if (options.warmSpares) {
    const { perNode, memoryMb } = options.warmSpares;
    words.push('--warm-spares', String(perNode), '--spare-memory-mb', String(memoryMb));
  }
  if (options.orphanGraceMs !== undefined) words.push('--orphan-grace-ms', String(options.orphanGraceMs));
  return words;
}

interface Line {
  ready?: boolean;
  uri?: string;
  error?: { code: string; message: string };
}

/** The agent says one line of JSON; anything else on its standard output is not for us. */
function parseLine(line: string): Line | null {
  try {
    return JSON.parse(line) as Line;
  } catch {
    return null;
  }
}

function namedError(name: string, error: { code: string; message: string }): HoldfastError {
  const known = fromErrorBody(error, 'the agent did not start');
  return new HoldfastError(known.code, `${name}: ${known.message}`, { details: { ...known.details } });
}
