/**
 * What shall run: the settings' instances and the implied ones, each with its package resolved and, for every slot, the
 * request that starts it. A slot's generation is a hash of all that the request and its packages hold, so a copy
 * is up to date exactly when its `settingsId` is the desired one, and a start can be repeated without harm. Pure.
 */
import { createHash } from 'node:crypto';
import {
  canonicalJson,
  fillInstance,
  type ClusterSettings,
  type InstanceSettings,
  type StartProcessRequest,
} from '#core';
import { resolvePackage } from './catalog.ts';
import type { Catalog, CatalogEntry, PlanInput } from './model.ts';

/** The package that is never planned: managers are started by `bootstrap`, and do not stop themselves. */
export const MANAGER_PACKAGE = 'node-manager';
export const ROUTER_PACKAGE = 'router';

export interface DesiredInstance {
  settings: InstanceSettings;
  /** Null while `problem` says why no copy can be started. */
  packages: { component: CatalogEntry; publisher: CatalogEntry | null } | null;
  problem: string | null;
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
  input: Pick<PlanInput, 'settings' | 'catalog' | 'restarts'>,
): DesiredInstance[] {
  const { settings, catalog, restarts } = input;
  const host = desiredHostPackage(settings, catalog);
  return effectiveInstances(settings, catalog).map(instance => {
    const component = resolvePackage(catalog, instance.packageName, instance.packageVersion);
    const publisher =
      instance.messagePublisher &&
      resolvePackage(
        catalog,
        instance.messagePublisher.packageName,
        instance.messagePublisher.packageVersion,
      );
    const problem =
      component.found === null
        ? component.problem
        : publisher && publisher.found === null
          ? publisher.problem
          : null;
    const packages = component.found
      ? { component: component.found, publisher: publisher?.found ?? null }
      : null;

    const made = new Map<string, { settingsId: string; request: StartProcessRequest }>();
    function start(slot: string) {
      if (!packages || problem !== null) throw new Error(`${instance.id} has no package to start`);
      const port = /^[0-9]+$/.test(slot) ? instance.ports[Number(slot)] : undefined;
      const key = port === undefined ? '' : String(port);
      // Slots differ only by their port, so the hash is made once for all slots without one.
      let template = made.get(key);
      if (!template) {
        const request = startRequest(instance, packages, settings.sessionTtlMs, port);
        const generation = hash([
          request,
          packages.component.sha256,
          packages.publisher?.sha256 ?? null,
          host?.packageVersion ?? null,
          restarts[instance.id] ?? null,
        ]);
        made.set(key, (template = { settingsId: generation, request }));
      }
      const settingsId = `${instance.id}/${slot}/${template.settingsId}`;
      return { settingsId, request: { settingsId, ...template.request } };
    }
    return { settings: instance, packages: problem === null ? packages : null, problem, start };
  });
}

/** The parts of a settingsId that a manager made; null for any other. */
export function parseSettingsId(
  settingsId: string | null,
): { instanceId: string; slot: string; generation: string } | null {
  const match = /^([^/]+)\/([^/]+)\/([0-9a-f]{12})$/.exec(settingsId ?? '');
  return match ? { instanceId: match[1]!, slot: match[2]!, generation: match[3]! } : null;
}

function startRequest(
  instance: InstanceSettings,
  packages: { component: CatalogEntry; publisher: CatalogEntry | null },
  sessionTtlMs: number,
  port: number | undefined,
): StartProcessRequest {
  const { messagePublisher, resources } = instance;
  return {
    instanceId: instance.id,
    settings: port === undefined ? instance.settings : { ...instance.settings, port },
    ...(messagePublisher && packages.publisher
      ? {
          messagePublisher: {
            packageName: messagePublisher.packageName,
            packageVersion: packages.publisher.packageVersion,
            settings: messagePublisher.settings,
          },
        }
      : {}),
    version: packages.component.packageVersion,
    env: instance.env,
    restart: instance.restart,
    ...(resources.memoryMb === null ? {} : { memoryMb: resources.memoryMb }),
    concurrency: instance.concurrency,
    // Left out where they are the defaults, so that what was started without them need not be started again.
    ...(instance.idleMs === 0 ? {} : { idleMs: instance.idleMs }),
    ...(instance.onAuthorityLoss === 'stop' ? {} : { onAuthorityLoss: instance.onAuthorityLoss }),
    sessionTtlMs,
  };
}

/** Reordering the settings file restarts nothing. */
function hash(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 12);
}
