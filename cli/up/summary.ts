/** What `up` prints when the cluster runs: where everything is, and a first request to try. Pure. */
import type { ClusterSettings } from '#core';
import type { ClusterFile } from '../cluster-location.ts';

export function describeCluster(
  file: ClusterFile,
  options: { settings: ClusterSettings; tokenPath: string; seconds: number },
): string {
  const lines = [
    '',
    `Cluster ${file.clusterName} is up after ${options.seconds.toFixed(1)} s.`,
    '',
    `  router  ${file.routerUri}`,
    `  master  ${file.masterUri}`,
    ...file.nodes.map(node => `  ${node.networkName.padEnd(6)}  ${node.nodeApiUri}`),
    `  token   ${options.tokenPath}`,
  ];
  const curl = firstCurl(file.routerUri, options.settings);
  if (curl) lines.push('', 'Try it:', '', ...curl.map(line => `  ${line}`));
  lines.push('', `Edit ${file.settingsFile} to change what runs. Ctrl-C stops everything.`, '');
  return lines.join('\n');
}

/** A request that works at once, for the sample components; otherwise for whatever has a route. */
export function firstCurl(routerUri: string, settings: ClusterSettings): string[] | null {
  const routed = settings.routes.map(route => ({
    prefix: route.pathPrefix.replace(/\/+$/, ''),
    packageName: settings.componentInstances.find(instance => instance.id === route.componentInstanceId)
      ?.packageName,
  }));
  const database = routed.find(route => route.packageName === 'sqlite-service');
  if (database) {
    return [
      `curl ${routerUri}${database.prefix}/customers -H 'content-type: application/json' \\`,
      `  -d '{"query": "SELECT count(*) AS customers FROM customers"}'`,
    ];
  }
  const [first] = routed;
  return first ? [`curl ${routerUri}${first.prefix || '/'}`] : null;
}
