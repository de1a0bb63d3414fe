/** Edits of the settings document that `deploy` makes. They keep its comments and its layout. Pure. */
import { applyEdits, modify, parse, type JSONPath } from 'jsonc-parser';
import { HoldfastError, type ClusterSettingsDocument } from '#core';

type Instance = NonNullable<ClusterSettingsDocument['componentInstances']>[number];

export interface DesiredInstance {
  id: string;
  packageName: string;
  packageVersion: string;
  instances: number | 'perNode';
  route: string | null;
  /** Makes it a job; an empty one runs once. Left out: it is none, or stays the one that it is. */
  job?: { cron?: string };
}

/** Ids of the instances that use a package. */
export function instancesOf(text: string, packageName: string): string[] {
  return (read(text).componentInstances ?? [])
    .filter(instance => instance.packageName === packageName)
    .map(instance => instance.id);
}

/** Which of the instances run to completion. */
export function jobsOf(text: string, instanceIds: readonly string[]): string[] {
  return (read(text).componentInstances ?? [])
    .filter(({ id, job }) => job !== undefined && instanceIds.includes(id))
    .map(({ id }) => id);
}

/**
 * Adds the instance, or changes how many copies of which version it has; likewise its route.
 * @throws HoldfastError HF_USAGE when the id or the route belongs to something else
 */
export function withInstance(text: string, desired: DesiredInstance): string {
  const document = read(text);
  const { id, packageName, packageVersion, instances, job } = desired;
  const position = (document.componentInstances ?? []).findIndex(instance => instance.id === id);
  let edited = text;
  if (position === -1) {
    edited = append(edited, 'componentInstances', document.componentInstances, {
      id,
      packageName,
      packageVersion,
      ...(job ? { job } : { instances }),
    } satisfies Instance);
  } else {
    const existing = document.componentInstances![position]!;
    if (existing.packageName !== packageName) {
      throw new HoldfastError(
        'HF_USAGE',
        `the instance "${id}" runs the package ${existing.packageName}; choose another id with --id`,
      );
    }
    edited = set(edited, ['componentInstances', position, 'packageVersion'], packageVersion);
    if (!job) edited = set(edited, ['componentInstances', position, 'instances'], instances);
    else if (!existing.job) edited = set(edited, ['componentInstances', position, 'job'], job);
    else edited = set(edited, ['componentInstances', position, 'job', 'cron'], job.cron);
  }
  return desired.route === null ? edited : withRoute(edited, document, desired.route, id);
}

/** What to put into the settings by hand. */
export function suggestion(desired: DesiredInstance): string {
  const { id, packageName, packageVersion, instances, route } = desired;
  return JSON.stringify(
    {
      componentInstances: [{ id, packageName, packageVersion, instances }],
      routes: [{ pathPrefix: route ?? `/${packageName}`, componentInstanceId: id }],
    },
    null,
    2,
  );
}

function withRoute(text: string, document: ClusterSettingsDocument, pathPrefix: string, id: string): string {
  const existing = document.routes?.find(route => route.pathPrefix === pathPrefix);
  if (existing?.componentInstanceId === id) return text;
  if (existing) {
    throw new HoldfastError(
      'HF_USAGE',
      `the route ${pathPrefix} leads to the instance "${existing.componentInstanceId}" already; choose another prefix with --route`,
    );
  }
  return append(text, 'routes', document.routes, { pathPrefix, componentInstanceId: id });
}

function read(text: string): ClusterSettingsDocument {
  return parse(text, undefined, { allowTrailingComma: true }) as ClusterSettingsDocument;
}

function append(text: string, name: string, list: readonly unknown[] | undefined, item: object): string {
  return list ? set(text, [name, list.length], item) : set(text, [name], [item]);
}

function set(text: string, path: JSONPath, value: unknown): string {
  return applyEdits(
    text,
    modify(text, path, value, { formattingOptions: { insertSpaces: true, tabSize: 2 } }),
  );
}
