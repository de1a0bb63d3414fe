/** `holdfast reconciliation pause|resume`: keep the node managers from doing anything, and let them go on. */
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine } from '../output.ts';
import type { Environment } from '../environment.ts';

type Options = ConnectOptions & { json?: boolean; reason?: string };

export async function pauseReconciliation(options: Options, { cwd, stdout }: Environment): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const answer = await master.pauseReconciliation(
    options.reason === undefined ? {} : { reason: options.reason },
  );
  const text =
    'reconciliation is paused: nothing is started, stopped or moved, not even in place of what crashes, until `holdfast reconciliation resume`';
  stdout.write(options.json ? jsonLine(answer) : `${text}\n`);
}

export async function resumeReconciliation(options: Options, { cwd, stdout }: Environment): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const answer = await master.resumeReconciliation();
  stdout.write(options.json ? jsonLine(answer) : 'reconciliation goes on\n');
}
