/** All that can be broken on several machines. */
import type { MachineWorld } from '../several-machines.ts';
import type { Fault } from '../target.ts';
import { networkFaults } from './network.ts';
import { plannedChanges } from './planned.ts';
import { processFaults } from './processes.ts';
import { storeFaults } from './store.ts';

export function machineFaults(world: MachineWorld): Fault[] {
  return [...processFaults(world), ...networkFaults(world), ...storeFaults(world), ...plannedChanges(world)];
}
