/**
 * Packages on disk, versions side by side. The catalog is the truth: an operation has happened when the catalog that
 * says so has been written, and not before; files are put in place before that and removed after it. So a crash at
 * any point leaves either the old state or the new one, and the next opening sweeps the rest.
 *
 * One process owns a store (a folder lock) and its changes run one after the other; only the receiving of archives,
 * which can be slow, happens side by side.
 */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { deepFreeze, HoldfastError, isoTime, lockFolder, syncDirectory, type FolderLock } from '#core';
import type { Low } from 'lowdb';
import { createQueue, forEachBounded } from './bounded.ts';
import { fileSource } from './byte-source.ts';
import {
  findPackage,
  findVersion,
  surplusVersions,
  withCurrent,
  withoutVersions,
  withRollback,
  withVersion,
  type Catalog,
  type CatalogPackage,
  type CatalogVersion,
} from './catalog.ts';
import { inspectPackage, type InspectionRules } from './inspection.ts';
import {
  buildVersion,
  discardVersion,
  placeVersion,
  type InstallationStep,
  type StagedArchive,
} from './installation.ts';
import { storeLayout, type StoreLayout } from './layout.ts';
import { defaultPackageLimits } from './limits.ts';
import { openCatalog, prepareFolder, removeIfEmpty, sweep } from './opening.ts';
import { copyArchive, expectErrors, type PackageSource } from './package-source.ts';
import { conflict, corrupt, diskError, inUse, notFound, unknownDigest } from './store-errors.ts';
import type {
  PackageStore,
  PackageStoreOptions,
  StoredPackage,
  StoreStep,
  VerifyResult,
} from './store-contract.ts';
import { checkVersion, recheckVersion, type VersionHealth } from './version-health.ts';

/**
 * Opens the store: takes its lock, finishes or undoes what a crash interrupted, checks every installed file.
 * @throws HoldfastError HF_ALREADY_RUNNING, HF_STATE_UNUSABLE
 */
export async function openPackageStore(options: PackageStoreOptions): Promise<PackageStore> {
  const layout = storeLayout(resolve(options.directory));
  try {
    await prepareFolder(layout);
    const lock = lockFolder(layout.root);
    try {
      const database = await openCatalog(layout, options.log, options.onStep);
      await sweep(layout, database.data);
      const store = new DiskPackageStore(options, layout, database, lock);
      await store.verify();
      return store;
    } catch (error) {
      lock.release();
      throw error;
    }
  } catch (error) {
    throw diskError(error, layout.root);
  }
}

class DiskPackageStore implements PackageStore {
  readonly #options: PackageStoreOptions;
  readonly #layout: StoreLayout;
  readonly #database: Low<Catalog>;
  readonly #lock: FolderLock;
  readonly #rules: InspectionRules;
  readonly #queue = createQueue();
  /** What was committed last; `#database.data` may be one ahead while it is written. */
  #catalog: Catalog;
  readonly #health = new Map<string, VersionHealth>();
  #closing: Promise<void> | null = null;

  constructor(options: PackageStoreOptions, layout: StoreLayout, database: Low<Catalog>, lock: FolderLock) {
    this.#options = options;
    this.#layout = layout;
    this.#database = database;
    this.#lock = lock;
    this.#catalog = deepFreeze(database.data);
    this.#rules = {
      limits: { ...defaultPackageLimits, ...options.limits },
      nodeVersion: options.nodeVersion ?? process.versions.node,
    };
  }

  async install(
    source: PackageSource,
    { makeCurrent }: { makeCurrent: boolean },
  ): Promise<{ package: StoredPackage; created: boolean }> {
    expectErrors(source);
    this.#assertOpen();
    const folder = join(this.#layout.staging, this.#options.system.random.id(16));
    try {
      await mkdir(folder, { mode: 0o700 });
      const staged = await this.#stage(source, folder);
      await this.#step('staged');
      return await this.#change(() => this.#installStaged(staged, makeCurrent));
    } catch (error) {
      throw diskError(error, this.#layout.root);
    } finally {
      await this.#tolerant(() => rm(folder, { recursive: true, force: true }), { folder });
    }
  }

  useStored(sha256: string, { makeCurrent }: { makeCurrent: boolean }): Promise<StoredPackage> {
    return this.#change(async () => {
      const stored = this.list().find(entry => entry.sha256 === sha256 && entry.problem === undefined);
      if (!stored) throw unknownDigest(sha256);
      const { packageName: name, packageVersion: version } = stored;
      if (makeCurrent) await this.#commit(withCurrent(this.#catalog, name, version));
      return this.get(name, version);
    });
  }

  list(): StoredPackage[] {
    return this.#catalog.packages.flatMap(found =>
      found.versions.map(stored => this.#describe(found, stored)),
    );
  }

  get(name: string, version?: string): StoredPackage {
    return this.#describe(...this.#find(name, version));
  }

  remove(name: string, version?: string): Promise<void> {
    return this.#change(async () => {
      const [found, stored] = this.#find(name, version);
      const versions = version === undefined ? found.versions.map(entry => entry.version) : [stored.version];
      const used = versions.filter(candidate => this.#isInUse(name, candidate));
      if (used.length > 0) throw inUse(name, used);
      await this.#commit(withoutVersions(this.#catalog, name, versions));
      await this.#discardVersions(name, versions);
      this.#options.log?.info({ packageName: name, versions }, 'package removed');
    });
  }

  rollback(name: string): Promise<StoredPackage> {
    return this.#change(async () => {
      this.#find(name);
      const next = withRollback(this.#catalog, name);
      await this.verifyOne(name, findPackage(next, name)!.current);
      await this.#commit(next);
      const current = this.get(name);
      this.#options.log?.info(
        { packageName: name, packageVersion: current.packageVersion },
        'package rolled back',
      );
      return current;
    });
  }

  archivePath(name: string, version: string): string {
    const [, stored] = this.#find(name, version);
    const problem = this.#health.get(healthKey(name, stored.version))?.archiveProblem ?? null;
    if (problem !== null) throw corrupt(name, version, problem);
    return this.#layout.archive(name, version);
  }

  verify(): Promise<VerifyResult> {
    return this.#change(async () => {
      const versions = this.#catalog.packages.flatMap(({ name, versions }) =>
        versions.map(stored => ({ name, stored })),
      );
      await forEachBounded(versions, 2, async ({ name, stored }) => {
        this.#setHealth(name, stored.version, await checkVersion(this.#layout, name, stored));
      });
      const damaged = this.list().filter(entry => entry.status === 'corrupt');
      return { checked: versions.length, corrupt: damaged };
    });
  }

  async verifyOne(name: string, version: string): Promise<StoredPackage> {
    this.#find(name, version);
    const last = this.#health.get(healthKey(name, version))!;
    const health = await recheckVersion(this.#layout, name, version, last);
    // Meanwhile it may have been removed, or mended by another installation whose result is the newer one.
    const [found, stored] = this.#find(name, version);
    if (this.#health.get(healthKey(name, version)) === last) this.#setHealth(name, version, health);
    const result = this.#describe(found, stored);
    if (result.status === 'corrupt') throw corrupt(name, version, result.problem ?? 'it is damaged');
    return result;
  }

  close(): Promise<void> {
    this.#closing ??= this.#queue.run(async () => this.#lock.release());
    return this.#closing;
  }

  async #stage(source: PackageSource, folder: string): Promise<StagedArchive> {
    const path = join(folder, 'archive.zip');
    await using file = await open(path, 'wx', 0o600);
    const digest = await copyArchive(source, file, this.#rules.limits);
    await file.sync();
    return { ...digest, folder, path };
  }

  async #installStaged(
    staged: StagedArchive,
    makeCurrent: boolean,
  ): Promise<{ package: StoredPackage; created: boolean }> {
    await using file = await open(staged.path, 'r');
    const source = fileSource(file, staged.sizeBytes);
    const inspection = await inspectPackage(source, this.#rules);
    await this.#step('inspected');
    const { packageName: name, packageVersion: version } = inspection.manifest;
    const known = findVersion(this.#catalog, name, version);
    this.#assertNoConflict(name, version, staged, known);
    const health = known && this.#health.get(healthKey(name, version));
    if (health?.problem === null) {
      if (health.archiveProblem !== null) await this.#mendArchive(name, version, staged, health);
      if (makeCurrent) await this.#commit(withCurrent(this.#catalog, name, version));
      return { package: this.get(name, version), created: false };
    }
    const installedAt = known?.installedAt ?? isoTime(this.#options.system.clock);
    const step = (reached: InstallationStep) => this.#step(reached);
    const exact = fileSource(file, staged.sizeBytes, 0);
    const built = await buildVersion(exact, inspection, staged, installedAt, step);
    let surplus: string[];
    try {
      await placeVersion(this.#layout, name, version, staged, step);
      this.#setHealth(name, version, built.health); // before the catalog names it, for `verifyOne`
      const added = withVersion(this.#catalog, name, built.version, { makeCurrent });
      surplus = surplusVersions(
        added,
        name,
        this.#options.keepVersions ?? 5,
        candidate => candidate === version || this.#isInUse(name, candidate),
      );
      await this.#commit(withoutVersions(added, name, surplus));
    } catch (error) {
      // A version that was known and damaged keeps what was put in place: those are its right files.
      if (!known) await this.#discardVersions(name, [version]);
      throw error;
    }
    await this.#discardVersions(name, surplus);
    this.#options.log?.info(
      { packageName: name, packageVersion: version, sha256: staged.sha256, removed: surplus },
      known ? 'package mended' : 'package installed',
    );
    return { package: this.get(name, version), created: known === undefined };
  }

  /** The installed files are right and may be in use: they stay where they are. */
  async #mendArchive(
    name: string,
    version: string,
    staged: StagedArchive,
    health: VersionHealth,
  ): Promise<void> {
    await rename(staged.path, this.#layout.archive(name, version));
    await syncDirectory(this.#layout.archives);
    this.#setHealth(name, version, { ...health, archiveProblem: null });
  }

  #assertNoConflict(name: string, version: string, staged: StagedArchive, known?: CatalogVersion): void {
    if (known && known.sha256 !== staged.sha256) {
      throw conflict(name, version, 'it is stored with other bytes; give the new content a new version', {
        stored: known.sha256,
        sent: staged.sha256,
      });
    }
    // `a` in version `1.0.0-b-2.0.0` and `a-1.0.0-b` in version `2.0.0` would share the archive's name.
    const archive = this.#layout.archive(name, version);
    const twin = this.list().find(
      other =>
        (other.packageName !== name || other.packageVersion !== version) &&
        this.#layout.archive(other.packageName, other.packageVersion) === archive,
    );
    if (twin) {
      throw conflict(
        name,
        version,
        `${twin.packageName} ${twin.packageVersion} has the same archive name`,
        {},
      );
    }
  }

  async #commit(next: Catalog): Promise<void> {
    if (next === this.#catalog) return;
    await this.#step('committing');
    this.#database.data = deepFreeze(next);
    try {
      await this.#database.write();
    } catch (error) {
      this.#database.data = this.#catalog;
      throw error;
    }
    this.#catalog = next;
    await this.#step('committed');
  }

  /** After the commit nothing may fail any more: what cannot be removed now is swept at the next opening. */
  async #discardVersions(name: string, versions: readonly string[]): Promise<void> {
    if (versions.length === 0) return;
    for (const version of versions) {
      if (!findVersion(this.#catalog, name, version)) this.#health.delete(healthKey(name, version));
      const trash = join(this.#layout.staging, this.#options.system.random.id(16));
      await this.#tolerant(() => discardVersion(this.#layout, name, version, trash), { name, version });
    }
    await this.#tolerant(() => removeIfEmpty(this.#layout.packageFolder(name)), { name });
    await this.#tolerant(() => syncDirectory(this.#layout.root), { name });
    await this.#step('discarded');
  }

  async #tolerant(removal: () => Promise<void>, facts: object): Promise<void> {
    try {
      await removal();
    } catch (error) {
      this.#options.log?.warn({ ...facts, err: error }, 'package files could not be removed');
    }
  }

  #find(name: string, version?: string): [CatalogPackage, CatalogVersion] {
    const found = findPackage(this.#catalog, name);
    const stored = found?.versions.find(entry => entry.version === (version ?? found.current));
    if (!found || !stored) throw notFound(name, version, found?.versions.map(entry => entry.version) ?? []);
    return [found, stored];
  }

  #describe(found: CatalogPackage, stored: CatalogVersion): StoredPackage {
    const { manifest } = stored;
    const health = this.#health.get(healthKey(found.name, stored.version));
    const problem = health?.problem ?? health?.archiveProblem ?? null;
    return {
      packageName: found.name,
      packageVersion: stored.version,
      kind: manifest.kind,
      description: manifest.description ?? '',
      sha256: stored.sha256,
      sizeBytes: stored.sizeBytes,
      current: found.current === stored.version,
      installedAt: stored.installedAt,
      status: (health?.problem ?? null) === null ? 'ok' : 'corrupt',
      ...(problem === null ? {} : { problem }),
      manifest,
      directory: this.#layout.versionFolder(found.name, stored.version),
    };
  }

  #setHealth(name: string, version: string, health: VersionHealth): void {
    const key = healthKey(name, version);
    const before = this.#health.get(key);
    this.#health.set(key, health);
    const problem = health.problem ?? health.archiveProblem;
    if (problem !== null && problem !== (before?.problem ?? before?.archiveProblem)) {
      this.#options.log?.error({ packageName: name, packageVersion: version, problem }, 'package is damaged');
    }
  }

  #isInUse(name: string, version: string): boolean {
    return this.#options.inUse?.(name, version) ?? false;
  }

  #change<Result>(task: () => Promise<Result>): Promise<Result> {
    return this.#queue.run(async () => {
      this.#assertOpen();
      try {
        return await task();
      } catch (error) {
        throw diskError(error, this.#layout.root);
      }
    });
  }

  #assertOpen(): void {
    if (this.#closing) throw new HoldfastError('HF_UNAVAILABLE', 'the package store is closed');
  }

  async #step(step: StoreStep): Promise<void> {
    await this.#options.onStep?.(step);
  }
}

/** Package names have no "@". */
function healthKey(name: string, version: string): string {
  return `${name}@${version}`;
}
