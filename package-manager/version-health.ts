/** What the running store knows about the files of each version: checked at opening, at installation, before a start. */
import type { CatalogVersion } from './catalog.ts';
import type { FileRecord } from './extraction.ts';
import { archiveDigest, checkFiles, type Fingerprints } from './integrity.ts';
import type { StoreLayout } from './layout.ts';
import { readRecord } from './version-record.ts';

export interface VersionHealth {
  /** Null when the record of the digests is lost: then nothing can be said for the files. */
  files: readonly FileRecord[] | null;
  /** Why nothing may start from it, or null. */
  problem: string | null;
  /** Why the archive cannot be handed on, or null. The installed files may be right all the same. */
  archiveProblem: string | null;
  fingerprints: Fingerprints;
}

/** Reads every byte. */
export async function checkVersion(
  layout: StoreLayout,
  name: string,
  stored: CatalogVersion,
): Promise<VersionHealth> {
  const archiveSha256 = await archiveDigest(layout.archive(name, stored.version));
  const archiveProblem =
    archiveSha256 === stored.sha256
      ? null
      : `the stored archive ${archiveSha256 === null ? 'is missing' : 'was changed'}`;
  const found = await readRecord(layout.record(name, stored.version));
  if (found?.sha256 !== stored.recordSha256) {
    const problem = `the record of its files ${found ? 'was changed' : 'is missing or damaged'}`;
    return { files: null, problem, archiveProblem, fingerprints: new Map() };
  }
  const { files } = found.record;
  const result = await checkFiles(layout.versionFolder(name, stored.version), files);
  return { files, archiveProblem, ...result };
}

/** Reads only what was touched since the last check. */
export async function recheckVersion(
  layout: StoreLayout,
  name: string,
  version: string,
  last: VersionHealth,
): Promise<VersionHealth> {
  if (!last.files) return last;
  const result = await checkFiles(layout.versionFolder(name, version), last.files, last.fingerprints);
  return { ...last, ...result };
}
