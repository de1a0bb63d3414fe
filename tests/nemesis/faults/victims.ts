/** Who is there to be broken, and the two ways in which processes are. */
import { setTimeout as sleep } from 'node:timers/promises';
import { processIdentity, signalProcess, type ProcessInfo } from '#core';
import type { Machine } from '../../support/netns.ts';
import { until } from '../../support/wait.ts';
import type { Dice } from '../dice.ts';
import type { MachineWorld } from '../several-machines.ts';

/** How long the cluster may take to heal after a fault. */
export const healMs = 40_000;

export async function hostsOf(
  world: MachineWorld,
  instanceId: string,
): Promise<{ host: ProcessInfo; machine: Machine }[]> {
  const { cluster } = world;
  return until(`hosts of ${instanceId} run`, async () => {
    const found = await Promise.all(
      world.names.map(async name => {
        const machine = cluster.network.machine(name);
        const processes = await cluster.processes(machine);
        return processes
          .filter(
            ({ pid, state, component }) =>
              pid !== null && state === 'Running' && component?.instanceId === instanceId,
          )
          .map(host => ({ host, machine }));
      }),
    );
    return found.flat().length > 0 && found.flat();
  });
}

export async function anyHost(
  world: MachineWorld,
  dice: Dice,
  instanceId: string,
): Promise<{ host: ProcessInfo; machine: Machine }> {
  const hosts = await hostsOf(world, instanceId);
  // One that owns nothing, like one that has just been started, would be missed by nobody.
  const owners = hosts.filter(({ host }) => (host.host?.ownedKeys ?? 0) > 0);
  return dice.pick(owners.length > 0 ? owners : hosts);
}

export function kill({ pid }: ProcessInfo): void {
  const identity = processIdentity(pid!);
  if (identity) signalProcess(identity, 'SIGKILL');
}

export function freeze({ pid }: ProcessInfo, ms: number): Promise<void> {
  return freezeProcess(pid!, ms);
}

/** Whatever ends it meanwhile: it goes on, if it still is. */
export async function freezeProcess(pid: number, ms: number): Promise<void> {
  const identity = processIdentity(pid);
  if (!identity || !signalProcess(identity, 'SIGSTOP')) return;
  try {
    await sleep(ms);
  } finally {
    signalProcess(identity, 'SIGCONT');
  }
}
