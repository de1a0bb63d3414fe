/**
 * Builds one version in its staging folder and puts it in place. All of this is invisible until the catalog names the
 * version: what a crash leaves behind is swept at the next opening.
 *
 * Order: unpack and read back, file by file → record → sync → rename archive, record and folder to their places → sync those folders.
 */
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory, writeFileDurably } from '#core';
import type { ByteSource } from './byte-source.ts';
import type { CatalogVersion } from './catalog.ts';
import { extractPackage } from './extraction.ts';
import type { Inspection } from './inspection.ts';
import type { StoreLayout } from './layout.ts';
import type { Digest } from './package-source.ts';
import type { VersionHealth } from './version-health.ts';
import { catalogVersion, encodeRecord, type VersionRecord } from './version-record.ts';

export type InstallationStep =
  'extracted' | 'verified' | 'archive-placed' | 'record-placed' | 'folder-placed' | 'placed';

export interface StagedArchive extends Digest {
  /** The staging folder of this installation. */
  folder: string;
  /** The archive in it, synced. */
  path: string;
}

/** Unpacks and verifies in the staging folder. */
export async function buildVersion(
  source: ByteSource,
  { manifest, entries }: Inspection,
  staged: StagedArchive,
  installedAt: string,
  onStep: (step: InstallationStep) => Promise<void>,
): Promise<{ version: CatalogVersion; health: VersionHealth }> {
  const folder = join(staged.folder, 'package');
  const { files, fingerprints } = await extractPackage(source, entries, folder);
  await onStep('extracted');
  const record: VersionRecord = {
    format: 1,
    name: manifest.packageName,
    version: manifest.packageVersion,
    sha256: staged.sha256,
    sizeBytes: staged.sizeBytes,
    installedAt,
    manifest,
    files,
  };
  const { text, sha256 } = encodeRecord(record);
  await writeFileDurably(join(staged.folder, 'record.json'), text);
  await onStep('verified');
  return {
    version: catalogVersion({ record, sha256 }),
    health: { files, problem: null, archiveProblem: null, fingerprints },
  };
}

/** Moves what was built to its place; a version that lies there (damaged, or a leftover) makes way. */
export async function placeVersion(
  layout: StoreLayout,
  name: string,
  version: string,
  staged: StagedArchive,
  onStep: (step: InstallationStep) => Promise<void>,
): Promise<void> {
  const target = layout.versionFolder(name, version);
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  await renameIfThere(target, join(staged.folder, 'replaced'));
  await rename(staged.path, layout.archive(name, version));
  await onStep('archive-placed');
  await rename(join(staged.folder, 'record.json'), layout.record(name, version));
  await onStep('record-placed');
  await rename(join(staged.folder, 'package'), target);
  await onStep('folder-placed');
  for (const folder of [layout.archives, dirname(target), layout.root]) await syncDirectory(folder);
  await onStep('placed');
}

/** Removes a version's files, which the catalog names no more: out of sight in one step, then for good. */
export async function discardVersion(
  layout: StoreLayout,
  name: string,
  version: string,
  trash: string,
): Promise<void> {
  await renameIfThere(layout.versionFolder(name, version), trash);
  await rm(layout.record(name, version), { force: true });
  await rm(layout.archive(name, version), { force: true });
  await rm(trash, { recursive: true, force: true });
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
