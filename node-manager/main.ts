/** The component `node-manager`, as a component host loads it. */
import {
  createSystem,
  HoldfastError,
  type ClusterAccess,
  type Component,
  type ComponentContext,
} from '#core';
import { createNodeManager } from './manager.ts';
import type { ManagerSettings } from './manager-settings.ts';

export default function create(context: ComponentContext): Component {
  if (!context.cluster) {
    throw new HoldfastError('HF_START_FAILED', 'node-manager needs the permission "cluster" in its manifest');
  }
  return createNodeManager(
    {
      processId: context.processId,
      nodeName: context.nodeName,
      log: context.log,
      dataDirectory: context.dataDirectory,
      reportHealth: health => context.reportHealth(health),
      // The host has checked them against the manifest's schema, and filled in the defaults.
      settings: context.settings as unknown as ManagerSettings,
      cluster: context.cluster as ClusterAccess,
    },
    createSystem(),
  );
}
