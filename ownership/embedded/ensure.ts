/**
 * Makes sure that a coordinator serves a state root: asks whether one answers, else starts one, detached, and waits until it
 * does. Many callers at once may each start one; the file's lock lets one of them live, and all find that one.
 */
import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { connectChannel } from '#channel';
import { HoldfastError, programFile, type System } from '#core';
import { EXIT } from './exit-codes.ts';
import {
  coordinationAddress,
  coordinationPaths,
  prepareFolder,
  type EmbeddedAddress,
} from './state-folder.ts';

const deadlineMs = 5_000;
const pauseMs = 15;
const answerMs = 1_000;
const logTailBytes = 2_048;

/**
 * The address of the coordinator of `stateRoot`, which answers.
 * @throws HoldfastError HF_STATE_UNUSABLE when its folder or file cannot be used, HF_COORDINATION_UNAVAILABLE (with the end of
 * its log) when it does not answer within 5 s
 */
export async function ensureCoordinator(stateRoot: string, system: System): Promise<EmbeddedAddress> {
  const address = coordinationAddress(stateRoot);
  if (await answers(address)) return address;
  await prepareFolder(coordinationPaths(stateRoot).folder);
  const startedMs = system.clock.monotonicMs();
  let child: Started | null = null;
  for (;;) {
    child ??= startProcess(stateRoot);
    await Promise.race([system.timers.sleep(pauseMs), child.ended]);
    if (await answers(address)) return address;
    const code = child.exitCode;
    if (code === EXIT.alreadyRunning || code === EXIT.done) {
      // Another one has the file: it is about to listen, or about to end. Either shows soon.
      await system.timers.sleep(pauseMs * 4);
      child = null;
    } else if (code !== null) {
      throw await failure(stateRoot, code, 'it ended');
    }
    if (system.clock.monotonicMs() - startedMs > deadlineMs) {
      throw await failure(stateRoot, null, `it did not answer within ${deadlineMs} ms`);
    }
  }
}

interface Started {
  /** Null while it runs. */
  readonly exitCode: number | null;
  readonly ended: Promise<void>;
}

function startProcess(stateRoot: string): Started {
  const main = programFile(join(import.meta.dirname, 'coordinator-main.ts'));
  const { env } = process;
  const child = spawn(process.execPath, [main, '--state', stateRoot], {
    detached: true,
    stdio: 'ignore',
    // Nothing of the starter's environment but what finds the socket and its cache: it outlives the starter, and no agent may take
    // it for a descendant of one of its hosts.
    env: Object.fromEntries(
      ['PATH', 'HOME', 'TMPDIR', 'NODE_COMPILE_CACHE'].flatMap(name =>
        env[name] === undefined ? [] : [[name, env[name]]],
      ),
    ),
  });
  child.unref();
  let exitCode: number | null = null;
  const ended = new Promise<void>(resolve => {
    const end = (code: number) => {
      exitCode ??= code;
      resolve();
    };
    child.once('exit', code => end(code ?? EXIT.failed));
    child.once('error', () => end(EXIT.failed));
  });
  return {
    ended,
    get exitCode() {
      return exitCode;
    },
  };
}

async function answers(address: EmbeddedAddress): Promise<boolean> {
  try {
    const channel = await connectChannel(address.socketPath);
    try {
      channel.listen();
      await channel.request('ping', {}, { timeoutMs: answerMs });
      return true;
    } finally {
      channel.close();
    }
  } catch {
    return false; // nobody there, or somebody who does not speak: both mean not yet
  }
}

async function failure(stateRoot: string, code: number | null, reason: string): Promise<HoldfastError> {
  const { log } = coordinationPaths(stateRoot);
  const tail = await readTail(log);
  return new HoldfastError(
    code === EXIT.stateUnusable ? 'HF_STATE_UNUSABLE' : 'HF_COORDINATION_UNAVAILABLE',
    `the coordinator of ${stateRoot} did not start: ${reason}${code === null ? '' : ` with code ${code}`}. ` +
      (tail ? `The end of ${log}:\n${tail}` : `It left no log in ${log}.`),
    { details: { log, exitCode: code } },
  );
}

async function readTail(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const start = Math.max(0, size - logTailBytes);
    const { bytesRead, buffer } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
    return buffer.subarray(0, bytesRead).toString().trim();
  } catch {
    return ''; // it did not come as far as making one
  }
}
