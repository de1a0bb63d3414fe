/** `holdfast restart <instance>`: replaces every copy, and waits until that is done. */
import { HoldfastError, type MasterHost, type MasterInstance } from '#core';
import type { MasterClient } from '#client';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { parseDurationMs } from '../duration.ts';
import { EXIT } from '../failure.ts';
import { jsonLine } from '../output.ts';
import type { Environment } from '../environment.ts';

const pollMs = 250;

interface Seen {
  instance: MasterInstance | undefined;
  /** Copies from before that still run. */
  left: number;
}

/** Resolves to the exit code: 1 when it is not done in time. */
export async function runRestart(
  instanceId: string,
  options: ConnectOptions & { timeout: string; wait: boolean; json?: boolean },
  { cwd, stdout, stderr, system }: Environment,
): Promise<number> {
  const timeoutMs = parseDurationMs('--timeout', options.timeout);
  const { master } = await connectToCluster(cwd, options);
  const before = new Set((await hostsOf(master, instanceId)).map(host => host.processId));
  const answer = await master.restart(instanceId);
  if (!options.wait) {
    stdout.write(
      options.json ? jsonLine(answer) : `${instanceId} is being restarted; see: holdfast status\n`,
    );
    return EXIT.ok;
  }
  const endMs = system.clock.monotonicMs() + timeoutMs;
  let said = '';
  for (;;) {
    const seen = await look(master, instanceId, before);
    if (seen?.left === 0 && seen.instance && seen.instance.running >= seen.instance.desired) {
      const done = { ...answer, running: seen.instance.running };
      stdout.write(
        options.json ? jsonLine(done) : `${instanceId} was restarted: ${done.running} copies run\n`,
      );
      return EXIT.ok;
    }
    const text = seen ? describe(instanceId, seen) : said;
    if (!options.json && text !== said) stderr.write(`${text}\n`);
    said = text;
    if (system.clock.monotonicMs() >= endMs) {
      stderr.write(
        `${instanceId} is not restarted after ${options.timeout}; it goes on. See: holdfast status\n`,
      );
      return EXIT.failure;
    }
    await system.timers.sleep(pollMs);
  }
}

/** Null while the master is away or between two leaders. */
async function look(
  master: MasterClient,
  instanceId: string,
  before: ReadonlySet<string>,
): Promise<Seen | null> {
  try {
    const [hosts, instances] = await Promise.all([hostsOf(master, instanceId), master.instances()]);
    return {
      instance: instances.find(({ id }) => id === instanceId),
      left: hosts.filter(host => before.has(host.processId)).length,
    };
  } catch (error) {
    if (error instanceof HoldfastError && (error.retryable || error.code === 'HF_NODE_UNREACHABLE'))
      return null;
    throw error;
  }
}

async function hostsOf(master: MasterClient, instanceId: string): Promise<MasterHost[]> {
  const hosts = await master.hosts();
  return hosts.filter(host => host.component?.instanceId === instanceId && host.state !== 'Exited');
}

function describe(instanceId: string, { instance, left }: Seen): string {
  const problems = instance?.problems.length ? `; ${instance.problems.join('; ')}` : '';
  return `${instanceId}: ${left} old copies run${problems}`;
}
