/** What a schema cannot say about the settings: names that must be unique or point somewhere, numbers that must fit. Pure. */
import { jsonPath, type Problem } from '../problems.ts';
import { coordinationProblems } from './coordination-checks.ts';
import { jobProblems } from './job-checks.ts';
import { managerProblems } from './managers.ts';
import type { ClusterSettings } from './model.ts';
import type { ClusterSettingsDocument } from './schema.ts';

/** Looked at before defaults are filled in, because those are taken from the URIs. */
export function uriProblems(document: ClusterSettingsDocument): Problem[] {
  return document.nodeServers.flatMap((node, index) =>
    URL.canParse(node.nodeApiUri)
      ? []
      : [
          {
            path: jsonPath(['nodeServers', index, 'nodeApiUri']),
            value: node.nodeApiUri,
            expected: 'a URI with a host, and a port up to 65535',
          },
        ],
  );
}

/** @param knownPackages names of packages known besides `componentPackages`; null skips that check */
export function crossChecks(settings: ClusterSettings, knownPackages: ReadonlySet<string> | null): Problem[] {
  const problems: Problem[] = [
    ...duplicates(settings.nodeServers, node => node.networkName, 'nodeServers', 'networkName'),
    ...duplicates(settings.nodeServers, node => node.nodeApiUri, 'nodeServers', 'nodeApiUri'),
    ...duplicates(settings.componentInstances, instance => instance.id, 'componentInstances', 'id'),
    ...duplicates(settings.routes, route => route.pathPrefix, 'routes', 'pathPrefix'),
    ...duplicates(
      settings.nodePackages,
      reference => `${reference.name}@${reference.version}`,
      'nodePackages',
      'name',
    ),
    ...duplicates(
      settings.componentPackages,
      reference => `${reference.name}@${reference.version}`,
      'componentPackages',
      'name',
    ),
  ];
  if (settings.holdMs < settings.sessionTtlMs + 2_000) {
    problems.push({
      path: '$.holdMs',
      value: settings.holdMs,
      expected: `at least sessionTtlMs + 2000 (${settings.sessionTtlMs + 2_000})`,
    });
  }
  problems.push(...coordinationProblems(settings));
  problems.push(...managerProblems(settings));
  problems.push(...jobProblems(settings));
  const ids = new Set(settings.componentInstances.map(instance => instance.id));
  const anId = `the id of an instance (${someOf(ids) || 'there is none'})`;
  settings.routes.forEach((route, index) => {
    if (route.pathPrefix.split('/').some(segment => segment === '.' || segment === '..')) {
      problems.push({
        path: jsonPath(['routes', index, 'pathPrefix']),
        value: route.pathPrefix,
        expected: 'a path without dot segments',
      });
    }
    if (!ids.has(route.componentInstanceId)) {
      problems.push({
        path: jsonPath(['routes', index, 'componentInstanceId']),
        value: route.componentInstanceId,
        expected: anId,
      });
    }
    if (route.resourceKey.segments !== null && route.resourceKey.from !== 'path') {
      problems.push({
        path: jsonPath(['routes', index, 'resourceKey', 'segments']),
        value: route.resourceKey.segments,
        expected: 'no segments unless from is "path"',
      });
    }
  });
  const named =
    knownPackages &&
    new Set([...settings.componentPackages.map(reference => reference.name), ...knownPackages]);
  settings.componentInstances.forEach((instance, index) => {
    const { backoffMs, backoffMaxMs } = instance.restart;
    if (backoffMaxMs < backoffMs) {
      problems.push({
        path: jsonPath(['componentInstances', index, 'restart', 'backoffMaxMs']),
        value: backoffMaxMs,
        expected: `at least backoffMs (${backoffMs})`,
      });
    }
    instance.constraints.antiAffinity.forEach((other, position) => {
      if (!ids.has(other)) {
        problems.push({
          path: jsonPath(['componentInstances', index, 'constraints', 'antiAffinity', position]),
          value: other,
          expected: 'the id of an instance',
        });
      }
    });
    if (named) {
      const expected = 'a package in componentPackages or one that was uploaded';
      if (!named.has(instance.packageName)) {
        problems.push({
          path: jsonPath(['componentInstances', index, 'packageName']),
          value: instance.packageName,
          expected,
        });
      }
      if (instance.messagePublisher && !named.has(instance.messagePublisher.packageName)) {
        problems.push({
          path: jsonPath(['componentInstances', index, 'messagePublisher', 'packageName']),
          value: instance.messagePublisher.packageName,
          expected,
        });
      }
    }
  });
  return problems;
}

/** The first twenty, and how many more there are. */
function someOf(names: ReadonlySet<string>): string {
  const shown = [...names].slice(0, 20);
  const more = names.size - shown.length;
  return shown.join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function duplicates<Item>(
  items: Item[],
  keyOf: (item: Item) => string,
  list: string,
  field: string,
): Problem[] {
  const seen = new Map<string, number>();
  return items.flatMap((item, index) => {
    const key = keyOf(item);
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, index);
      return [];
    }
    return [
      {
        path: jsonPath([list, index, field]),
        value: key,
        expected: `a value not used before (${list}[${first}] has it)`,
      },
    ];
  });
}
