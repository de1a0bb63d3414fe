/** What the status shows of an instance. Pure. */
import type { MasterInstance } from '#core';
import type { Copy } from './copies.ts';
import type { Slots } from './pairing.ts';
import { isCurrent } from './slots.ts';

export function reportOf({ instance, slots, surplus, departing }: Slots, problems: string[]): MasterInstance {
  const versions: Record<string, number> = {};
  const nodes = new Set<string>();
  let live = 0;
  let running = 0;
  const count = (copy: Copy) => {
    live++;
    versions[copy.packageVersion] = (versions[copy.packageVersion] ?? 0) + 1;
    nodes.add(copy.node);
  };
  const serves = (name: string, copy: Copy | null) =>
    copy !== null && copy.reachable && copy.condition === 'healthy' && isCurrent(instance, name, copy);
  for (const { name, stays, goes } of slots) {
    if (stays) count(stays);
    if (goes) count(goes.copy);
    if (serves(name, stays) || serves(name, goes?.copy ?? null)) running++;
  }
  for (const { copy } of surplus) count(copy);
  departing.forEach(count);
  return {
    id: instance.settings.id,
    packageName: instance.settings.packageName,
    packageVersion: instance.packages?.component.packageVersion ?? instance.settings.packageVersion,
    desired: slots.length,
    running,
    live,
    versions,
    nodes: [...nodes].sort(),
    problems,
    deployment: null,
  };
}
