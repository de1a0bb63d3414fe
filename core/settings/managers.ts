/** How node managers are started, and where they listen. One that others must reach, because it may have to lead, listens on its node's address unless told otherwise. Pure. */
import type { StartProcessRequest } from '../api-types.ts';
import { DEFAULTS } from '../limits.ts';
import { jsonPath, type Problem } from '../problems.ts';
import type { ClusterSettings } from './model.ts';

const managerPackage = 'node-manager';

/** @param networkIp the address of its node; null: any, on the machine where the cluster is started */
export function managerAddress(
  settings: Pick<ClusterSettings, 'managers' | 'componentInstances'>,
  networkIp: string | null,
): { host: string; port: number } {
  const declared = settings.componentInstances.find(instance => instance.packageName === managerPackage);
  const { host, port } = declared?.settings ?? {};
  const address = networkIp?.replace(/^\[|\]$/g, '') ?? '127.0.0.1';
  const reached = settings.managers > 1 && !isLoopback(address);
  return {
    host: typeof host === 'string' ? host : reached ? address : '127.0.0.1',
    port: typeof port === 'number' ? port : DEFAULTS.masterPort,
  };
}

/** Nobody starts a manager again but its agent: it goes on trying, at last every 10 s. */
const tireless = { maxAttempts: 1_000, windowMs: 60_000, backoffMs: 200, backoffMaxMs: 10_000 };

/** A manager as the settings declare it; they need not. */
export function managerRequest(
  settings: ClusterSettings,
  settingsFile: string | null,
  networkIp: string,
): StartProcessRequest {
  const declared = settings.componentInstances.find(instance => instance.packageName === managerPackage);
  const memoryMb = declared?.resources.memoryMb ?? null;
  return {
    instanceId: managerPackage,
    settings: {
      ...declared?.settings,
      ...(settingsFile === null ? {} : { settingsFile }),
      ...managerAddress(settings, networkIp),
    },
    restart: declared?.restart ?? tireless,
    ...(declared ? { env: declared.env } : {}),
    ...(memoryMb === null ? {} : { memoryMb }),
    sessionTtlMs: settings.sessionTtlMs,
  };
}

export function managerProblems(settings: ClusterSettings): Problem[] {
  const index = settings.componentInstances.findIndex(instance => instance.packageName === managerPackage);
  const host = settings.componentInstances[index]?.settings.host;
  const machines = new Set(settings.nodeServers.map(node => node.networkIp));
  if (settings.managers === 1 || machines.size === 1 || typeof host !== 'string' || !isLoopback(host)) {
    return [];
  }
  return [
    {
      path: jsonPath(['componentInstances', index, 'settings', 'host']),
      value: host,
      expected: `an address that other machines reach, because one of ${settings.managers} managers may lead from any: "0.0.0.0", or none (then each listens on the networkIp of its node)`,
    },
  ];
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.[0-9]{1,3}){3}$/.test(host);
}
