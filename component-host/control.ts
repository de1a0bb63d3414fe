/**
 * The commands that a host takes, from its agent over the private channel and from operators over REST, in one place:
 * both go through the same lifecycle. Packages named over REST come from the host's own store, opened when first used.
 */
import { join } from 'node:path';
import {
  DEFAULTS,
  HoldfastError,
  type HostConfiguration,
  type HostLaunch,
  type HostStatus,
  type InstalledPackage,
  type Settings,
  type System,
} from '#core';
import type { PackageStore } from '#package-manager';
import type { Lifecycle } from './lifecycle.ts';
import type { LoadedPackage } from './loader.ts';
import { defaultProfile } from './profile.ts';
import type { Workload } from './workload.ts';

/** Which of the two packages of a host. */
export type Role = 'component' | 'publisher';

export interface HostControl {
  configure(configuration: HostConfiguration): Promise<HostStatus>;
  start(): Promise<HostStatus>;
  stop(): Promise<HostStatus>;
  shutdown(graceMs?: number): Promise<HostStatus>;
  /** Loads one package of the host's own store (or the one that is configured already) with new settings. */
  initialise(role: Role, packageName: string, settings: Settings): Promise<HostStatus>;
  /** @throws HoldfastError HF_NOT_FOUND when another package, or none, has this role */
  startRole(role: Role, packageName: string): Promise<HostStatus>;
  stopRole(role: Role, packageName: string): Promise<HostStatus>;
  /** The host's own packages. */
  packages(): Promise<PackageStore>;
  close(): Promise<void>;
}

export interface ControlOptions {
  launch: HostLaunch;
  system: System;
  lifecycle: Lifecycle;
  workload: Workload;
  status: () => HostStatus;
  shutdown: (params: { graceMs: number }) => Promise<HostStatus>;
}

export function createControl({
  launch,
  system,
  lifecycle,
  workload,
  status,
  shutdown,
}: ControlOptions): HostControl {
  let store: Promise<PackageStore> | undefined;
  let byAgent = false;

  function packages(): Promise<PackageStore> {
    store ??= import('#package-manager').then(({ openPackageStore }) =>
      openPackageStore({ directory: join(launch.hostDirectory, 'packages'), system, inUse: isLoaded }),
    );
    return store;
  }

  function isLoaded(name: string, version: string): boolean {
    return [workload.component, workload.publisher].some(
      loaded => loaded?.manifest.packageName === name && loaded.manifest.packageVersion === version,
    );
  }

  function loadedAs(role: Role): LoadedPackage<unknown> | null {
    return role === 'component' ? workload.component : workload.publisher;
  }

  async function find(role: Role, packageName: string): Promise<InstalledPackage> {
    const own = await packages();
    const loaded = loadedAs(role)?.installed;
    // An upload made since takes precedence over what is loaded: that is how a version is replaced.
    const stored = own.list().some(entry => entry.packageName === packageName && entry.current);
    if (!stored && loaded?.packageName === packageName) return loaded;
    const { directory, packageVersion } = await own.verifyOne(
      packageName,
      own.get(packageName).packageVersion,
    );
    return { packageName, packageVersion, directory };
  }

  function mustBe(role: Role, packageName: string): void {
    const loaded = loadedAs(role)?.manifest.packageName;
    if (loaded === packageName) return;
    throw new HoldfastError(
      'HF_NOT_FOUND',
      `the ${role} of this host is ${loaded ?? 'not initialised'}, not ${packageName}`,
      { details: { [role]: loaded ?? null } },
    );
  }

  return {
    async configure({ component, settings, publisher, settingsChecked, ...profile }) {
      await lifecycle.configure('both', () =>
        workload.load({
          profile,
          component: { component, settings },
          publisher,
          checked: settingsChecked === true,
        }),
      );
      byAgent = true;
      return status();
    },
    async start() {
      await lifecycle.start();
      return status();
    },
    async stop() {
      await lifecycle.stop();
      return status();
    },
    shutdown: (graceMs = DEFAULTS.stopGraceMs) => shutdown({ graceMs }),
    async initialise(role, packageName, settings) {
      const installed = await find(role, packageName);
      // A profile from the agent stays; otherwise the component's name stands for the instance.
      const known = workload.profile;
      const keep = known !== null && (byAgent || role === 'publisher');
      const profile = keep ? known : defaultProfile(packageName);
      await lifecycle.configure(role, () =>
        workload.load({
          profile,
          ...(role === 'component'
            ? { component: { component: installed, settings } }
            : { publisher: { ...installed, settings } }),
        }),
      );
      return status();
    },
    async startRole(role, packageName) {
      mustBe(role, packageName);
      await lifecycle.start(role === 'publisher' ? 'publisher' : 'all');
      return status();
    },
    async stopRole(role, packageName) {
      mustBe(role, packageName);
      await lifecycle.stop(role);
      return status();
    },
    packages,
    async close() {
      await (await store?.catch(() => null))?.close(); // a store that did not open is not to be closed
    },
  };
}
