/**
 * `holdfast node`: the agent of one node, in this process and in the foreground. When it ends, its hosts serve on for the next
 * agent to adopt (or end by themselves after their grace time), unless `--stop-hosts` says otherwise.
 */
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import { HoldfastError, makeFolder } from '#core';
import { parseNodeArguments, startNodeAgent } from '#node-api';
import { findStateRoot, readToken } from '../cluster-location.ts';
import { EXIT } from '../failure.ts';
import type { Environment } from '../environment.ts';

export async function runNode(
  options: {
    name: string;
    listen: string;
    data: string;
    tokenFile?: string;
    coordinationFile?: string;
    stopHosts?: boolean;
    minFreeDiskMib?: string;
  },
  { cwd, interruptions, stdout, stderr, system }: Environment,
): Promise<number> {
  const dataDirectory = resolve(cwd, options.data);
  // Shared with the other nodes of its machine, if there is one.
  const stateRoot = (await findStateRoot(dataDirectory)) ?? dataDirectory;
  const tokenFile = resolve(cwd, options.tokenFile ?? join(stateRoot, 'token'));
  const { name, listen, minFreeDiskMib } = parseNodeArguments(
    ['--name', options.name, '--listen', options.listen, '--data', dataDirectory].concat([
      '--state-root',
      stateRoot,
      '--token-file',
      tokenFile,
      ...(options.minFreeDiskMib === undefined ? [] : ['--min-free-disk-mib', options.minFreeDiskMib]),
    ]),
  );
  const secret = await readToken(tokenFile);
  const stopHosts = options.stopHosts ?? false;

  interruptions.takeOver();
  interruptions.insisted.addEventListener('abort', () => process.exit(EXIT.failure));
  const agent = await startNodeAgent({
    nodeName: name,
    listen,
    dataDirectory,
    stateRoot,
    secret,
    system,
    coordinationFile: options.coordinationFile === undefined ? null : resolve(cwd, options.coordinationFile),
    diskFreeBytesMin: minFreeDiskMib === null ? null : minFreeDiskMib * 1024 * 1024,
    log: await openLog(dataDirectory, name),
  });
  stdout.write(`node ${name} is ready at ${agent.uri}; its log is ${join(dataDirectory, 'agent.log')}\n`);
  await new Promise<void>(done => {
    if (interruptions.asked.aborted) return done();
    interruptions.asked.addEventListener('abort', () => done(), { once: true });
  });
  stderr.write(stopHosts ? 'stopping with all hosts\n' : 'stopping; hosts are left for the next agent\n');
  await agent.close({ stopHosts });
  return EXIT.ok;
}

async function openLog(dataDirectory: string, nodeName: string) {
  try {
    await makeFolder(dataDirectory);
    const dest = join(dataDirectory, 'agent.log');
    return pino(
      { base: { node: nodeName, pid: process.pid } },
      pino.destination({ dest, append: true, mode: 0o600, sync: true }),
    );
  } catch (cause) {
    throw new HoldfastError(
      'HF_STATE_UNUSABLE',
      `cannot use ${dataDirectory}: ${(cause as Error).message}; make it writable, or choose another folder with --data`,
      { cause },
    );
  }
}
