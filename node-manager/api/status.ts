/** What the master API shows of the cluster, made from what is known. Pure. */
import type { MasterPackage } from '#client';
import type { ClusterSettings, MasterHost, MasterNode, ResourceInfo, Claim } from '#core';
import type { ObservedNodeFacts } from '../cluster/node-facts.ts';
import type { KnownPackage } from '../cluster/package-catalog.ts';
import { nodeEvenness } from '../evenness/evenness.ts';
import { copiesLeft, isEmpty, type MaintenanceNote } from '../maintenance/nodes.ts';
import { desiredInstances, ROUTER_PACKAGE, effectiveInstances } from '../planning/desired.ts';
import type { Plan } from '../planning/model.ts';

/** The port that a router listens on unless its settings say otherwise. */
const defaultRouterPort = 8000;

export function masterNodes(
  settings: ClusterSettings,
  observed: readonly ObservedNodeFacts[],
  plan: Plan | null,
  maintenance: MaintenanceNote,
): MasterNode[] {
  const configured = new Map(settings.nodeServers.map(node => [node.networkName, node]));
  return observed.map(node => {
    const problems = [
      ...(node.problem === null ? [] : [node.problem]),
      ...(plan?.nodeProblems[node.name] ?? []),
      ...(configured.has(node.name)
        ? []
        : ['it is not in the settings any more; its copies are being moved']),
    ];
    return {
      networkName: node.name,
      nodeApiUri: node.nodeApiUri,
      state: node.state,
      lastSeen: node.lastSeenAt,
      problem: problems.length === 0 ? null : problems.join('; '),
      capacity: configured.get(node.name)?.capacity ?? 0,
      labels: configured.get(node.name)?.labels ?? {},
      processes: node.processes.length,
      maintenance: maintenance[node.name] ?? null,
      copies: copiesLeft(node),
      drained: maintenance[node.name]?.state === 'draining' && isEmpty(node),
      pressure: [...node.pressure],
      flapping: node.flapping,
      evenness: nodeEvenness(node.processes),
    };
  });
}

export function masterHosts(observed: readonly ObservedNodeFacts[]): MasterHost[] {
  return observed.flatMap(node =>
    node.processes.map(({ healthySinceMs: _healthySinceMs, ...process }) => ({
      ...process,
      nodeName: node.name,
      nodeApiUri: node.nodeApiUri,
    })),
  );
}

export function masterPackages(
  settings: ClusterSettings,
  known: readonly KnownPackage[],
  observed: readonly ObservedNodeFacts[],
  restarts: Readonly<Record<string, string>>,
): MasterPackage[] {
  const desired = desiredInstances({ settings, catalog: known, restarts });
  return known.map(entry => ({
    packageName: entry.packageName,
    packageVersion: entry.packageVersion,
    kind: entry.kind,
    sha256: entry.sha256,
    sources: entry.sources,
    nodes: observed
      .filter(node =>
        node.packages.some(
          item => item.packageName === entry.packageName && item.packageVersion === entry.packageVersion,
        ),
      )
      .map(node => node.name),
    instances: desired
      .filter(({ packages }) =>
        [packages?.component, packages?.publisher].some(
          used => used?.packageName === entry.packageName && used.packageVersion === entry.packageVersion,
        ),
      )
      .map(({ settings: instance }) => instance.id),
    problem: entry.problem,
  }));
}

/** Where routers answer: the node's address and the port that their settings give. */
export function routerUris(
  settings: ClusterSettings,
  known: readonly KnownPackage[],
  observed: readonly ObservedNodeFacts[],
): string[] {
  const instances = new Map(effectiveInstances(settings, known).map(instance => [instance.id, instance]));
  const addresses = new Map(settings.nodeServers.map(node => [node.networkName, node.networkIp]));
  const uris = observed.flatMap(node =>
    node.processes
      .filter(process => process.component?.packageName === ROUTER_PACKAGE && process.state === 'Running')
      .flatMap(process => {
        const [id, slot] = process.settingsId?.split('/') ?? [];
        const instance = instances.get(id ?? '');
        const address = addresses.get(node.name);
        if (!instance || address === undefined) return [];
        const set = instance.ports[Number(slot)] ?? instance.settings.port;
        const port = typeof set === 'number' ? set : defaultRouterPort;
        return [`http://${address.includes(':') ? `[${address}]` : address}:${port}`];
      }),
  );
  return [...new Set(uris)].sort();
}

export function resourceInfo(claim: Claim): ResourceInfo {
  return {
    key: claim.key,
    instanceId: claim.pool,
    owner: { processId: claim.processId, nodeName: claim.nodeName, hostUri: claim.address },
    sessionId: claim.sessionId,
    fence: String(claim.fence),
  };
}
