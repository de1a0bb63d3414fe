/** The packages that come with Holdfast, and packing them when their source is newer than their ZIP. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { stopBundler } from '../pack/bundle.ts';
import { packFolder, type PackedPackage } from '../pack/pack.ts';

export const projectRoot = join(import.meta.dirname, '../..');
export const packagesDirectory = join(projectRoot, 'build/packages');

/** What every cluster needs on its nodes, in the order of upload. */
export const systemPackages = ['component-host', 'node-manager', 'router'] as const;

/** Packs all folders of the project that hold a package, in parallel. By package name. */
export async function packBuiltIn(
  which: readonly string[] | 'all' = 'all',
): Promise<ReadonlyMap<string, PackedPackage>> {
  const folders =
    which === 'all'
      ? [...systemPackages, ...(await foldersIn('components')), ...(await foldersIn('publishers'))]
      : which;
  const packed = await Promise.all(
    folders.map(folder => packFolder(join(projectRoot, folder), { outDirectory: packagesDirectory })),
  );
  if (packed.some(one => one.changed)) await stopBundler();
  return new Map(packed.map(one => [one.manifest.packageName, one]));
}

async function foldersIn(parent: string): Promise<string[]> {
  const entries = await readdir(join(projectRoot, parent), { withFileTypes: true });
  const folders = entries.filter(entry => entry.isDirectory()).map(entry => join(parent, entry.name));
  const withManifest = await Promise.all(
    folders.map(async folder => ((await hasManifest(folder)) ? [folder] : [])),
  );
  return withManifest.flat();
}

async function hasManifest(folder: string): Promise<boolean> {
  return (await stat(join(projectRoot, folder, 'manifest.json')).catch(() => null)) !== null;
}
