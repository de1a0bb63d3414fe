/** What a host runs its component as: who the instance is, and how it is kept. */
import { DEFAULTS, type HostConfiguration, type InstanceId } from '#core';

/** What an instance is beside its packages. */
export type Profile = Omit<HostConfiguration, 'component' | 'settings' | 'publisher' | 'settingsChecked'>;

/** What REST-initialised packages run as, when no agent has said anything. */
export function defaultProfile(packageName: string): Profile {
  return {
    settingsId: packageName,
    instanceId: packageName as InstanceId,
    env: {},
    sessionTtlMs: DEFAULTS.sessionTtlMs,
    capacity: 1,
    concurrency: 0,
    idleMs: 0,
    onAuthorityLoss: 'stop',
  };
}
