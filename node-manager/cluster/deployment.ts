/**
 * Packages that are uploaded to the master: one node checks the ZIP, then it is kept and goes to all others at once. What is
 * refused, or conflicts with bytes known under the same version, leaves everything as it was.
 */
import type { MasterUpload } from '#client';
import { HoldfastError, isoTime, type ApiEvent, type PackageInfo, type System } from '#core';
import { resolvePackage, versionsOf } from '../planning/catalog.ts';
import { desiredInstances, MANAGER_PACKAGE } from '../planning/desired.ts';
import { sha256Of } from '../settings/decision.ts';
import { setPackageVersion } from '../settings/edit.ts';
import type { Locks } from '../leadership/locks.ts';
import type { SettingsKeeper } from '../settings/settings-keeper.ts';
import type { Observer } from './observer.ts';
import type { PackageCatalog } from './package-catalog.ts';

export interface Deployment {
  /**
   * @param makeCurrent also sets the version in the settings of all instances that use the package
   * @param by who asked, for the record
   * @throws HoldfastError what the first node answers; HF_PACKAGE_CONFLICT; HF_NODE_UNREACHABLE when no node answers
   */
  upload(zip: Buffer, makeCurrent: boolean, by: string): Promise<MasterUpload>;
  /** @throws HoldfastError HF_PACKAGE_NOT_FOUND, HF_PACKAGE_IN_USE */
  remove(packageName: string, version: string | null): Promise<void>;
}

export function createDeployment(options: {
  system: System;
  observer: Observer;
  catalog: PackageCatalog;
  settings: SettingsKeeper;
  locks: Locks;
  restarts: () => Readonly<Record<string, string>>;
  request: (reason: string) => void;
  onEvent: (event: ApiEvent) => void;
}): Deployment {
  const { system, observer, catalog, settings } = options;
  let turn: Promise<unknown> = Promise.resolve();

  /** One at a time in the whole cluster: two uploads of the same version with different bytes must not both find it unknown. */
  function inTurn<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = turn.then(() => options.locks.hold('packages', task));
    turn = result.catch(() => {}); // the caller hears of it; the next one goes on
    return result;
  }

  async function upload(zip: Buffer, makeCurrent: boolean, by: string): Promise<MasterUpload> {
    const current = requireSettings();
    await observer.refresh({ packages: true });
    await catalog.refresh(current.settings, observer.nodes());
    const known = new Set(catalog.entries().map(entry => `${entry.packageName}@${entry.packageVersion}`));
    const first = await uploadToFirst(zip);
    const info = first.package;
    const entry = catalog
      .entries()
      .find(item => item.packageName === info.packageName && item.packageVersion === info.packageVersion);
    const sha256 = sha256Of(zip);
    if (entry && entry.problem === null && entry.sha256 !== sha256) {
      if (first.created) {
        await observer.client(first.node).removePackage(info.packageName, { version: info.packageVersion });
      }
      throw new HoldfastError(
        'HF_PACKAGE_CONFLICT',
        `${info.packageName} ${info.packageVersion} is known with other bytes (${entry.sources.join(', ')}); raise the version`,
        {
          details: {
            packageName: info.packageName,
            packageVersion: info.packageVersion,
            sha256: entry.sha256,
          },
        },
      );
    }
    const created = !known.has(`${info.packageName}@${info.packageVersion}`);
    await catalog.keep(zip, info);
    tell('package', { packageName: info.packageName, packageVersion: info.packageVersion, created });
    const nodes = await push(zip, info, makeCurrent);
    await catalog.refresh(current.settings, observer.nodes());
    const rolled = makeCurrent ? await setVersion(info, by) : { instances: [], etag: null };
    options.request(`${info.packageName} ${info.packageVersion} was uploaded`);
    return { created, package: info, nodes, instances: rolled.instances, settingsEtag: rolled.etag };
  }

  async function uploadToFirst(
    zip: Buffer,
  ): Promise<{ node: string; created: boolean; package: PackageInfo }> {
    const problems: string[] = [];
    for (const { name, state } of observer.nodes()) {
      if (state !== 'ready') continue;
      try {
        return { node: name, ...(await observer.client(name).uploadPackage(zip, { makeCurrent: false })) };
      } catch (error) {
        if (!(error instanceof HoldfastError) || error.code !== 'HF_NODE_UNREACHABLE') throw error;
        problems.push(`${name}: ${error.message}`);
      }
    }
    throw new HoldfastError(
      'HF_NODE_UNREACHABLE',
      `no node answers that could check and store the package${problems.length > 0 ? `: ${problems.join('; ')}` : ''}`,
    );
  }

  /** To every node that answers. One that fails gets it with a later sync, if an instance needs it there. */
  async function push(
    zip: Buffer,
    info: PackageInfo,
    makeCurrent: boolean,
  ): Promise<Record<string, string | null>> {
    const { packageName, packageVersion } = info;
    const outcomes = await Promise.all(
      observer.nodes().map(async ({ name, state, problem }) => {
        let failure: string | null = null;
        if (state !== 'ready') failure = problem ?? state;
        else {
          await observer
            .client(name)
            .uploadPackage(zip, { makeCurrent })
            .catch((error: unknown) => (failure = String((error as Error).message)));
        }
        tell('package-pushed', { packageName, packageVersion, nodeName: name, problem: failure });
        return [name, failure] as const;
      }),
    );
    return Object.fromEntries(outcomes);
  }

  async function setVersion(
    info: PackageInfo,
    by: string,
  ): Promise<{ instances: string[]; etag: string | null }> {
    for (let attempt = 0; attempt < 5; attempt++) {
      const { text, etag } = requireSettings();
      const edited = setPackageVersion(text, info.packageName, info.packageVersion);
      if (edited.text === text) return { instances: edited.instances, etag: null };
      try {
        const next = await settings.put(edited.text, etag, by);
        return { instances: edited.instances, etag: next.etag };
      } catch (error) {
        if (!(error instanceof HoldfastError) || error.code !== 'HF_SETTINGS_CONFLICT') throw error;
        await settings.reconcile(); // somebody else edited: the change is made again on theirs
      }
    }
    throw new HoldfastError(
      'HF_SETTINGS_CONFLICT',
      'the settings are changed by others all the time; try again',
    );
  }

  async function remove(packageName: string, version: string | null): Promise<void> {
    const current = requireSettings();
    await observer.refresh({ packages: true });
    await catalog.refresh(current.settings, observer.nodes());
    const known = catalog
      .entries()
      .filter(
        entry => entry.packageName === packageName && (version === null || entry.packageVersion === version),
      );
    if (known.length === 0) {
      throw new HoldfastError(
        'HF_PACKAGE_NOT_FOUND',
        `no package ${[packageName, version ?? ''].join(' ').trim()}`,
      );
    }
    const users = usersOf(packageName, version);
    if (users.length > 0) {
      throw new HoldfastError('HF_PACKAGE_IN_USE', `${packageName} is used by ${users.join(', ')}`, {
        details: { users },
      });
    }
    await catalog.forget(packageName, version);
    await Promise.all(
      observer
        .nodes()
        .filter(node => node.state === 'ready')
        .map(async ({ name, packages }) => {
          const here = packages.some(
            item => item.packageName === packageName && (version === null || item.packageVersion === version),
          );
          if (here)
            await observer.client(name).removePackage(packageName, version === null ? {} : { version });
        }),
    );
    tell('package-removed', { packageName, packageVersion: version });
    options.request(`${packageName} was removed`);
  }

  /** Who needs it, in words: instances, processes, lists of the settings. */
  function usersOf(packageName: string, version: string | null): string[] {
    const { settings: now } = requireSettings();
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
    const managed = versionsOf(catalog.entries(), MANAGER_PACKAGE)[0];
    const isManager = matches(managed?.packageName, managed?.packageVersion) ? ['the node manager'] : [];
    return [...new Set([...instances, ...lists, ...isHost, ...isManager])];
  }

  function requireSettings() {
    const current = settings.current();
    if (!current) throw new HoldfastError('HF_UNAVAILABLE', 'the cluster has no valid settings yet');
    return current;
  }

  function tell(type: string, facts: Record<string, unknown>): void {
    options.onEvent({ type, at: isoTime(system.clock), ...facts });
  }

  return {
    upload: (zip, makeCurrent, by) => inTurn(() => upload(zip, makeCurrent, by)),
    remove: (packageName, version) => inTurn(() => remove(packageName, version)),
  };
}
