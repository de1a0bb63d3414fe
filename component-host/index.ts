/** The component host: the isolated process that runs one component. `main.ts` is its entry; these serve tests. */
export { startHost, type Host, type HostOptions } from './host.ts';
export { Lifecycle, type LifecycleOptions, type PartRunner } from './lifecycle.ts';
export { loadComponent, loadPublisher, type LoadedComponent, type LoadedPublisher } from './loader.ts';
export {
  hostState,
  initialState,
  isSettled,
  PARTS,
  partsUp,
  step,
  type Effect,
  type MachineEvent,
  type MachineState,
  type Part,
  type Step,
} from './machine.ts';
export { parseLaunch, readLaunch } from './launch.ts';
