/** `holdfast dead-letters …`: asks a host of the instance, as any of them shows the same. */
import { HoldfastError } from '#core';
import type { DeadLetterClient } from '#client';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import type { Environment } from '../environment.ts';
import { jsonLine, table } from '../output.ts';

type Options = ConnectOptions & { group?: string; json?: boolean };

const pageMax = 1_000;

export async function listDeadLetters(
  instance: string,
  options: Options & { limit: string },
  { cwd, stdout }: Environment,
): Promise<void> {
  const limit = Number(options.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > pageMax) {
    throw new HoldfastError(
      'HF_USAGE',
      `--limit is "${options.limit}", expected a number from 1 to ${pageMax}`,
    );
  }
  const client = await clientOf(instance, options, cwd);
  const { deadLetters, cursor } = await client.list({ group: options.group ?? instance, limit });
  if (options.json) return void stdout.write(jsonLine(deadLetters));
  if (deadLetters.length === 0) return void stdout.write(`${instance} has no dead letters\n`);
  const rows = deadLetters.map(({ id, failedAt, attempts, message, reason }) => [
    id,
    failedAt,
    String(attempts),
    message.messageType ?? '-',
    message.messageId,
    firstLine(reason),
  ]);
  stdout.write(`${table([['ID', 'FAILED', 'TRIES', 'TYPE', 'MESSAGE', 'REASON'], ...rows])}\n`);
  if (cursor !== null) stdout.write(`there are more; raise --limit\n`);
}

export async function settleDeadLetters(
  action: 'replay' | 'remove',
  instance: string,
  ids: string[],
  options: Options & { all?: boolean },
  { cwd, stdout }: Environment,
): Promise<void> {
  if (ids.length > 0 === (options.all === true)) {
    throw new HoldfastError('HF_USAGE', 'name the ids of dead letters, or say --all');
  }
  const client = await clientOf(instance, options, cwd);
  const done: string[] = [];
  if (!options.all) done.push(...(await client.settle(action, ids)));
  else {
    // Those of now: what fails again meanwhile is not taken up a second time.
    const found: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page = await client.list({
        group: options.group ?? instance,
        limit: pageMax,
        ...(cursor ? { cursor } : {}),
      });
      found.push(...page.deadLetters.map(({ id }) => id));
      ({ cursor } = page);
    }
    for (let index = 0; index < found.length; index += pageMax) {
      done.push(...(await client.settle(action, found.slice(index, index + pageMax))));
    }
  }
  if (options.json) return void stdout.write(jsonLine({ ids: done }));
  stdout.write(`${done.length} ${action === 'replay' ? 'replayed' : 'removed'}\n`);
  const missing = ids.filter(id => !done.includes(id));
  if (missing.length > 0) {
    throw new HoldfastError(
      'HF_NOT_FOUND',
      `there is no dead letter ${missing.join(', ')}; see: holdfast dead-letters list ${instance}`,
    );
  }
}

async function clientOf(instance: string, options: Options, cwd: string): Promise<DeadLetterClient> {
  const cluster = await connectToCluster(cwd, options);
  const hosts = await cluster.master.hosts();
  const host = hosts.find(
    ({ component, hostUri }) =>
      component?.instanceId === instance && component.state === 'Started' && hostUri !== null,
  );
  if (host) return cluster.deadLetters(host.hostUri!);
  const known = [...new Set(hosts.flatMap(({ component }) => component?.instanceId ?? []))].sort();
  throw new HoldfastError(
    'HF_PROCESS_NOT_FOUND',
    `no copy of "${instance}" is started; instances that run: ${known.join(', ') || 'none'}`,
  );
}

function firstLine(text: string): string {
  return text
    .split(/\r?\n/)[0]!
    .replaceAll(/\p{Cc}/gu, ' ')
    .slice(0, 100);
}
