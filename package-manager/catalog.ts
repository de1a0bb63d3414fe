/**
 * The catalog: which versions are stored, which is current, and which were current before. Pure: every change yields
 * a new catalog, and writing it is the moment at which an installation, a removal or a rollback happens.
 *
 * Lists instead of objects by name: a package may be called "constructor".
 */
import { HoldfastError, PACKAGE_NAME_FORM, VERSION_FORM, type Manifest } from '#core';

export interface CatalogVersion {
  version: string;
  /** Of the archive, hex. */
  sha256: string;
  sizeBytes: number;
  installedAt: string;
  /** Of the record, which holds the digests of the files, hex. */
  recordSha256: string;
  manifest: Manifest;
}

export interface CatalogPackage {
  name: string;
  current: string;
  /** Versions that were current before, oldest first. */
  history: string[];
  /** In the order of installation. */
  versions: CatalogVersion[];
}

export interface Catalog {
  format: 1;
  packages: CatalogPackage[];
}

const text = { type: 'string' };
export const packageNameSchema = { type: 'string', ...PACKAGE_NAME_FORM };
export const digestSchema = { type: 'string', pattern: '^[0-9a-f]{64}$' };

/** What catalog and records say of a version alike. */
export const versionProperties = {
  version: { type: 'string', ...VERSION_FORM },
  sha256: digestSchema,
  sizeBytes: { type: 'integer', minimum: 0 },
  installedAt: text,
  manifest: { type: 'object' },
};

/** An object that has all of these properties, and maybe more. */
export function objectWith(properties: Record<string, object>): object {
  return { type: 'object', required: Object.keys(properties), properties };
}

/** JSON Schema of a `Catalog` as it is stored. */
export const CatalogSchema = objectWith({
  format: { const: 1 },
  packages: {
    type: 'array',
    items: objectWith({
      name: packageNameSchema,
      current: text,
      history: { type: 'array', items: text },
      versions: {
        type: 'array',
        minItems: 1,
        items: objectWith({ ...versionProperties, recordSha256: digestSchema }),
      },
    }),
  },
});

const historyMax = 50;

export const emptyCatalog: Catalog = { format: 1, packages: [] };

export function findPackage(catalog: Catalog, name: string): CatalogPackage | undefined {
  return catalog.packages.find(entry => entry.name === name);
}

export function findVersion(catalog: Catalog, name: string, version: string): CatalogVersion | undefined {
  return findPackage(catalog, name)?.versions.find(entry => entry.version === version);
}

/** Adds (or replaces, to repair) a version. The first one of a package is current in any case. */
export function withVersion(
  catalog: Catalog,
  name: string,
  added: CatalogVersion,
  { makeCurrent }: { makeCurrent: boolean },
): Catalog {
  const found = findPackage(catalog, name);
  if (!found) {
    return withPackage(catalog, { name, current: added.version, history: [], versions: [added] });
  }
  const known = found.versions.some(entry => entry.version === added.version);
  const versions = known
    ? found.versions.map(entry => (entry.version === added.version ? added : entry))
    : [...found.versions, added];
  const next = withPackage(catalog, { ...found, versions });
  return makeCurrent ? withCurrent(next, name, added.version) : next;
}

/** Remembers what was current before. */
export function withCurrent(catalog: Catalog, name: string, version: string): Catalog {
  const found = findPackage(catalog, name)!;
  if (found.current === version) return catalog;
  const history = [...found.history, found.current].slice(-historyMax);
  return withPackage(catalog, { ...found, current: version, history });
}

/**
 * Goes back to what was current before; a second rollback goes back one more.
 * @throws HoldfastError HF_ROLLBACK_IMPOSSIBLE
 */
export function withRollback(catalog: Catalog, name: string): Catalog {
  const found = findPackage(catalog, name)!;
  const previous = found.history.at(-1);
  if (previous === undefined) {
    throw new HoldfastError(
      'HF_ROLLBACK_IMPOSSIBLE',
      `no version of ${name} was current before ${found.current}; upload the version that you want with PUT`,
      { details: { packageName: name, current: found.current } },
    );
  }
  return withPackage(catalog, { ...found, current: previous, history: found.history.slice(0, -1) });
}

/**
 * Takes versions out. When the current one goes, what was current before takes its place, or else the one installed last.
 */
export function withoutVersions(catalog: Catalog, name: string, removed: readonly string[]): Catalog {
  const found = findPackage(catalog, name);
  if (!found) return catalog;
  const versions = found.versions.filter(entry => !removed.includes(entry.version));
  if (versions.length === 0) {
    return { ...catalog, packages: catalog.packages.filter(entry => entry !== found) };
  }
  const history = found.history.filter(version => !removed.includes(version));
  const current = removed.includes(found.current)
    ? (history.pop() ?? versions.at(-1)!.version)
    : found.current;
  return withPackage(catalog, { ...found, versions, current, history: withoutRepeats(history, current) });
}

/**
 * Which versions go when at most `keep` may stay: those installed first, but neither the current one nor `keepAlways`
 * (the one being installed, and those in use). More than `keep` stay rather than that one of these goes.
 */
export function surplusVersions(
  catalog: Catalog,
  name: string,
  keep: number,
  keepAlways: (version: string) => boolean,
): string[] {
  const found = findPackage(catalog, name);
  if (!found) return [];
  const surplus = Math.max(0, found.versions.length - keep);
  return found.versions
    .map(entry => entry.version)
    .filter(version => version !== found.current && !keepAlways(version))
    .slice(0, surplus);
}

function withPackage(catalog: Catalog, changed: CatalogPackage): Catalog {
  const others = catalog.packages.filter(entry => entry.name !== changed.name);
  const packages = [...others, changed].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { ...catalog, packages };
}

/** After a removal the same version may follow itself, or precede the current one: a rollback must change something. */
function withoutRepeats(history: readonly string[], current: string): string[] {
  return history.filter((version, index) => version !== (history[index + 1] ?? current));
}
