/** `holdfast rollback <package>`: its previous version everywhere, and waits until that runs. */
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { endedDeployments, follow, parseTimeout } from '../deploy/follow.ts';
import { jsonLine } from '../output.ts';
import type { Environment } from '../environment.ts';

export async function runRollback(
  packageName: string,
  options: ConnectOptions & { timeout: string; json?: boolean },
  { cwd, interruptions, stdout, stderr, system }: Environment,
): Promise<void> {
  const timeoutMs = parseTimeout(options.timeout);
  const { master } = await connectToCluster(cwd, options);
  const endedBefore = await endedDeployments(master);
  const outcome = await master.rollback(packageName);
  const { from, to, instances } = outcome;
  stderr.write(
    `${packageName} goes back from ${from ?? 'several versions'} to ${to}: ${instances.join(', ')}\n`,
  );
  // The version of the host package is not among those that the status counts: there is no waiting for it.
  const users = (await master.status()).instances.filter(
    ({ id, packageName: used }) => instances.includes(id) && used === packageName,
  );
  if (users.length > 0) {
    await follow(master, {
      instanceIds: instances,
      packageVersion: to,
      endedBefore,
      timeoutMs,
      system,
      signal: interruptions.asked,
      say: text => stderr.write(`${text}\n`),
    });
  }
  stdout.write(
    options.json
      ? jsonLine(outcome)
      : users.length > 0
        ? `${packageName} is back at ${to}\n`
        : `${packageName} goes back to ${to}; see: holdfast deployments list\n`,
  );
}
