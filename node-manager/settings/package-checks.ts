/**
 * What only the packages can tell about the settings: whether an instance names a component, and whether its settings fit
 * the schema of the version that it uses. Found before anything is stopped for a start that cannot work. A package
 * that no node has read yet says nothing here; its first start does. Pure.
 */
import {
  configure,
  HoldfastError,
  jsonPath,
  type ClusterSettings,
  type Manifest,
  type PackageInfo,
  type Problem,
} from '#core';
import { resolvePackage } from '../planning/catalog.ts';
import type { Catalog } from '../planning/model.ts';

type ReadPackage = Pick<PackageInfo, 'packageName' | 'packageVersion' | 'sha256'> & { manifest?: Manifest };
type Use = { packageName: string; packageVersion: string | null; settings: Record<string, unknown> };

export function packageProblems(
  settings: ClusterSettings,
  catalog: Catalog,
  installed: readonly ReadPackage[],
): Problem[] {
  function problemsOf(use: Use, kind: Manifest['kind'], at: readonly (string | number)[]): Problem[] {
    const { found } = resolvePackage(catalog, use.packageName, use.packageVersion);
    const manifest = installed.find(
      item =>
        item.packageName === found?.packageName &&
        item.packageVersion === found.packageVersion &&
        item.sha256 === found.sha256,
    )?.manifest;
    if (!manifest) return [];
    if (manifest.kind !== kind) {
      const expected = `a package of kind ${kind}, not ${manifest.kind}`;
      return [{ path: jsonPath([...at, 'packageName']), value: use.packageName, expected }];
    }
    return misfits(manifest, use.settings, jsonPath([...at, 'settings']));
  }

  return settings.componentInstances.flatMap((instance, index) => {
    const at = ['componentInstances', index] as const;
    const [port] = instance.ports;
    const own = port === undefined ? instance.settings : { ...instance.settings, port };
    const publisher = instance.messagePublisher;
    return [
      ...problemsOf({ ...instance, settings: own }, 'component', at),
      ...(publisher ? problemsOf(publisher, 'publisher', [...at, 'messagePublisher']) : []),
    ];
  });
}

/** What stands for a secret is known on the nodes only, so values that hold such a reference are left to them. */
function misfits(manifest: Manifest, settings: Record<string, unknown>, at: string): Problem[] {
  const hidden = Object.keys(settings)
    .filter(name => JSON.stringify(settings[name])?.includes('"secretRef":'))
    .map(name => at + jsonPath([name]).slice(1));
  try {
    configure(manifest, settings, at);
    return [];
  } catch (error) {
    if (!(error instanceof HoldfastError) || !Array.isArray(error.details.problems)) throw error;
    const problems = error.details.problems as Problem[];
    return problems.filter(
      ({ path }) =>
        !hidden.some(
          place => path === place || (/^[.[]/.test(path.slice(place.length)) && path.startsWith(place)),
        ),
    );
  }
}
