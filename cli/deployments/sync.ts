/** `holdfast plan` and `holdfast sync`: what the manager would do, and what it did. */
import type { SyncOutcome } from '#client';
import { HoldfastError, type PlanAction } from '#core';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine, table } from '../output.ts';
import type { Environment } from '../environment.ts';

type Options = ConnectOptions & { json?: boolean };

export async function runPlan(options: Options, { cwd, stdout }: Environment): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const plan = await master.plan();
  stdout.write(options.json ? jsonLine(plan) : `${describeActions(plan.actions)}\n`);
}

export async function runSync(options: Options, { cwd, stdout, stderr }: Environment): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const outcome = await master.sync();
  stdout.write(options.json ? jsonLine(outcome) : `${describeSync(outcome)}\n`);
  const [first] = outcome.failed;
  if (!first) return;
  for (const { action, message } of outcome.failed) stderr.write(`${action}: ${message}\n`);
  throw new HoldfastError(
    'HF_START_FAILED',
    `${outcome.failed.length} of ${outcome.actions.length} actions failed; they are tried again by themselves`,
  );
}

/** Pure. */
export function describeActions(actions: readonly PlanAction[]): string {
  if (actions.length === 0) return 'Nothing to do: the cluster is as its settings want it.';
  return table([
    ['ACTION', 'TARGET', 'WHY'],
    ...actions.map(({ type, target, reason }) => [type, target, reason]),
  ]);
}

function describeSync({ actions, durationMs }: SyncOutcome): string {
  return actions.length === 0
    ? describeActions(actions)
    : `${describeActions(actions)}\nin ${Math.round(durationMs)} ms`;
}
