/**
 * Brings a store's folder into a state that the catalog describes: whatever an interrupted operation left is removed,
 * because only what the catalog names has happened. After the catalog had to be taken from its backup, or was lost, it
 * is the other way round: what is installed completely is taken up again.
 */
import { readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FOLDER_LOCK_FILES, HoldfastError, makeFolder, ownSchema, type Logger } from '#core';
import { Low } from 'lowdb';
import semver from 'semver';
import {
  CatalogSchema,
  emptyCatalog,
  findVersion,
  withoutVersions,
  withVersion,
  type Catalog,
  packageNameSchema,
} from './catalog.ts';
import { createDurableAdapter, type DurableAdapterOptions } from './durable-adapter.ts';
import type { StoreLayout } from './layout.ts';
import { catalogVersion, readRecord } from './version-record.ts';

/** @throws HoldfastError HF_STATE_UNUSABLE when the folder holds something else: it would be swept away */
export async function prepareFolder(layout: StoreLayout): Promise<void> {
  await makeFolder(layout.root);
  const found = await readdir(layout.root);
  const isStore = found.some(name => ['catalog.json', 'catalog.json.backup', 'archives'].includes(name));
  const foreign = found.filter(
    name => !FOLDER_LOCK_FILES.includes(name) && name !== 'staging' && !isTemporaryCatalog(name),
  );
  if (!isStore && foreign.length > 0) {
    throw new HoldfastError(
      'HF_STATE_UNUSABLE',
      `${layout.root} is not a package store and not empty (${foreign.slice(0, 3).join(', ')}); choose an empty folder`,
      { details: { directory: layout.root } },
    );
  }
}

/** Reads the catalog, or makes a first one; repairs it from what is installed if it is not the newest generation. */
export async function openCatalog(
  layout: StoreLayout,
  log: Logger | undefined,
  onStep: DurableAdapterOptions['onStep'],
): Promise<Low<Catalog>> {
  const validate = ownSchema(CatalogSchema);
  let problem: string | null = null;
  const adapter = createDurableAdapter<Catalog>(layout.catalog, {
    isUsable: value => validate(value).length === 0,
    onRecovered: reason => (problem = reason),
    ...(onStep ? { onStep } : {}),
  });
  const database = new Low<Catalog>(adapter, emptyCatalog);
  await makeFolder(layout.archives);
  await makeFolder(layout.staging);
  const read = await adapter.read();
  if (read && problem === null) {
    database.data = read;
    return database;
  }
  database.data = await withInstalled(read ?? emptyCatalog, layout);
  await database.write();
  if (problem !== null) log?.warn({ file: layout.catalog, problem }, 'package catalog recovered');
  return database;
}

/** Removes what the catalog does not name. Only folders that look like ours are touched. */
export async function sweep(layout: StoreLayout, catalog: Catalog): Promise<void> {
  const known = new Set(
    catalog.packages.flatMap(({ name, versions }) =>
      versions.flatMap(({ version }) => [
        layout.versionFolder(name, version),
        layout.archive(name, version),
        layout.record(name, version),
      ]),
    ),
  );
  const problemsOfName = ownSchema(packageNameSchema);
  for (const name of await readdir(layout.archives)) {
    const path = join(layout.archives, name);
    if (!known.has(path)) await rm(path, { recursive: true, force: true });
  }
  for (const entry of await readdir(layout.root, { withFileTypes: true })) {
    const path = join(layout.root, entry.name);
    if (isTemporaryCatalog(entry.name)) await rm(path, { force: true });
    if (!entry.isDirectory() || path === layout.archives || path === layout.staging) continue;
    if (problemsOfName(entry.name).length > 0) continue;
    for (const version of await readdir(path)) {
      const unknown = !known.has(join(path, version)) && semver.valid(version) !== null;
      // Out of sight in one step first: a removal that is interrupted must not leave half a version under its name.
      if (unknown) await rename(join(path, version), join(layout.staging, `${entry.name}-${version}`));
    }
    await removeIfEmpty(path);
  }
  for (const name of await readdir(layout.staging)) {
    await rm(join(layout.staging, name), { recursive: true, force: true });
  }
}

/** Package folders go with their last version. */
export async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT') throw error;
  }
}

/** The catalog with all that is on disk completely, and without what is not there at all. */
async function withInstalled(catalog: Catalog, layout: StoreLayout): Promise<Catalog> {
  let next = catalog;
  for (const { name, versions } of catalog.packages) {
    for (const { version } of versions) {
      if (!(await exists(layout.versionFolder(name, version)))) next = withoutVersions(next, name, [version]);
    }
  }
  const found = [];
  for (const fileName of await readdir(layout.archives)) {
    if (fileName.endsWith('.json')) found.push(await readRecord(join(layout.archives, fileName)));
  }
  const records = found.filter(entry => entry !== null);
  records.sort((a, b) => (a.record.installedAt < b.record.installedAt ? -1 : 1));
  for (const entry of records) {
    const { name, version } = entry.record;
    if (findVersion(next, name, version)) continue;
    if (!(await exists(layout.versionFolder(name, version)))) continue;
    if (!(await exists(layout.archive(name, version)))) continue;
    next = withVersion(next, name, catalogVersion(entry), { makeCurrent: false });
  }
  return next;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function isTemporaryCatalog(name: string): boolean {
  return /^catalog\.json\..*tmp$/.test(name);
}
