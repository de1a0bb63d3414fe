/** The router as a component: what the packed bundle exports. */
import {
  createSystem,
  HoldfastError,
  type ClusterAccess,
  type Component,
  type ComponentContext,
} from '#core';
import { createRouter } from './router.ts';

/** @throws HoldfastError HF_FORBIDDEN without the permission `cluster` */
export default function create(context: ComponentContext): Component {
  const cluster = context.cluster as ClusterAccess | undefined;
  if (!cluster) {
    throw new HoldfastError('HF_FORBIDDEN', 'the router needs the permission "cluster" in its manifest');
  }
  return createRouter({
    cluster,
    processId: context.processId,
    settings: context.settings,
    system: createSystem(),
    log: context.log,
    reportHealth: health => context.reportHealth(health),
  });
}
