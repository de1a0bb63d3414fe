/** Which version of a package is meant. Pure. */
import semver from 'semver';
import type { Catalog, CatalogEntry } from './model.ts';

/** All usable versions of a package, newest first; releases before pre-releases. */
export function versionsOf(catalog: Catalog, packageName: string): CatalogEntry[] {
  return catalog
    .filter(entry => entry.packageName === packageName && entry.problem === null)
    .sort(
      (a, b) =>
        Number(isPrerelease(a)) - Number(isPrerelease(b)) ||
        semver.compareBuild(b.packageVersion, a.packageVersion),
    );
}

export type Resolution = { found: CatalogEntry } | { found: null; problem: string };

/** The version asked for, or (null) the newest known. */
export function resolvePackage(catalog: Catalog, packageName: string, version: string | null): Resolution {
  const wanted = catalog.filter(
    entry => entry.packageName === packageName && (version === null || entry.packageVersion === version),
  );
  const usable = versionsOf(wanted, packageName);
  if (usable[0]) return { found: usable[0] };
  const name = version === null ? packageName : `${packageName} ${version}`;
  const [refused] = wanted;
  return {
    found: null,
    problem: refused
      ? `package ${name} cannot be used: ${refused.problem}`
      : `package ${name} is not known: upload it, or give its packagePath in the settings`,
  };
}

function isPrerelease(entry: CatalogEntry): boolean {
  return semver.prerelease(entry.packageVersion) !== null;
}
