/**
 * A revision of an instance: all that makes one copy differ from another but its slot, with the request that starts a
 * copy of it. A slot's generation is a hash of all that the request and its packages hold, so a copy is of a revision exactly when
 * its `settingsId` is the one that the revision gives to its slot, and a start can be repeated without harm. Pure.
 */
import { createHash } from 'node:crypto';
import { canonicalJson, DEFAULTS, type InstanceSettings, type StartProcessRequest } from '#core';
import { resolvePackage } from './catalog.ts';
import type { Catalog, CatalogEntry, Revision } from './model.ts';

/** What a node must have before a copy can start. */
export interface RevisionPackages {
  component: CatalogEntry;
  publisher: CatalogEntry | null;
  /** Null: each node's own choice. */
  host: CatalogEntry | null;
}

export interface DesiredRevision {
  revision: Revision;
  /** The same for all slots, and the same as long as no copy has to be started again: 12 hex digits. */
  revisionId: string;
  packages: RevisionPackages;
  /** The last part of the slot's settingsId. */
  generation(slot: string): string;
  start(slot: string): { settingsId: string; request: StartProcessRequest };
}

export type RevisionOutcome = { made: DesiredRevision } | { made: null; problem: string };

/** The versions that are meant where the settings leave them open, and the revision that follows from them. */
export function resolveRevision(
  instance: InstanceSettings,
  context: { catalog: Catalog; host: CatalogEntry | null; restart: string | null; sessionTtlMs: number },
): RevisionOutcome {
  const { catalog, host, restart, sessionTtlMs } = context;
  const component = resolvePackage(catalog, instance.packageName, instance.packageVersion);
  if (component.found === null) return { made: null, problem: component.problem };
  let publisher: CatalogEntry | null = null;
  if (instance.messagePublisher) {
    const { packageName, packageVersion } = instance.messagePublisher;
    const outcome = resolvePackage(catalog, packageName, packageVersion);
    if (outcome.found === null) return { made: null, problem: outcome.problem };
    publisher = outcome.found;
  }
  const packages = { component: component.found, publisher, host };
  return { made: remembered(instance, packages, restart, sessionTtlMs) };
}

/** A revision that was meant before, if its packages are still known. */
export function recallRevision(
  revision: Revision,
  context: { catalog: Catalog; hostPackageName: string; sessionTtlMs: number },
): RevisionOutcome {
  const { catalog, hostPackageName, sessionTtlMs } = context;
  const { hostVersion, restart } = revision;
  const host = hostVersion === null ? null : resolvePackage(catalog, hostPackageName, hostVersion);
  if (host?.found === null) return { made: null, problem: host.problem };
  return resolveRevision(pinned(revision.instance, revision), {
    catalog,
    host: host?.found ?? null,
    restart,
    sessionTtlMs,
  });
}

function pinned(
  instance: InstanceSettings,
  { packageVersion, publisherVersion }: Pick<Revision, 'packageVersion' | 'publisherVersion'>,
): InstanceSettings {
  const { messagePublisher } = instance;
  return {
    ...instance,
    packageVersion,
    messagePublisher: messagePublisher && { ...messagePublisher, packageVersion: publisherVersion },
  };
}

/** Settings objects live as long as the document, and hashing a thousand of them for every plan would be most of its time. */
const lastMade = new WeakMap<InstanceSettings, { key: string; made: DesiredRevision }>();

function remembered(
  instance: InstanceSettings,
  packages: RevisionPackages,
  restart: string | null,
  sessionTtlMs: number,
): DesiredRevision {
  const { component, publisher, host } = packages;
  const key = [component, publisher, host]
    .map(entry => (entry ? `${entry.packageName}@${entry.packageVersion} ${entry.sha256}` : ''))
    .concat(String(sessionTtlMs), restart ?? '')
    .join('\n');
  const before = lastMade.get(instance);
  if (before?.key === key) return before.made;
  const made = make(instance, packages, restart, sessionTtlMs);
  lastMade.set(instance, { key, made });
  return made;
}

function make(
  instance: InstanceSettings,
  packages: RevisionPackages,
  restart: string | null,
  sessionTtlMs: number,
): DesiredRevision {
  const { component, publisher, host } = packages;
  const versions = {
    packageVersion: component.packageVersion,
    publisherVersion: publisher?.packageVersion ?? null,
  };
  const template = startRequest(instance, packages, sessionTtlMs);
  const bytes = [component.sha256, publisher?.sha256 ?? null, restart];
  let shared: ReturnType<typeof ofSlot> | null = null;
  const made = new Map<number | undefined, { generation: string; request: StartProcessRequest }>();
  return {
    revision: {
      instance: pinned(instance, versions),
      ...versions,
      hostVersion: host?.packageVersion ?? null,
      restart,
    },
    revisionId: hash([template, instance.ports, bytes]),
    packages,
    generation: slot => (instance.ports.length === 0 ? common().generation : ofSlot(slot).generation),
    start(slot) {
      const { generation, request } = ofSlot(slot);
      const settingsId = `${instance.id}/${slot}/${generation}`;
      return { settingsId, request: { settingsId, ...request } };
    },
  };

  function common() {
    return (shared ??= ofSlot(''));
  }

  /** Slots differ only by their port, so the hash is made once for all slots without one. */
  function ofSlot(slot: string): { generation: string; request: StartProcessRequest } {
    const port = instance.ports.length === 0 ? undefined : instance.ports[Number(slot)];
    const present = made.get(port);
    if (present) return present;
    const request = port === undefined ? template : { ...template, settings: { ...instance.settings, port } };
    const created = { generation: hash([request, bytes]), request };
    made.set(port, created);
    return created;
  }
}

function startRequest(
  instance: InstanceSettings,
  { component, publisher, host }: RevisionPackages,
  sessionTtlMs: number,
): StartProcessRequest {
  const { messagePublisher, resources, health } = instance;
  const usualHealth = health.livenessMs === DEFAULTS.livenessMs && health.http === null;
  return {
    instanceId: instance.id,
    settings: instance.settings,
    ...(messagePublisher && publisher
      ? {
          messagePublisher: {
            packageName: messagePublisher.packageName,
            packageVersion: publisher.packageVersion,
            settings: messagePublisher.settings,
          },
        }
      : {}),
    version: component.packageVersion,
    ...(host ? { hostVersion: host.packageVersion } : {}),
    env: instance.env,
    restart: instance.restart,
    ...(resources.memoryMb === null ? {} : { memoryMb: resources.memoryMb }),
    concurrency: instance.concurrency,
    // Left out where they are the defaults, so that what was started without them need not be started again.
    ...(instance.idleMs === 0 ? {} : { idleMs: instance.idleMs }),
    ...(instance.onAuthorityLoss === 'stop' ? {} : { onAuthorityLoss: instance.onAuthorityLoss }),
    ...(usualHealth ? {} : { health }),
    sessionTtlMs,
  };
}

/** Reordering the settings file restarts nothing. */
function hash(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 12);
}
