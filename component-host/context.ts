/** What components and publishers are given: the context objects, and the publisher of an instance that has none. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  HoldfastError,
  type ClusterAccess,
  type ComponentContext,
  type Coordination,
  type HostLaunch,
  type InstanceId,
  type Logger,
  type MessagePublisher,
  type PublisherContext,
} from '#core';
import { createNotes } from './notes.ts';
import type { LoadedComponent, LoadedPublisher } from './loader.ts';

export interface ContextOptions {
  launch: HostLaunch;
  instanceId: InstanceId;
  log: Logger;
}

export interface ComponentContextOptions extends ContextOptions {
  component: LoadedComponent;
  publisher: MessagePublisher;
  coordination: Coordination;
  resource: ComponentContext['resource'];
  subscribe: ComponentContext['subscribe'];
  reportHealth: ComponentContext['reportHealth'];
}

export function createComponentContext(options: ComponentContextOptions): ComponentContext {
  const { launch, component, coordination } = options;
  const cluster: ClusterAccess = {
    clusterName: launch.clusterName,
    secret: launch.clusterSecret,
    coordination,
    address: launch.coordination,
  };
  return {
    name: component.manifest.packageName,
    settings: component.settings,
    publisher: options.publisher,
    leases: coordination.leases,
    notes: createNotes(coordination.documents, options.instanceId),
    ...place(options),
    get dataDirectory() {
      return dataDirectory(options);
    },
    resource: options.resource,
    subscribe: options.subscribe,
    reportHealth: options.reportHealth,
    // The cluster's secret and store are the means to do anything: only for packages that say they need them.
    ...(component.manifest.permissions?.cluster === true ? { cluster } : {}),
  };
}

export function createPublisherContext(
  options: ContextOptions & { publisher: LoadedPublisher },
): PublisherContext {
  return {
    name: options.publisher.manifest.packageName,
    settings: options.publisher.settings,
    ...place(options),
    get dataDirectory() {
      return dataDirectory(options);
    },
  };
}

/** Stands in where an instance has no publisher: publishing is an error that says so. */
export function createAbsentPublisher(instanceId: InstanceId): MessagePublisher {
  return {
    name: 'none',
    instanceId,
    state: 'stopped',
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(),
    publish: () => Promise.reject(noPublisher(instanceId)),
  };
}

export function noPublisher(instanceId: InstanceId): HoldfastError {
  return new HoldfastError(
    'HF_NO_PUBLISHER',
    `the instance ${instanceId} has no publisher; name one in its settings under messagePublisher`,
  );
}

function place({ launch, instanceId, log }: ContextOptions) {
  return { instanceId, processId: launch.processId, nodeName: launch.nodeName, log };
}

/** Created when first asked for: most components keep no files. */
function dataDirectory({ launch, instanceId }: ContextOptions): string {
  const path = join(launch.dataRoot, instanceId);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}
