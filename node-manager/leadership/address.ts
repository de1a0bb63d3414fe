/** Where others reach this manager's API. Pure. */
import type { ClusterSettings } from '#core';

/**
 * What it listens on, unless that is every address of its machine: then the one that the settings give its node.
 * @returns null while that is not known
 */
export function advertisedUri(
  listening: string | null,
  nodeName: string,
  settings: ClusterSettings | null,
): string | null {
  if (listening === null) return null;
  const url = new URL(listening);
  if (url.hostname !== '0.0.0.0' && url.hostname !== '[::]') return listening;
  const ip = settings?.nodeServers.find(node => node.networkName === nodeName)?.networkIp;
  if (ip === undefined) return null;
  return `http://${ip.includes(':') && !ip.startsWith('[') ? `[${ip}]` : ip}:${url.port}`;
}
