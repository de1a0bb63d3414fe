/** Where everything lies below the store's folder. Names and versions come checked from manifests (or the catalog's schema). */
import { join } from 'node:path';

export interface StoreLayout {
  readonly root: string;
  readonly catalog: string;
  readonly archives: string;
  /** What is being built or thrown away: emptied at every opening. */
  readonly staging: string;
  packageFolder(name: string): string;
  versionFolder(name: string, version: string): string;
  archive(name: string, version: string): string;
  /** The version's own description with the digest of each file, beside its archive. */
  record(name: string, version: string): string;
}

export function storeLayout(root: string): StoreLayout {
  const archives = join(root, 'archives');
  return {
    root,
    catalog: join(root, 'catalog.json'),
    archives,
    staging: join(root, 'staging'),
    packageFolder: name => join(root, name),
    versionFolder: (name, version) => join(root, name, version),
    archive: (name, version) => join(archives, `${name}-${version}.zip`),
    record: (name, version) => join(archives, `${name}-${version}.json`),
  };
}
