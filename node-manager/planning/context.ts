/** What the parts of a plan share while it is made. */
import type { ActionList } from './action-list.ts';
import type { FixedPorts } from './fixed-ports.ts';
import type { PlanInput } from './model.ts';
import type { PlanNodes } from './nodes.ts';
import type { PackagePlan } from './packages.ts';

export interface PlanContext {
  input: PlanInput;
  nodes: PlanNodes;
  packages: PackagePlan;
  list: ActionList;
  ports: FixedPorts;
  /** Nodes that copies leave and that still have others than those of `perNode`. */
  guests: ReadonlySet<string>;
}
