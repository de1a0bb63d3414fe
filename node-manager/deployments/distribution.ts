/**
 * Packages that are uploaded to the master: one node checks the ZIP, then it is kept and goes to all others that lack it, a bounded number
 * at a time; each answers with the digest of what it stored. What is refused, or conflicts with bytes known under the
 * same version, leaves everything as it was. That the package belongs on every node is written down (`packages` note), so that a
 * node that was away gets it with a later sync, whoever leads then.
 */
import type { MasterUpload } from '#client';
import { HoldfastError, isoTime, type ApiEvent, type PackageInfo, type System } from '#core';
import { createGate } from '../cluster/bounded.ts';
import type { Note } from '../cluster/notes.ts';
import type { ObservedNodeFacts } from '../cluster/node-facts.ts';
import type { Observer } from '../cluster/observer.ts';
import type { PackageCatalog } from '../cluster/package-catalog.ts';
import type { Locks } from '../leadership/locks.ts';
import { resolvePackage, versionsOf } from '../planning/catalog.ts';
import { desiredInstances, MANAGER_PACKAGE } from '../planning/desired.ts';
import { digestOf } from '../cluster/digest.ts';
import type { CurrentSettings, SettingsKeeper } from '../settings/settings-keeper.ts';

/** The version of each uploaded package that belongs on every node: the last one. By package name. */
export type PackagesNote = Readonly<
  Record<string, { packageVersion: string; sha256: string; at: string; by: string }>
>;

export function versionsIn(note: PackagesNote): { packageName: string; packageVersion: string }[] {
  return Object.entries(note).map(([packageName, { packageVersion }]) => ({ packageName, packageVersion }));
}

type Stored = Pick<MasterUpload, 'created' | 'package' | 'nodes'>;

export interface Distribution {
  /**
   * Resolves when every node that answers has it, or has failed to take it.
   * @param makeCurrent it is what starts on the nodes use that name no version
   * @param by who asked, for the record
   * @throws HoldfastError what the first node answers; HF_PACKAGE_CONFLICT; HF_NODE_UNREACHABLE when no node answers
   */
  upload(zip: Buffer, makeCurrent: boolean, by: string): Promise<Stored>;
  /** @throws HoldfastError HF_PACKAGE_NOT_FOUND, HF_PACKAGE_IN_USE */
  remove(packageName: string, version: string | null): Promise<void>;
}

const pushesAtOnce = 16;

export function createDistribution(options: {
  system: System;
  observer: Observer;
  catalog: PackageCatalog;
  settings: SettingsKeeper;
  locks: Locks;
  note: Note<PackagesNote>;
  restarts: () => Readonly<Record<string, string>>;
  /** What deployments under way may have to go back to. */
  returns: () => readonly { deploymentId: string; packageName: string; packageVersion: string }[];
  request: (reason: string) => void;
  onEvent: (event: ApiEvent) => void;
}): Distribution {
  const { system, observer, catalog, settings, note } = options;
  let turn: Promise<unknown> = Promise.resolve();

  /** One at a time in the whole cluster: two uploads of the same version with different bytes must not both find it unknown. */
  function inTurn<Result>(task: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    const result = turn.then(() => options.locks.hold('packages', task));
    turn = result.catch(() => {}); // the caller hears of it; the next one goes on
    return result;
  }

  async function upload(zip: Buffer, makeCurrent: boolean, by: string, lost: AbortSignal): Promise<Stored> {
    const current = requireSettings();
    await observer.refresh({ packages: true });
    await catalog.refresh(current.settings, observer.nodes());
    const known = new Set(catalog.entries().map(entry => `${entry.packageName}@${entry.packageVersion}`));
    const sha256 = await digestOf(zip);
    const first = await uploadToFirst(zip, sha256);
    const info = first.package;
    const { packageName, packageVersion } = info;
    const entry = catalog
      .entries()
      .find(item => item.packageName === packageName && item.packageVersion === packageVersion);
    if (entry && entry.problem === null && entry.sha256 !== sha256) {
      if (first.created)
        await observer.client(first.node).removePackage(packageName, { version: packageVersion });
      throw new HoldfastError(
        'HF_PACKAGE_CONFLICT',
        `${packageName} ${packageVersion} is known with other bytes (${entry.sources.join(', ')}); raise the version`,
        { details: { packageName, packageVersion, sha256: entry.sha256 } },
      );
    }
    const created = !known.has(`${packageName}@${packageVersion}`);
    lost.throwIfAborted();
    await catalog.keep(zip, { ...info, sha256 });
    await note.change(present => {
      const before = present[packageName];
      if (before?.packageVersion === packageVersion && before.sha256 === sha256) return null;
      return { ...present, [packageName]: { packageVersion, sha256, at: isoTime(system.clock), by } };
    });
    tell('package', { packageName, packageVersion, created, by });
    const nodes = await push(zip, { packageName, packageVersion, sha256, makeCurrent }, first.node, lost);
    await catalog.refresh(current.settings, observer.nodes());
    options.request(`${packageName} ${packageVersion} was uploaded`);
    return { created, package: info, nodes };
  }

  async function uploadToFirst(
    zip: Buffer,
    sha256: string,
  ): Promise<{ node: string; created: boolean; package: PackageInfo }> {
    const problems: string[] = [];
    for (const { name, state, packages } of observer.nodes()) {
      if (state !== 'ready') continue;
      try {
        const known = unlessNew(packages, sha256);
        const outcome = await observer.client(name).uploadPackage(zip, { makeCurrent: false, ...known });
        assertSame(sha256, outcome.package.sha256);
        return { node: name, ...outcome };
      } catch (error) {
        const passing = error instanceof HoldfastError && tryNextNode.has(error.code);
        if (!passing) throw error;
        problems.push(`${name}: ${error.message}`);
      }
    }
    throw new HoldfastError(
      'HF_NODE_UNREACHABLE',
      `no node answers that could check and store the package${problems.length > 0 ? `: ${problems.join('; ')}` : ''}`,
    );
  }

  /** To every node that answers and lacks it. One that fails gets it with a later sync. */
  async function push(
    zip: Buffer,
    what: { packageName: string; packageVersion: string; sha256: string; makeCurrent: boolean },
    first: string,
    lost: AbortSignal,
  ): Promise<Record<string, string | null>> {
    const { packageName, packageVersion, sha256, makeCurrent } = what;
    const gate = createGate(pushesAtOnce);
    const outcomes = await Promise.all(
      observer.nodes().map(async node => {
        const { name } = node;
        const failure = await gate(() => pushTo(node));
        tell('package-pushed', { packageName, packageVersion, nodeName: name, problem: failure });
        return [name, failure] as const;
      }),
    );
    return Object.fromEntries(outcomes);

    async function pushTo(node: ObservedNodeFacts): Promise<string | null> {
      if (node.state !== 'ready') return node.problem ?? node.state;
      if ((node.name === first && !makeCurrent) || hasIt(node)) return null;
      try {
        lost.throwIfAborted();
        const known = unlessNew(node.packages, sha256);
        const outcome = await observer.client(node.name).uploadPackage(zip, { makeCurrent, ...known });
        assertSame(sha256, outcome.package.sha256);
        return null;
      } catch (error) {
        return error instanceof HoldfastError ? `${error.code}: ${error.message}` : String(error);
      }
    }
    function hasIt({ packages }: ObservedNodeFacts): boolean {
      const found = packages.find(
        item => item.packageName === packageName && item.packageVersion === packageVersion,
      );
      return found?.sha256 === sha256 && found.status === 'ok' && (found.current || !makeCurrent);
    }
  }

  async function remove(packageName: string, version: string | null): Promise<void> {
    const current = requireSettings();
    await observer.refresh({ packages: true });
    await catalog.refresh(current.settings, observer.nodes());
    const isMeant = (item: { packageName: string; packageVersion: string }) =>
      item.packageName === packageName && (version === null || item.packageVersion === version);
    if (!catalog.entries().some(isMeant)) {
      throw new HoldfastError(
        'HF_PACKAGE_NOT_FOUND',
        `no package ${[packageName, version ?? ''].join(' ').trim()}`,
      );
    }
    const users = usersOf(current, packageName, version);
    if (users.length > 0) {
      throw new HoldfastError('HF_PACKAGE_IN_USE', `${packageName} is used by ${users.join(', ')}`, {
        details: { users },
      });
    }
    await note.change(({ [packageName]: wanted, ...others }) =>
      wanted && (version === null || wanted.packageVersion === version) ? others : null,
    );
    await catalog.forget(packageName, version);
    await Promise.all(
      observer
        .nodes()
        .filter(node => node.state === 'ready' && node.packages.some(isMeant))
        .map(({ name }) =>
          observer.client(name).removePackage(packageName, version === null ? {} : { version }),
        ),
    );
    tell('package-removed', { packageName, packageVersion: version });
    options.request(`${packageName} was removed`);
  }

  /** Who needs it, in words: instances, processes, lists of the settings. */
  function usersOf(
    { settings: now }: CurrentSettings,
    packageName: string,
    version: string | null,
  ): string[] {
    const matches = (name: string | undefined, used: string | undefined) =>
      name === packageName && (version === null || used === version);
    const instances = desiredInstances({
      settings: now,
      catalog: catalog.entries(),
      restarts: options.restarts(),
    })
      .filter(({ packages }) =>
        [packages?.component, packages?.publisher].some(used =>
          matches(used?.packageName, used?.packageVersion),
        ),
      )
      .map(({ settings: instance }) => `the instance ${instance.id}`);
    const lists = [...now.nodePackages, ...now.componentPackages]
      .filter(reference => matches(reference.name, reference.version))
      .map(() => 'the settings');
    const host = resolvePackage(catalog.entries(), now.componentHostPackageName, null).found;
    const isHost = matches(host?.packageName, host?.packageVersion) ? ['every host'] : [];
    const returns = options
      .returns()
      .filter(used => matches(used.packageName, used.packageVersion))
      .map(({ deploymentId }) => `the deployment ${deploymentId}, which may go back to it`);
    const managed = versionsOf(catalog.entries(), MANAGER_PACKAGE)[0];
    const isManager = matches(managed?.packageName, managed?.packageVersion) ? ['the node manager'] : [];
    return [...new Set([...instances, ...returns, ...lists, ...isHost, ...isManager])];
  }

  function requireSettings(): CurrentSettings {
    const current = settings.current();
    if (!current) throw new HoldfastError('HF_UNAVAILABLE', 'the cluster has no valid settings yet');
    return current;
  }

  function tell(type: string, facts: Record<string, unknown>): void {
    options.onEvent({ type, at: isoTime(system.clock), ...facts });
  }

  return {
    upload: (zip, makeCurrent, by) => inTurn(lost => upload(zip, makeCurrent, by, lost)),
    remove: (packageName, version) => inTurn(() => remove(packageName, version)),
  };
}

/** A node that showed these bytes is asked for them first, instead of being sent them. */
function unlessNew(packages: ObservedNodeFacts['packages'], sha256: string): { sha256?: string } {
  return packages.some(item => item.sha256 === sha256) ? { sha256 } : {};
}

/** What says something about the node, and nothing about the package. */
const tryNextNode: ReadonlySet<string> = new Set(['HF_NODE_UNREACHABLE', 'HF_CAPACITY', 'HF_UNAVAILABLE']);

/** @throws HoldfastError HF_PACKAGE_CORRUPT */
function assertSame(ours: string, theirs: string): void {
  if (ours === theirs) return;
  throw new HoldfastError(
    'HF_PACKAGE_CORRUPT',
    `the node stored other bytes (SHA-256 ${theirs}) than were sent (${ours}); look at its disk and its network`,
    { details: { expected: ours, found: theirs } },
  );
}
