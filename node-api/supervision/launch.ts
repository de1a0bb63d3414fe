/**
 * Spawns a host: in a process group of its own, with its logs in files and not in our pipes, so that it outlives this
 * agent and can be adopted by the next. Nothing secret stands in argv or environment; the launch line goes to its
 * standard input, which is closed then.
 */
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { HoldfastError, processFacts, type HostLaunch, type ProcessIdentity } from '#core';
import { processMark } from './process-tree.ts';

export interface Launched {
  identity: ProcessIdentity;
  /** Calls back when the operating system reports the end, or at once if it came before. */
  onExit(listener: (code: number | null, signal: string | null) => void): void;
}

export interface LaunchRequest {
  launch: HostLaunch;
  /** The host package's main module. */
  mainPath: string;
  memoryMb: number | null;
  /** Where Node keeps compiled code, shared by all hosts of the node. */
  compileCache: string;
}

/** @throws HoldfastError HF_CAPACITY when files or the process cannot be made */
export async function launchHost({
  launch,
  mainPath,
  memoryMb,
  compileCache,
}: LaunchRequest): Promise<Launched> {
  const opened: Awaited<ReturnType<typeof open>>[] = [];
  try {
    await mkdir(launch.hostDirectory, { recursive: true, mode: 0o700 });
    // Appending matters: a log that is cut while the host writes goes on at its new end.
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND;
    for (const name of ['stdout.log', 'stderr.log'])
      opened.push(await open(join(launch.hostDirectory, name), flags, 0o600));
    const limit = memoryMb === null ? [] : [`--max-old-space-size=${memoryMb}`];
    const started = execa(process.execPath, [...limit, mainPath], {
      cwd: launch.hostDirectory,
      env: environment(launch.processId, compileCache),
      extendEnv: false,
      stdin: 'pipe',
      stdout: descriptor(opened[0]!),
      stderr: descriptor(opened[1]!),
      buffer: false,
      detached: true,
      cleanup: false, // the host must not die with the agent
      reject: false,
    });
    const child = started.nodeChildProcess;
    const exit = listenForExit(child);
    if (child.pid === undefined) throw await failureOf(started);
    // Its parent has not reaped it yet whatever happened to it, so the pid is surely its own.
    const facts = processFacts(child.pid);
    started.stdin.on('error', () => {}); // it died before it read the line; its exit tells
    started.stdin.end(`${JSON.stringify(launch)}\n`);
    child.unref();
    return { identity: { pid: child.pid, startTime: facts?.startTime ?? 'gone' }, onExit: exit };
  } catch (cause) {
    throw new HoldfastError('HF_CAPACITY', `cannot start a host process: ${(cause as Error).message}`, {
      cause,
    });
  } finally {
    for (const file of opened) await file.close();
  }
}

/** Why no process came to be. */
async function failureOf(started: PromiseLike<{ cause?: unknown }>): Promise<Error> {
  const { cause } = await started;
  return cause instanceof Error ? cause : new Error('no process came to be');
}

/** execa takes any file descriptor and gives it to the child as it is, but its types know only the first few. */
function descriptor(file: { fd: number }): 3 {
  return file.fd as 3;
}

/** Node's own event, not execa's promise: it comes a turn earlier, and every millisecond of a failover counts. */
function listenForExit(child: ChildProcess): Launched['onExit'] {
  const listeners: ((code: number | null, signal: string | null) => void)[] = [];
  let ended: [number | null, string | null] | null = null;
  child.once('exit', (code, signal) => {
    ended = [code, signal];
    for (const listener of listeners) listener(code, signal);
  });
  return listener => {
    if (ended) listener(...ended);
    else listeners.push(listener);
  };
}

function environment(processId: string, compileCache: string): Record<string, string> {
  const kept = ['PATH', 'LANG', 'TZ'].flatMap(name => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...Object.fromEntries(kept),
    HOME: homedir(),
    TMPDIR: tmpdir(),
    NODE_COMPILE_CACHE: compileCache,
    [processMark]: processId,
  };
}
