/**
 * What keeps a backup from being restored: anything that runs, is owned or is configured besides what makes a cluster restore it. Each in words
 * that say what to do. Pure.
 */
import type { ClusterSettings, KeyRecord } from '#core';
import { MANAGER_PACKAGE, ROUTER_PACKAGE } from '../planning/desired.ts';
import type { CatalogEntry, ObservedNode } from '../planning/model.ts';
import type { PackageOfBackup } from './format.ts';

export interface ClusterFacts {
  settings: ClusterSettings | null;
  nodes: readonly ObservedNode[];
  catalog: readonly CatalogEntry[];
  /** One key that the directory knows, if it knows any. */
  key: KeyRecord | null;
}

const own = new Set([MANAGER_PACKAGE, ROUTER_PACKAGE]);

export function obstaclesTo(packages: readonly PackageOfBackup[], facts: ClusterFacts): string[] {
  const { settings, nodes, catalog, key } = facts;
  const instances = (settings?.componentInstances ?? []).filter(({ packageName }) => !own.has(packageName));
  return [
    ...instances.map(({ id }) => `the settings have the instance ${id}: take it out`),
    ...nodes.flatMap(({ name, state, processes }) =>
      state === 'ready'
        ? processes
            .filter(({ component }) => component !== null && !own.has(component.packageName))
            .map(
              ({ processId, component }) => `${processId} runs ${component!.instanceId} on ${name}: stop it`,
            )
        : [
            `the node ${name} is ${state}, and may run anything: bring it back, or take it out of the settings`,
          ],
    ),
    ...(key
      ? [
          `the directory knows the key ${key.key} of ${key.pool}: this store was in use; restore into a new one ` +
            '(another database of Redis, a machine without .holdfast/coordination)',
        ]
      : []),
    ...conflicts(packages, catalog)
      .filter(({ packageName }) => !isOwnPackage(packageName, settings))
      .map(one => `${one.packageName} ${one.packageVersion} is here with other bytes: remove it`),
  ];
}

/** Packages that the cluster has with other bytes under the same version. */
export function conflicts(
  packages: readonly PackageOfBackup[],
  catalog: readonly CatalogEntry[],
): PackageOfBackup[] {
  return packages.filter(one => {
    const here = find(catalog, one);
    return here !== undefined && here.sha256 !== one.sha256;
  });
}

export function isHere(one: PackageOfBackup, catalog: readonly CatalogEntry[]): boolean {
  const here = find(catalog, one);
  return here?.sha256 === one.sha256 && here.problem === null;
}

/** What runs the cluster that restores: its own bytes stay, because it runs from them. */
function isOwnPackage(packageName: string, settings: ClusterSettings | null): boolean {
  return own.has(packageName) || packageName === (settings?.componentHostPackageName ?? 'component-host');
}

function find(catalog: readonly CatalogEntry[], one: PackageOfBackup): CatalogEntry | undefined {
  return catalog.find(
    ({ packageName, packageVersion }) =>
      packageName === one.packageName && packageVersion === one.packageVersion,
  );
}
