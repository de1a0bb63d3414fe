/** What a host says of itself: to its agent, and to whoever asks its REST API. */
import { HoldfastError, isoTime, type HostStatus, type System } from '#core';
import { hostState, type MachineState } from './machine.ts';
import type { Workload } from './workload.ts';

export interface ErrorList {
  add(cause: unknown): void;
  /** Newest last; at most 10. */
  list(): HostStatus['errors'];
}

const errorsMax = 10;
const messageLengthMax = 1_000;

export function createErrorList(system: System): ErrorList {
  let errors: HostStatus['errors'] = [];
  return {
    add(cause) {
      const known = cause instanceof HoldfastError ? cause : null;
      // A component's own code says more than the one that wraps it.
      const inner = known?.details.code;
      const code = typeof inner === 'string' ? inner : (known?.code ?? 'HF_INTERNAL');
      const message = (cause instanceof Error ? cause.message : String(cause)).slice(0, messageLengthMax);
      errors = [...errors, { code, message, at: isoTime(system.clock) }].slice(-errorsMax);
    },
    list: () => errors,
  };
}

export function describeHost({
  state,
  uri,
  workload,
  errors,
}: {
  state: MachineState;
  uri: string;
  workload: Workload;
  errors: HostStatus['errors'];
}): HostStatus {
  const { component, publisher, profile, job } = workload;
  return {
    state: hostState(state),
    hostUri: uri,
    component:
      component && profile
        ? {
            packageName: component.manifest.packageName,
            packageVersion: component.manifest.packageVersion,
            instanceId: profile.instanceId,
            state: hostState(state),
          }
        : null,
    publisher: publisher
      ? {
          packageName: publisher.manifest.packageName,
          packageVersion: publisher.manifest.packageVersion,
          state: workload.publisherState,
        }
      : null,
    health: workload.health,
    ownedKeys: workload.ownedKeys,
    ...(job ? { job } : {}),
    errors,
  };
}
