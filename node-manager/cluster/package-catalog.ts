/**
 * Every ZIP that the manager can get, and from where: uploads to the master (kept under its data directory), files that
 * the settings name, and what nodes have installed. For one name and version the first source that has it says which
 * bytes are meant: an upload, then the nodes, then the file; other bytes under the same version are a conflict, told
 * and never used.
 */
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { HoldfastError, writeFileDurably, type ClusterSettings, type Logger, type PackageInfo } from '#core';
import type { CatalogEntry, ObservedNode } from '../planning/model.ts';
import { digestOf } from './digest.ts';

export interface KnownPackage extends CatalogEntry {
  /** `upload`, `settings`, names of nodes. */
  sources: string[];
}

export interface PackageCatalog {
  /** Everything known, given what the settings name and nodes have; in order of name and version. */
  refresh(settings: ClusterSettings, observed: readonly ObservedNode[]): Promise<void>;
  entries(): readonly KnownPackage[];
  warnings(): string[];
  /** The ZIP; its bytes have the entry's SHA-256. @throws HoldfastError HF_PACKAGE_NOT_FOUND */
  bytes(packageName: string, packageVersion: string): Promise<Buffer>;
  /** Keeps an uploaded ZIP that a node has accepted; with its digest. */
  keep(
    zip: Buffer,
    info: Pick<PackageInfo, 'packageName' | 'packageVersion' | 'kind' | 'sha256'>,
  ): Promise<void>;
  /** Forgets uploads; without a version all of the package. */
  forget(packageName: string, version: string | null): Promise<void>;
  /** A node refused these bytes: they are not offered again. */
  reject(packageName: string, packageVersion: string, problem: string): void;
}

type Upload = Pick<CatalogEntry, 'packageName' | 'packageVersion' | 'kind' | 'sha256'>;

interface FileFacts {
  path: string;
  stamp: string;
  sha256: string;
}

export function createPackageCatalog(options: {
  /** Folder for uploads; made when needed. */
  directory: string;
  /** Folder that `packagePath` is relative to. */
  settingsDirectory: string;
  log: Logger;
  archive: (node: string, packageName: string, version: string) => Promise<Buffer>;
}): PackageCatalog {
  const { directory, log } = options;
  const indexPath = resolve(directory, 'index.json');
  let uploads: Promise<Upload[]> | null = null;
  let known: KnownPackage[] = [];
  let warnings: string[] = [];
  const files = new Map<string, FileFacts>();
  const rejected = new Map<string, string>();

  function loadUploads(): Promise<Upload[]> {
    uploads ??= readFile(indexPath, 'utf8').then(
      text => JSON.parse(text) as Upload[],
      (cause: NodeJS.ErrnoException) => {
        if (cause.code !== 'ENOENT')
          log.warn({ error: cause.message }, 'the catalog of uploads cannot be read');
        return []; // nothing was uploaded yet, or nodes have it all the same
      },
    );
    return uploads;
  }

  async function fileFacts(reference: string): Promise<FileFacts | null> {
    const path = resolve(options.settingsDirectory, reference);
    try {
      const found = await stat(path);
      const stamp = `${found.ino} ${found.size} ${found.mtimeMs}`;
      const before = files.get(path);
      if (before?.stamp === stamp) return before;
      const facts = { path, stamp, sha256: await digestOf(await readFile(path)) };
      files.set(path, facts);
      return facts;
    } catch {
      return null; // told as a warning unless another source has it
    }
  }

  async function refresh(settings: ClusterSettings, observed: readonly ObservedNode[]): Promise<void> {
    const found = new Map<string, KnownPackage>();
    const told: string[] = [];
    const add = (entry: Upload, source: string): KnownPackage => {
      const key = keyOf(entry);
      let present = found.get(key);
      if (!present) {
        found.set(key, (present = { ...entry, problem: rejected.get(entry.sha256) ?? null, sources: [] }));
      }
      if (present.sha256 === entry.sha256) {
        present.sources.push(source);
        present.kind ??= entry.kind;
      } else {
        told.push(
          `HF_PACKAGE_CONFLICT: ${key} has other bytes in ${source} than in ${present.sources[0]}; raise the version`,
        );
      }
      return present;
    };
    for (const upload of await loadUploads()) add(upload, 'upload');
    for (const { name, packages } of majorityFirst(observed)) {
      for (const item of packages) if (item.status === 'ok') add(item, name);
    }
    for (const { name: packageName, version: packageVersion, packagePath } of [
      ...settings.nodePackages,
      ...settings.componentPackages,
    ]) {
      if (packagePath === undefined) continue;
      const facts = await fileFacts(packagePath);
      if (facts) add({ packageName, packageVersion, kind: null, sha256: facts.sha256 }, 'settings');
      else if (!found.has(`${packageName}@${packageVersion}`)) {
        told.push(`the file ${packagePath} of ${packageName} ${packageVersion} cannot be read`);
      }
    }
    known = [...found.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    warnings = told;
  }

  async function bytes(packageName: string, packageVersion: string): Promise<Buffer> {
    const entry = known.find(
      item => item.packageName === packageName && item.packageVersion === packageVersion,
    );
    const problems: string[] = [];
    for (const source of entry?.sources ?? []) {
      try {
        const zip = await read(entry!, source);
        if ((await digestOf(zip)) === entry!.sha256) return zip;
        problems.push(`${source}: other bytes than expected`);
      } catch (cause) {
        problems.push(`${source}: ${(cause as Error).message}`);
      }
    }
    throw new HoldfastError(
      'HF_PACKAGE_NOT_FOUND',
      `the ZIP of ${packageName} ${packageVersion} cannot be had: ${problems.join('; ') || 'no source has it'}`,
    );
  }

  function read(entry: KnownPackage, source: string): Promise<Buffer> {
    if (source === 'upload') return readFile(archivePath(entry));
    if (source !== 'settings') return options.archive(source, entry.packageName, entry.packageVersion);
    const facts = [...files.values()].find(file => file.sha256 === entry.sha256);
    if (!facts) throw new Error('the file changed');
    return readFile(facts.path);
  }

  function archivePath(entry: Pick<CatalogEntry, 'packageName' | 'packageVersion'>): string {
    // Both parts have been checked against the manifest's patterns, which allow no path separators.
    return resolve(directory, `${entry.packageName}@${entry.packageVersion}.zip`);
  }

  async function save(next: Upload[]): Promise<void> {
    await writeFileDurably(indexPath, JSON.stringify(next, null, 2));
    uploads = Promise.resolve(next);
  }

  return {
    refresh,
    entries: () => known,
    warnings: () => warnings,
    bytes,
    async keep(zip, { packageName, packageVersion, kind, sha256 }) {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const entry: Upload = { packageName, packageVersion, kind, sha256 };
      await writeFileDurably(archivePath(entry), zip);
      await save([...(await loadUploads()).filter(upload => keyOf(upload) !== keyOf(entry)), entry]);
    },
    async forget(packageName, version) {
      const matches = (upload: Upload) =>
        upload.packageName === packageName && (version === null || upload.packageVersion === version);
      const present = await loadUploads();
      const gone = present.filter(matches);
      if (gone.length === 0) return;
      await save(present.filter(upload => !matches(upload)));
      for (const upload of gone) await rm(archivePath(upload), { force: true });
    },
    reject(packageName, packageVersion, problem) {
      const entry = known.find(item => keyOf(item) === `${packageName}@${packageVersion}`);
      if (!entry) return;
      rejected.set(entry.sha256, problem);
      entry.problem = problem;
    },
  };
}

function keyOf(entry: Pick<CatalogEntry, 'packageName' | 'packageVersion'>): string {
  return `${entry.packageName}@${entry.packageVersion}`;
}

/** Nodes in an order in which those whose bytes most nodes share come first; else by name. */
function majorityFirst(observed: readonly ObservedNode[]): ObservedNode[] {
  const votes = new Map<string, number>();
  for (const { packages } of observed) {
    for (const { sha256 } of packages) votes.set(sha256, (votes.get(sha256) ?? 0) + 1);
  }
  const weight = (node: ObservedNode) =>
    node.packages.reduce((sum, { sha256 }) => sum + (votes.get(sha256) ?? 0), 0) /
    Math.max(1, node.packages.length);
  return [...observed].sort((a, b) => weight(b) - weight(a) || (a.name < b.name ? -1 : 1));
}
