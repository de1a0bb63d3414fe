/**
 * The agent as a process of its own: `node node-api/main.ts --name … --listen host:port --data … --state-root …
 * --token-file …`, as `holdfast up` and `holdfast node` run it. Prints one line of JSON on standard output:
 * `{"ready":true,"uri","pid"}`, or `{"error":{"code","message"}}` before it exits with 1. Logs go to `<data>/agent.log`.
 *
 * How it ends decides what becomes of its hosts:
 * - `--lifeline-fd`: an inherited pipe. When it ends, however its other side died, all hosts are stopped: nothing may
 *   outlive `holdfast up`. SIGTERM and SIGINT do the same then, and with `--stop-hosts-on-exit`.
 * - Without either, a signal ends the agent alone, since a real machine's agent is being restarted: its hosts serve on and
 *   are adopted by the next one (or end themselves after `--orphan-grace-ms`).
 */
import { readFile } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import { createSystem, DEFAULTS, HoldfastError, makeFolder } from '#core';
import { startNodeAgent, type NodeAgent } from './agent.ts';
import { parseNodeArguments, type NodeArguments } from './arguments.ts';
import { limitFile } from './observation/log-files.ts';

const system = createSystem();

async function main(): Promise<void> {
  const words = parseNodeArguments(process.argv.slice(2));
  const stopHosts = words.stopHostsOnExit || words.lifelineFd !== null;
  const end = Promise.withResolvers<string>();
  process.on('SIGTERM', () => end.resolve('SIGTERM'));
  process.on('SIGINT', () => end.resolve('SIGINT'));
  if (words.lifelineFd !== null) watchLifeline(words.lifelineFd, () => end.resolve('the lifeline ended'));

  const agent = await start(words);
  print({ ready: true, uri: agent.uri, pid: process.pid });
  flushCompileCache(); // a process that is killed writes none, and the next one shall start fast all the same
  await end.promise;
  // Should anything hang: a stop has its bound.
  system.timers.after(DEFAULTS.stopMs, () => process.exit(1), { keepAlive: true });
  await agent.close({ stopHosts });
  process.exit(0);
}

async function start(words: NodeArguments): Promise<NodeAgent> {
  const dataDirectory = resolve(words.data);
  const secret = await readToken(words.tokenFile);
  const log = await openLog(dataDirectory, words.name);
  const optional = {
    ...(words.firstHostPort === null ? {} : { firstHostPort: words.firstHostPort }),
    ...(words.orphanGraceMs === null ? {} : { orphanGraceMs: words.orphanGraceMs }),
    ...(words.warmSpares === null ? {} : { warmSpares: words.warmSpares }),
    ...(words.spareMemoryMb === null ? {} : { spareMemoryMb: words.spareMemoryMb }),
    ...(words.minFreeDiskMib === null ? {} : { diskFreeBytesMin: words.minFreeDiskMib * 1024 * 1024 }),
    ...(words.clusterName === null ? {} : { clusterName: words.clusterName }),
  };
  return startNodeAgent({
    nodeName: words.name,
    listen: words.listen,
    dataDirectory,
    stateRoot: resolve(words.stateRoot),
    secret,
    system,
    log,
    coordinationFile: words.coordinationFile === null ? null : resolve(words.coordinationFile),
    ...optional,
  });
}

async function readToken(path: string): Promise<string> {
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (cause) {
    throw new HoldfastError('HF_STATE_UNUSABLE', `cannot read the token file: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (text.length < 16) {
    throw new HoldfastError('HF_STATE_UNUSABLE', `${path} does not hold a token of at least 16 characters`);
  }
  return text;
}

async function openLog(dataDirectory: string, nodeName: string) {
  const path = join(dataDirectory, 'agent.log');
  try {
    await makeFolder(dataDirectory);
    await limitFile(path);
    // Written at once: the last lines before a crash are those that matter.
    const destination = pino.destination({ dest: path, append: true, mode: 0o600, sync: true });
    return pino({ base: { node: nodeName, pid: process.pid } }, destination);
  } catch (cause) {
    throw new HoldfastError(
      'HF_STATE_UNUSABLE',
      `the folder ${dataDirectory} cannot be used: ${(cause as Error).message}; make it writable for this user, or choose another with --data`,
      { details: { directory: dataDirectory }, cause },
    );
  }
}

/** The pipe's other side is held by the starter alone: it ends with it, also by SIGKILL. */
function watchLifeline(fd: number, onEnd: () => void): void {
  try {
    const pipe = new Socket({ fd, readable: true, writable: false });
    pipe.on('error', onEnd);
    pipe.on('close', onEnd);
    pipe.on('end', onEnd);
    pipe.resume();
  } catch (cause) {
    throw new HoldfastError('HF_USAGE', `--lifeline-fd ${fd} is not an open pipe`, { cause });
  }
}

function print(line: object): void {
  process.stdout.on('error', () => {}); // its reader is gone; the lifeline, not this, decides what follows
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

main().catch((error: unknown) => {
  const { code, message } =
    error instanceof HoldfastError ? error : { code: 'HF_INTERNAL', message: String(error) };
  print({ error: { code, message } });
  process.exitCode = 1;
  // Sockets and timers of a half-made agent must not keep the process.
  process.stdout.write('', () => process.exit(1));
});
