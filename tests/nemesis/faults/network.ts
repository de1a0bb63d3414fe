/** Networks that are cut, in one direction or both, or lossy. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Machine } from '../../support/netns.ts';
import type { Dice } from '../dice.ts';
import type { MachineWorld } from '../several-machines.ts';
import type { Fault } from '../target.ts';
import { healMs } from './victims.ts';

/** How long a network fault lasts, in times of a session. */
const faultTtls = 3;

export function networkFaults(world: MachineWorld): Fault[] {
  const { cluster, ttlMs } = world;
  const { network } = cluster;
  const store = () => network.machine('store');
  const fault = (
    name: string,
    mayFail: Fault['mayFail'],
    cut: (victim: Machine, dice: Dice) => Promise<Machine[]>,
  ): Fault => ({
    name,
    mayFail,
    healMs,
    needs: 'network', // healing it heals what another fault has cut
    async inject(dice) {
      const victim = network.machine(dice.pick(world.names));
      try {
        const routers = await cut(victim, dice);
        await sleep(faultTtls * ttlMs);
        return routers.map(machine => cluster.routerUri(machine));
      } finally {
        await network.heal();
      }
    },
  });
  const other = (victim: Machine, dice: Dice) =>
    network.machine(dice.pick(world.names.filter(name => name !== victim.name)));
  return [
    fault('a node is cut off', 'unsafe', async victim => {
      await network.isolate(victim);
      return [victim];
    }),
    fault('a node is cut off from Redis', 'unsafe', async victim => {
      await network.partition(victim, store());
      return [];
    }),
    fault('what a node sends to Redis is lost', 'unsafe', async victim => {
      await network.drop(victim, store());
      return [];
    }),
    fault('what Redis sends to a node is lost', 'unsafe', async victim => {
      await network.drop(store(), victim);
      return [];
    }),
    fault('two nodes are cut off from each other', 'unsafe', async (victim, dice) => {
      await network.partition(victim, other(victim, dice));
      return [];
    }),
    fault('what one node sends to another is lost', 'unsafe', async (victim, dice) => {
      await network.drop(victim, other(victim, dice));
      return [];
    }),
    fault('a node loses 30 % of what it is sent', 'unsafe', async victim => {
      await network.lose(victim, 30);
      return [victim];
    }),
    fault('Redis loses 30 % of what it is sent', 'unsafe', async () => {
      await network.lose(store(), 30);
      return [];
    }),
    fault('Redis is cut off', 'unsafe', async () => {
      await network.isolate(store());
      return [];
    }),
  ];
}
