/**
 * What the settings say of the coordination store: whether that can be, and whether a running cluster can come to it.
 * The URLs may hold passwords, so no problem repeats one. Pure.
 */
import {
  describeStore,
  holdsPassword,
  redisUrlProblems,
  storeEndpoint,
  storePrefix,
} from '../coordination-address.ts';
import type { CoordinationAddress } from '../host-protocol.ts';
import { jsonPath, type Problem } from '../problems.ts';
import type { ClusterSettings } from './model.ts';

export function coordinationProblems({ coordination: { kind, urls } }: ClusterSettings): Problem[] {
  const kindAt = '$.coordination.kind';
  const urlsAt = '$.coordination.urls';
  switch (kind) {
    case 'embedded':
      return urls.length === 0
        ? []
        : [{ path: urlsAt, expected: 'nothing with "embedded"; for a Redis, set kind to "redis"' }];
    case 'redis': {
      if (urls.length === 0) {
        return [{ path: urlsAt, expected: 'at least one URL, like redis://10.0.0.5:6379 (it is missing)' }];
      }
      // What stands for a secret is read where the cluster is started, and checked there.
      const known = urls.map(url => (typeof url === 'string' ? url : undefined));
      return redisUrlProblems(known, ['coordination', 'urls']);
    }
    case 'postgres':
    case 'etcd':
      return [
        {
          path: kindAt,
          value: kind,
          expected: `"embedded" or "redis"; ${kind} serves leases as a library, but not the directory of a cluster yet`,
        },
      ];
  }
}

/** Whoever has a read token reads the settings: a password in them is a warning, not an error. */
export function readablePasswords({ coordination }: ClusterSettings): string[] {
  return coordination.urls.flatMap((url, index) =>
    typeof url === 'string' && holdsPassword(url)
      ? [
          `${jsonPath(['coordination', 'urls', index])} holds a password, which everybody with a read token can see; ` +
            'put the URL into secrets/ and name it by {"secretRef": "…"}',
        ]
      : [],
  );
}

/**
 * What in the settings does not fit the store that the cluster runs on. Hosts are bound to it for as long as they live, and two
 * stores know nothing of each other's claims: a key would get two owners.
 */
export function coordinationInUseProblems(settings: ClusterSettings, inUse: CoordinationAddress): Problem[] {
  const { kind, urls } = settings.coordination;
  const { kind: kindInUse, endpoints } = describeStore(inUse);
  const inPlace = 'it cannot be changed while the cluster runs: stop all of it first (docs/operator.md)';
  if (kind !== kindInUse) {
    return [{ path: '$.coordination.kind', value: kind, expected: `"${kindInUse}"; ${inPlace}` }];
  }
  if (inUse.kind !== 'redis') return [];
  const problems: Problem[] = [];
  const agrees = urls.every(
    (url, index) => typeof url !== 'string' || storeEndpoint(url) === endpoints[index],
  );
  if (urls.length !== endpoints.length || !agrees) {
    problems.push({ path: '$.coordination.urls', expected: `${endpoints.join(', ')}; ${inPlace}` });
  }
  if (storePrefix(settings.clusterName) !== inUse.prefix) {
    const expected = `the name that it was started with, which stands in every key of the store; ${inPlace}`;
    problems.push({ path: '$.clusterName', value: settings.clusterName, expected });
  }
  if (settings.sessionTtlMs > inUse.sessionTtlMs) {
    const expected = `at most ${inUse.sessionTtlMs}, which is how long every host waits after the store has forgotten; ${inPlace}`;
    problems.push({ path: '$.sessionTtlMs', value: settings.sessionTtlMs, expected });
  }
  return problems;
}
