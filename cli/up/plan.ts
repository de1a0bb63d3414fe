/** What `up` is going to run, derived from the settings. Pure. */
import {
  DEFAULTS,
  HoldfastError,
  isLoopback,
  managerAddress,
  type ClusterSettings,
  type NodeSettings,
} from '#core';

export interface Address {
  host: string;
  port: number;
}

export interface UpPlan {
  /** Nodes that run on this machine: those whose URI is a loopback address. */
  nodes: (NodeSettings & { listen: Address })[];
  /** The first node, which gets the node manager. */
  master: Address;
  /** One for each router that the settings declare, or the implied one. */
  routers: Address[];
}

/** @throws HoldfastError HF_SETTINGS_INVALID when no node is on this machine */
export function planUp(settings: ClusterSettings): UpPlan {
  const nodes = settings.nodeServers
    .map(node => ({ ...node, listen: addressOf(node.nodeApiUri) }))
    .filter(node => isLoopback(node.listen.host));
  if (nodes.length === 0) {
    throw new HoldfastError('HF_SETTINGS_INVALID', 'the settings have no node on this machine', {
      details: {
        problems: [
          {
            path: '$.nodeServers',
            expected: 'at least one node whose nodeApiUri is a loopback address, like http://127.0.0.1:5101',
          },
        ],
      },
    });
  }
  const routers = settings.componentInstances.filter(instance => instance.packageName === 'router');
  return {
    nodes,
    master: managerAddress(settings, null),
    routers:
      routers.length > 0
        ? routers.map(router => configuredAddress(router.settings, DEFAULTS.routerPort))
        : [configuredAddress(undefined, DEFAULTS.routerPort)],
  };
}

/**
 * Where the master API of a manager on this node is reached from here.
 * @throws HoldfastError HF_SETTINGS_INVALID when it listens where only its own machine reaches it, and that is another one
 */
export function masterUriOn(
  settings: ClusterSettings,
  { nodeUri, local }: { nodeUri: string; local: boolean },
): string {
  const node = addressOf(nodeUri).host;
  const { host, port } = managerAddress(settings, node);
  if (host === '0.0.0.0' || host === '::') return uriOf({ host: node, port });
  if (local || !isLoopback(host)) return uriOf({ host, port });
  const index = settings.componentInstances.findIndex(instance => instance.packageName === 'node-manager');
  const path = index < 0 ? '$.componentInstances' : `$.componentInstances[${index}].settings.host`;
  const expected = `an address of the machine of ${node} that others reach, or "0.0.0.0" (the instance node-manager listens on ${host})`;
  throw new HoldfastError('HF_SETTINGS_INVALID', `The settings are not valid: ${path} expected ${expected}`, {
    details: { problems: [{ path, expected }] },
  });
}

/** Every port that must be free, with the name of who needs it. */
export function neededPorts(plan: UpPlan): (Address & { for: string })[] {
  return [
    ...plan.nodes.map(node => ({ ...node.listen, for: `node ${node.networkName}` })),
    { ...plan.master, for: 'the node manager' },
    ...plan.routers.map(address => ({ ...address, for: 'the router' })),
  ];
}

/** `http://host:port` that this machine can reach. */
export function uriOf({ host, port }: Address): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

function addressOf(uri: string): Address {
  const url = new URL(uri);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || (url.protocol === 'https:' ? 443 : 80)),
  };
}

function configuredAddress(settings: Record<string, unknown> | undefined, defaultPort: number): Address {
  return {
    host: typeof settings?.host === 'string' ? settings.host : '127.0.0.1',
    port: typeof settings?.port === 'number' ? settings.port : defaultPort,
  };
}
