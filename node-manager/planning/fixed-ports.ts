/**
 * Which port a copy would listen on, where that is fixed: then a second copy cannot run beside it at the same address. Two nodes of
 * one machine share an address. Copies whose setting `reusePort` is true share their port, and so hinder nobody. Pure.
 */
import type { ObservedNode } from './model.ts';
import type { DesiredRevision } from './revision.ts';

export interface FixedPorts {
  /** The port of a slot; null: none, or a free one is taken. */
  portOf(target: DesiredRevision, slot: string): number | null;
}

export function createFixedPorts(observed: readonly ObservedNode[]): FixedPorts {
  const defaults = new Map<string, number | null>();

  /** What the manifest says; that of another version, while nobody has seen this one. */
  function defaultPort(packageName: string, packageVersion: string): number | null {
    const key = `${packageName}@${packageVersion}`;
    let port = defaults.get(key);
    if (port === undefined) defaults.set(key, (port = portIn(observed, packageName, packageVersion)));
    return port;
  }

  return {
    portOf({ revision }, slot) {
      const { instance, packageVersion } = revision;
      if (instance.settings.reusePort === true) return null;
      const own = instance.ports.length === 0 ? undefined : instance.ports[Number(slot)];
      const port =
        own ??
        ('port' in instance.settings
          ? instance.settings.port
          : defaultPort(instance.packageName, packageVersion));
      return typeof port === 'number' && port > 0 ? port : null;
    },
  };
}

function portIn(
  observed: readonly ObservedNode[],
  packageName: string,
  packageVersion: string,
): number | null {
  let another: number | null = null;
  for (const { packages } of observed) {
    for (const found of packages) {
      if (found.packageName !== packageName) continue;
      const port = found.manifest?.defaultConfiguration?.port;
      const fixed = typeof port === 'number' && port > 0 ? port : null;
      if (found.packageVersion === packageVersion && found.manifest) return fixed;
      another ??= fixed;
    }
  }
  return another;
}
