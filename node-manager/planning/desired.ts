/**
 * What shall run: the settings' instances and the implied ones, each with the revision that its copies shall have and, while
 * a rollout is under way, the one that they had before. Pure.
 */
import { fillInstance, type ClusterSettings, type InstanceSettings, type StartProcessRequest } from '#core';
import { resolvePackage } from './catalog.ts';
import type { Catalog, CatalogEntry, PlanInput, Revision } from './model.ts';
import { recallRevision, resolveRevision, type DesiredRevision, type RevisionPackages } from './revision.ts';

/** The package that is never planned: managers are started by `bootstrap`, and do not stop themselves. */
export const MANAGER_PACKAGE = 'node-manager';
export const ROUTER_PACKAGE = 'router';

export interface DesiredInstance {
  settings: InstanceSettings;
  /** What copies shall be; null while `problem` says why no copy can be started. */
  revision: Revision | null;
  revisionId: string | null;
  packages: RevisionPackages | null;
  problem: string | null;
  /** What slots beyond the rollout's limit keep, if it is another one and its packages are known. */
  previous: DesiredRevision | null;
  /** @throws Error while there is a `problem` */
  start(slot: string): { settingsId: string; request: StartProcessRequest };
}

/** The instances of the settings, and a router unless they declare one. Instances of the manager itself are left out. */
export function effectiveInstances(settings: ClusterSettings, catalog: Catalog): InstanceSettings[] {
  const declared = settings.componentInstances.filter(instance => instance.packageName !== MANAGER_PACKAGE);
  const implied =
    !declared.some(instance => instance.packageName === ROUTER_PACKAGE || instance.id === ROUTER_PACKAGE) &&
    catalog.some(entry => entry.packageName === ROUTER_PACKAGE);
  return implied
    ? [...declared, fillInstance({ id: ROUTER_PACKAGE, packageName: ROUTER_PACKAGE, instances: 1 })]
    : declared;
}

/** The host package that nodes shall use, or null to leave the choice to each node. */
export function desiredHostPackage(settings: ClusterSettings, catalog: Catalog): CatalogEntry | null {
  const name = settings.componentHostPackageName;
  const listed = settings.nodePackages.filter(reference => reference.name === name);
  const known = catalog.filter(
    entry =>
      listed.length === 0 ||
      entry.packageName !== name ||
      listed.some(reference => reference.version === entry.packageVersion),
  );
  return resolvePackage(known, name, null).found;
}

export function desiredInstances(
  input: Pick<PlanInput, 'settings' | 'catalog' | 'restarts'> & Partial<Pick<PlanInput, 'rollouts'>>,
): DesiredInstance[] {
  const { settings, catalog, restarts } = input;
  const host = desiredHostPackage(settings, catalog);
  const { sessionTtlMs, componentHostPackageName: hostPackageName } = settings;
  return effectiveInstances(settings, catalog).map(instance => {
    const restart = restarts[instance.id] ?? null;
    const outcome = resolveRevision(instance, { catalog, host, restart, sessionTtlMs });
    const before = input.rollouts?.[instance.id]?.previous ?? null;
    const previous = before && recallRevision(before, { catalog, hostPackageName, sessionTtlMs }).made;
    if (outcome.made === null) {
      return {
        settings: instance,
        revision: null,
        revisionId: null,
        packages: null,
        problem: outcome.problem,
        previous,
        start() {
          throw new Error(`${instance.id} has no package to start`);
        },
      };
    }
    const { revision, revisionId, packages, start } = outcome.made;
    return {
      settings: instance,
      revision,
      revisionId,
      packages,
      problem: null,
      previous: previous?.revisionId === revisionId ? null : previous,
      start,
    };
  });
}

/** The parts of a settingsId that a manager made; null for any other. */
export function parseSettingsId(
  settingsId: string | null,
): { instanceId: string; slot: string; generation: string } | null {
  const match = /^([^/]+)\/([^/]+)\/([0-9a-f]{12})$/.exec(settingsId ?? '');
  return match ? { instanceId: match[1]!, slot: match[2]!, generation: match[3]! } : null;
}
