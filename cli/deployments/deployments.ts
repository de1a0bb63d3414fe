/** `holdfast deployments …`: what changes in the cluster, what changed, and what to do about it. */
import type { DeploymentInfo } from '#core';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine, table } from '../output.ts';
import type { Environment } from '../environment.ts';

type Options = ConnectOptions & { json?: boolean };

export async function listDeployments(
  options: Options & { instance?: string; limit: number },
  { cwd, stdout }: Environment,
): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const { instance, limit } = options;
  const found = await master.deployments({ limit, ...(instance === undefined ? {} : { instance }) });
  const rows = found.map(one => [one.id, one.state, versionsOf(one), copiesOf(one), one.startedAt, one.by]);
  const text = table([['DEPLOYMENT', 'STATE', 'CHANGE', 'COPIES', 'BEGAN', 'WHO'], ...rows]);
  stdout.write(options.json ? jsonLine(found) : `${text}\n`);
}

export async function showDeployment(
  id: string,
  options: Options,
  { cwd, stdout }: Environment,
): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const found = await master.deployment(id);
  stdout.write(options.json ? jsonLine(found) : `${describeDeployment(found)}\n`);
}

export async function commandDeployment(
  id: string,
  command: 'promote' | 'pause' | 'resume' | 'abort',
  options: Options,
  { cwd, stdout }: Environment,
): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const found = await master.commandDeployment(id, command);
  stdout.write(options.json ? jsonLine(found) : `${found.id} is ${found.state}\n`);
}

/** One deployment as text. Pure. */
export function describeDeployment(one: DeploymentInfo): string {
  const canary = one.canary;
  const rows: [string, string | null][] = [
    ['state', one.reason === null ? one.state : `${one.state}: ${one.reason}`],
    ['instance', one.instanceId],
    ['change', versionsOf(one)],
    ['differs', one.changes.join('\n')],
    ['strategy', canary ? `canary: ${canary.instances} first, ${promotionOf(canary)}` : one.strategy],
    ['copies', one.progress ? copiesOf(one) : null],
    ['who', one.by],
    ['began', one.startedAt],
    ['ended', one.endedAt],
  ];
  return [
    one.id,
    ...rows.flatMap(([name, text]) =>
      text === null
        ? []
        : text.split('\n').map((line, at) => `  ${(at === 0 ? name : '').padEnd(9)} ${line}`),
    ),
  ].join('\n');
}

function promotionOf(canary: NonNullable<DeploymentInfo['canary']>): string {
  if (canary.promotedAt !== null) return `promoted by ${canary.promotedBy} at ${canary.promotedAt}`;
  if (canary.promoteAfterMs === null) return 'promoted by hand';
  return `promoted after ${canary.promoteAfterMs / 1000} s in good health`;
}

/** What people want to know first. */
function versionsOf({ from, to, changes }: DeploymentInfo): string {
  if (!from) return `${to.packageName} ${to.packageVersion}`;
  return from.packageVersion === to.packageVersion
    ? (changes[0] ?? `${to.packageName} ${to.packageVersion}`)
    : `${to.packageName} ${from.packageVersion} → ${to.packageVersion}`;
}

function copiesOf({ progress }: DeploymentInfo): string {
  return progress ? `${progress.available}/${progress.desired} new, ${progress.outdated} old` : '-';
}
