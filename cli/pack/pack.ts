/**
 * Makes a package of a folder: one bundled file, the manifest, and the files that go along, in a ZIP whose bytes depend on
 * its contents only. The result is checked by the very code that nodes check uploads with.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import esbuildPackage from 'esbuild/package.json' with { type: 'json' };
import { writeFileDurably, type Manifest } from '#core';
import { readPackage } from '#package-manager';
import { makeArchive, type ArchiveEntry } from './archive.ts';
import { bundle, BUNDLER_REVISION, type Bundle } from './bundle.ts';
import { bundleNameOf, readPackageFolder, type PackageFolder } from './package-folder.ts';
import { readCurrentStamp, writeStamp } from './stamp.ts';

export interface PackedPackage {
  /** Absolute. */
  zipPath: string;
  manifest: Manifest;
  /** Hex, of the ZIP. */
  sha256: string;
  sizeBytes: number;
  /** False when nothing had changed since it was packed last, and nothing was written. */
  changed: boolean;
}

/**
 * Packs a folder into `<outDirectory>/<packageName>-<packageVersion>.zip` (default: the current folder).
 * @throws HoldfastError HF_PACKAGE_INVALID and what `readPackage` throws
 */
export async function packFolder(
  folder: string,
  options: { outDirectory?: string } = {},
): Promise<PackedPackage> {
  const source = await readPackageFolder(resolve(folder));
  const { manifest } = source;
  const zipPath = join(
    resolve(options.outDirectory ?? '.'),
    `${manifest.packageName}-${manifest.packageVersion}.zip`,
  );
  const revision = revisionOf(source);
  const stamp = await readCurrentStamp(zipPath, revision);
  if (stamp) {
    return { zipPath, manifest, sha256: stamp.zip.sha256, sizeBytes: stamp.zip.sizeBytes, changed: false };
  }
  const made = await bundle({
    entries: { [basename(source.manifest.main)]: source.entry },
    directory: source.directory,
    // Hosts are many, and most need few of the things that they can do.
    split: source.manifest.kind === 'host',
  });
  const zip = makeArchive(await entriesOf(source, made));
  const read = await readPackage(zip);
  await mkdir(dirname(zipPath), { recursive: true });
  await writeFileDurably(zipPath, zip, 0o644);
  await writeStamp(zipPath, {
    inputs: [
      ...made.inputs,
      ...made.assets.map(asset => asset.path),
      ...configurationFilesOf(source.directory),
      ...source.files.map(file => file.path),
    ],
    revision,
    sha256: read.sha256,
  });
  return { zipPath, manifest: read.manifest, sha256: read.sha256, sizeBytes: read.sizeBytes, changed: true };
}

async function entriesOf(source: PackageFolder, made: Bundle): Promise<ArchiveEntry[]> {
  const folder = dirname(bundleNameOf(source.manifest));
  const assets = made.assets.map(({ name, path }) => ({ name: join(folder, name), path }));
  const files = await Promise.all(
    [...assets, ...source.files].map(async ({ name, path }) => ({ name, content: await readFile(path) })),
  );
  // Tells Node that the bundle is an ES module; without it Node parses it twice to find out.
  const moduleType = {
    name: join(folder, 'package.json'),
    content: Buffer.from('{"type":"module"}\n'),
  };
  return [
    { name: 'manifest.json', content: Buffer.from(source.manifestText) },
    ...made.modules.map(({ name, code }) => ({ name: join(folder, name), content: code })),
    ...(files.some(file => file.name === moduleType.name) ? [] : [moduleType]),
    ...files,
  ];
}

/** What decides on the bundle besides the contents of files that the stamp knows: names, the manifest, the tools. */
function revisionOf(source: PackageFolder): string {
  return JSON.stringify([
    BUNDLER_REVISION,
    esbuildPackage.version,
    process.version,
    source.manifestText,
    source.entry,
    source.files.map(file => file.name),
  ]);
}

/** Files that steer esbuild although they are no input: all that could lie above the folder, whether or not they do. */
function configurationFilesOf(directory: string): string[] {
  const found: string[] = [];
  for (let folder = directory; folder !== dirname(folder); folder = dirname(folder)) {
    found.push(join(folder, 'package.json'), join(folder, 'tsconfig.json'));
  }
  return found;
}
