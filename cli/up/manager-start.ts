/** Brings a node manager to a node: uploads the system packages there and starts it. Shared by `up` and `bootstrap`. */
import { createHash } from 'node:crypto';
import type { NodeClient } from '#client';
import { HoldfastError, managerRequest, type ClusterSettings, type ProcessInfo } from '#core';
import type { PackedPackage } from '../pack/pack.ts';
import { systemPackages } from './built-in.ts';

/**
 * Idempotent: a manager that runs with the same package and settings is answered instead of a second one.
 * @throws HoldfastError what the node answers
 */
export async function startManager(options: {
  node: NodeClient;
  packages: ReadonlyMap<string, PackedPackage>;
  settings: ClusterSettings;
  /** Absolute path on the node's machine; null: the manager keeps the settings in the store only. */
  settingsFile: string | null;
}): Promise<ProcessInfo> {
  const { node, packages, settings, settingsFile } = options;
  await Promise.all(systemPackages.map(name => upload(node, packageNamed(packages, name))));
  const { manifest, sha256 } = packageNamed(packages, 'node-manager');
  const request = managerRequest(settings, settingsFile, new URL(node.uri).hostname);
  const generation = createHash('sha256')
    .update(JSON.stringify([request, sha256]))
    .digest('hex')
    .slice(0, 12);
  return node.start('node-manager', {
    ...request,
    settingsId: `node-manager/0/${generation}`,
    version: manifest.packageVersion,
  });
}

/**
 * Removes installed versions whose bytes differ from what was packed now: their source has changed under the same version,
 * as it does while somebody works on it. Only for packages that come with Holdfast; for others a new version is demanded.
 */
export async function dropOutdated(
  node: NodeClient,
  packages: ReadonlyMap<string, PackedPackage>,
): Promise<string[]> {
  const dropped: string[] = [];
  for (const stored of await node.packages()) {
    const packed = packages.get(stored.packageName);
    if (!packed || packed.manifest.packageVersion !== stored.packageVersion) continue;
    if (packed.sha256 === stored.sha256) continue;
    await node.removePackage(stored.packageName, { version: stored.packageVersion });
    dropped.push(`${stored.packageName} ${stored.packageVersion}`);
  }
  return dropped;
}

async function upload(node: NodeClient, { zipPath, sha256 }: PackedPackage): Promise<void> {
  await node.uploadPackage({ path: zipPath }, { makeCurrent: true, sha256 });
}

function packageNamed(packages: ReadonlyMap<string, PackedPackage>, name: string): PackedPackage {
  const found = packages.get(name);
  if (!found) throw new HoldfastError('HF_INTERNAL', `the package ${name} was not packed`);
  return found;
}
