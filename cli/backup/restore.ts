/** `holdfast restore`: a backup into an empty cluster. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { HoldfastError } from '#core';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine, size } from '../output.ts';
import type { Environment } from '../environment.ts';

export async function runRestore(
  file: string,
  options: ConnectOptions & { withNodes?: boolean; json?: boolean },
  { cwd, stdout, stderr }: Environment,
): Promise<void> {
  const path = resolve(cwd, file);
  const found = await stat(path).catch((cause: unknown) => {
    throw new HoldfastError('HF_USAGE', `cannot read the backup ${path}: ${(cause as Error).message}`, {
      cause,
    });
  });
  const { master } = await connectToCluster(cwd, options);
  if (stderr.isTTY) stderr.write(`sending ${size(found.size)}, and waiting until it is restored …\n`);
  const outcome = await master.restore({ path }, { withNodes: options.withNodes ?? false });
  const { clusterName, createdAt, counts, kept, revision } = outcome;
  const lines = [
    `restored ${clusterName} as it was at ${createdAt}: ` +
      Object.entries(counts)
        .map(([what, count]) => `${count} ${what}`)
        .join(', '),
    `the settings are revision ${revision} now; holdfast status shows what starts`,
    ...(kept.length > 0 ? [`kept as they are here: ${kept.join(', ')}`] : []),
    'The data of components was not in it: bring .holdfast/data back before anybody asks for it, or keys answer HF_STATE_MISSING.',
  ];
  stdout.write(options.json ? jsonLine(outcome) : `${lines.join('\n')}\n`);
}
