/**
 * Edits of the settings that set the version of a package wherever it is used: after an upload that shall roll, and for a rollback.
 * When somebody else edits at the same moment, the change is made again on theirs.
 */
import { HoldfastError, type PackageRollback } from '#core';
import type { PackageCatalog } from '../cluster/package-catalog.ts';
import { desiredInstances, effectiveInstances } from '../planning/desired.ts';
import { setPackageVersion } from '../settings/edit.ts';
import type { CurrentSettings, SettingsKeeper } from '../settings/settings-keeper.ts';
import type { Deployments } from './deployments.ts';
import type { CanaryRequest } from './model.ts';
import { decideRollback } from './package-rollback.ts';
import { pinnedInstance, withHostVersion } from './restore.ts';

export interface VersionChange {
  /**
   * Rolls all instances that use the package to the version.
   * @param canary makes these deployments canaries; null: as each instance's settings say
   */
  roll(
    packageName: string,
    packageVersion: string,
    options: { by: string; canary: CanaryRequest | null },
  ): Promise<{ instances: string[]; etag: string | null }>;
  /** @throws HoldfastError HF_PACKAGE_NOT_FOUND, HF_ROLLBACK_IMPOSSIBLE */
  rollback(packageName: string, by: string): Promise<PackageRollback>;
}

const attemptsMax = 5;

export function createVersionChange(options: {
  settings: SettingsKeeper;
  catalog: PackageCatalog;
  deployments: Deployments;
  restarts: () => Readonly<Record<string, string>>;
}): VersionChange {
  const { settings, catalog, deployments } = options;

  /** @param change the new text, and what to answer */
  async function edit<Answer>(
    by: string,
    change: (current: CurrentSettings) => Promise<{ text: string; answer: Answer }>,
  ): Promise<{ answer: Answer; etag: string | null }> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const current = settings.current();
      if (!current) throw new HoldfastError('HF_UNAVAILABLE', 'the cluster has no valid settings yet');
      const { text, answer } = await change(current);
      if (text === current.text) return { answer, etag: null };
      try {
        const { etag } = await settings.put(text, current.etag, by);
        return { answer, etag };
      } catch (error) {
        if (!(error instanceof HoldfastError) || error.code !== 'HF_SETTINGS_CONFLICT') throw error;
        await settings.reconcile();
      }
    }
    throw new HoldfastError(
      'HF_SETTINGS_CONFLICT',
      'the settings are changed by others all the time; try again',
    );
  }

  return {
    async roll(packageName, packageVersion, { by, canary }) {
      const { answer, etag } = await edit(by, async current => {
        const { text, instances } = setPackageVersion(current.text, packageName, packageVersion);
        if (canary && text !== current.text) {
          const using = effectiveInstances(current.settings, catalog.entries());
          const rolled = using.filter(instance => instance.packageName === packageName);
          await deployments.askForCanaries(
            rolled.map(({ id }) => id),
            packageVersion,
            canary,
          );
        }
        return { text, answer: instances };
      });
      return { instances: answer, etag };
    },
    async rollback(packageName, by) {
      const { answer, etag } = await edit(by, async current => {
        const entries = catalog.entries();
        const hostPackageName = current.settings.componentHostPackageName;
        const decision = decideRollback(deployments.state(), {
          packageName,
          hostPackageName,
          desired: desiredInstances({
            settings: current.settings,
            catalog: entries,
            restarts: options.restarts(),
          }),
          catalog: entries,
        });
        const { to, underWay, instances } = decision;
        if (underWay) return { text: current.text, answer: decision };
        if (packageName === hostPackageName) {
          return { text: withHostVersion(current.text, packageName, to), answer: decision };
        }
        const text = instances.reduce(
          (edited, id) => pinnedInstance(edited, { id, packageName, packageVersion: to }),
          current.text,
        );
        return { text, answer: decision };
      });
      const { from, to, instances } = answer;
      return { packageName, from, to, instances, settingsEtag: etag };
    },
  };
}
