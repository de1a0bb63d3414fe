import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Action, ObservedNode, Plan } from '#node-manager';
import { applyPlan, converge, planOf, type World } from './made-up-cluster.ts';
import { checkPlan } from './plan-laws.ts';
import { become, incidents, worlds } from './plan-worlds.ts';

const numRuns = Number(process.env.PLAN_RUNS ?? 150);

describe('plan, from any settings and any observed state', function () {
  this.timeout(600_000);

  it('converges, and a second run plans nothing', () => {
    fc.assert(
      fc.property(worlds, world => {
        converge(settleProcesses(world), { onPlan: made => checkPlan(world, made) });
        assert.deepEqual(planOf(world).actions, []);
        for (const shown of planOf(world).instances) {
          if (shown.problems.length === 0 && !world.rollouts[shown.id]) {
            assert.equal(shown.running, shown.desired, shown.id);
            // Those of "perNode" wait on a node that is left until the others have gone.
            if (!perNode(world, shown.id)) assert.equal(shown.live, shown.desired, shown.id);
          }
          assert.ok(shown.live >= shown.running);
        }
      }),
      { numRuns },
    );
  });

  it('converges after nodes have died, come back, or were drained in the middle', () => {
    fc.assert(
      fc.property(worlds, incidents, (world, happening) => {
        settleProcesses(world);
        for (let round = 0; round < 13; round++) {
          for (const { node, what } of happening.filter(item => item.round === round))
            become(world, node, what);
          const made = planOf(world);
          checkPlan(world, made);
          applyPlan(world, made.actions);
          world.nowMs += 700;
          settleProcesses(world);
        }
        converge(world, { onPlan: made => checkPlan(world, made) });
        assert.deepEqual(planOf(world).actions, []);
      }),
      { numRuns },
    );
  });

  it('converges after starts have failed for a while, and never hammers', () => {
    fc.assert(
      fc.property(worlds, fc.integer({ min: 1, max: 5 }), (world, failing) => {
        let left = failing;
        const breaks = (action: Action) => action.type === 'start' && left-- > 0;
        converge(settleProcesses(world), { breaks, onPlan: made => checkPlan(world, made) });
        assert.deepEqual(planOf(world).actions, []);
        for (const { id, problems } of planOf(world).instances) {
          // Where the old copy has to go first, it is not given up for what failed once.
          if (world.settings.componentInstances.some(item => item.id === id && item.update.maxSurge === 0))
            continue;
          const failed = problems.some(problem => problem.includes('it was told to fail'));
          const blocked = problems.some(problem => /cannot be|CrashLoop|paused|halted/.test(problem));
          assert.ok(!failed || blocked, `it was not tried again: ${problems.join('; ')}`);
        }
      }),
      { numRuns },
    );
  });

  it('is deterministic, whatever the order in which nodes and processes are seen', () => {
    fc.assert(
      fc.property(worlds, world => {
        const reversed = new Map(
          [...world.nodes]
            .reverse()
            .map(([name, node]): [string, ObservedNode] => [
              name,
              { ...node, processes: [...node.processes].reverse() },
            ]),
        );
        const ids = (made: Plan) => made.actions.map(action => action.id).sort();
        assert.deepEqual(ids(planOf(world)), ids(planOf({ ...world, nodes: reversed })));
      }),
      { numRuns },
    );
  });
});

/** What the nodes do by themselves: a start ends, a stop ends, a crash loop stays. */
function settleProcesses(world: World): World {
  for (const [name, node] of world.nodes) {
    world.nodes.set(name, {
      ...node,
      processes: node.processes
        .filter(process => process.state !== 'Stopping' || node.state !== 'ready')
        .map(process =>
          process.state === 'Starting'
            ? { ...process, state: 'Running' as const, healthySinceMs: 0 }
            : process,
        ),
    });
  }
  return world;
}

function perNode(world: World, id: string): boolean {
  return world.settings.componentInstances.some(item => item.id === id && item.instances === 'perNode');
}
