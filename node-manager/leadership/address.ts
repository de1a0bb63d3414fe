/** Where others reach this manager's API. Pure. */
import { isLoopback, type ClusterSettings } from '#core';

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

/** What an operator should know: one that was started when it was the only manager may listen where no other machine reaches it. */
export function addressWarnings(
  listening: string | null,
  nodeName: string,
  settings: ClusterSettings | null,
): string[] {
  if (listening === null || !settings || settings.managers === 1) return [];
  const ip = settings.nodeServers.find(node => node.networkName === nodeName)?.networkIp;
  if (ip === undefined || isLoopback(ip) || !isLoopback(new URL(listening).hostname)) return [];
  return [
    `the node manager on ${nodeName} listens on ${listening} only, where other machines do not reach it when it leads; stop it and run bootstrap again`,
  ];
}
