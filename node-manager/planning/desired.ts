/**
 * What shall run: the settings' instances and the implied ones, each with the revision that its copies shall have and, while
 * a rollout is under way, the one that they had before. Pure.
 */
import { fillInstance, type ClusterSettings, type InstanceSettings, type StartProcessRequest } from '#core';
import { resolvePackage } from './catalog.ts';
import type { Catalog, CatalogEntry, PlanInput, Revision } from './model.ts';
import { recallRevision, resolveRevision, type DesiredRevision, type RevisionPackages } from './revision.ts';

/** Its instance is no copy like others: the first is started by `bootstrap`, and none stops itself; see `managers.ts`. */
export const MANAGER_PACKAGE = 'node-manager';
export const ROUTER_PACKAGE = 'router';

export interface DesiredInstance {
  settings: InstanceSettings;
  /** What copies shall be; null while `problem` says why no copy can be started. */
  revision: Revision | null;
  revisionId: string | null;
  packages: RevisionPackages | null;
  problem: string | null;
  /** The same, whole. */
  current: DesiredRevision | null;
  /** What slots beyond the rollout's limit keep, if it is another one and its packages are known. */
  previous: DesiredRevision | null;
  /** Why the previous one is meant, but cannot be started. */
  previousProblem: string | null;
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
    const recalled = before && recallRevision(before, { catalog, hostPackageName, sessionTtlMs });
    const current = outcome.made;
    const previous = recalled?.made ?? null;
    return {
      settings: instance,
      revision: current?.revision ?? null,
      revisionId: current?.revisionId ?? null,
      packages: current?.packages ?? null,
      problem: outcome.made === null ? outcome.problem : null,
      current,
      previous: previous?.revisionId === current?.revisionId ? null : previous,
      previousProblem: recalled?.made === null ? recalled.problem : null,
      start(slot) {
        if (!current) throw new Error(`${instance.id} has no package to start`);
        return current.start(slot);
      },
    };
  });
}

/** The parts of a settingsId that a manager made, `instanceId/slot/generation`; null for any other. */
export function parseSettingsId(
  settingsId: string | null,
): { instanceId: string; slot: string; generation: string } | null {
  if (settingsId === null) return null;
  // By hand: there may be a hundred thousand in a plan.
  const slotAt = settingsId.indexOf('/') + 1;
  const generationAt = settingsId.length - generationLength;
  if (slotAt < 2 || generationAt - 1 <= slotAt || settingsId.indexOf('/', slotAt) !== generationAt - 1)
    return null;
  for (let index = generationAt; index < settingsId.length; index++) {
    const code = settingsId.charCodeAt(index);
    if (!((code >= 48 && code <= 57) || (code >= 97 && code <= 102))) return null;
  }
  return {
    instanceId: settingsId.slice(0, slotAt - 1),
    slot: settingsId.slice(slotAt, generationAt - 1),
    generation: settingsId.slice(generationAt),
  };
}

const generationLength = 12;
