/** What an operator does with keys while they are used: no request may fail. */
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../support/wait.ts';
import type { MachineWorld } from '../several-machines.ts';
import type { Fault } from '../target.ts';
import { healMs } from './victims.ts';

const movesAtOnce = 12;

const resource = (key: string, action: string) =>
  `/api/master/resources/${encodeURIComponent(key)}/${action}?instance=registers`;

/** Whether it has moved; false: it is there already. @throws Error when it cannot be moved */
export async function move(world: MachineWorld, key: string, to: string): Promise<boolean> {
  const { moved, resource: now } = (await world.master(resource(key, 'move'), { to })) as {
    moved: boolean;
    resource: { owner: { nodeName: string } } | null;
  };
  if (!moved && now?.owner.nodeName !== to) throw new Error(`${key} is not moved to ${to}`);
  return moved;
}

export function plannedChanges(world: MachineWorld): Fault[] {
  return [
    {
      name: `${movesAtOnce} keys are moved`,
      mayFail: 'nothing',
      healMs,
      async inject(dice) {
        for (const key of dice.shuffle(world.keys).slice(0, movesAtOnce)) {
          // Another fault, or the balance between hosts, may be in the way: a move may be asked for again.
          await until(`${key} is moved`, async () => {
            if (await move(world, key, dice.pick(world.names))) world.noteMove();
            return true;
          });
        }
        return [];
      },
    },
    {
      name: 'two keys are paused for half a TTL',
      mayFail: 'nothing',
      healMs,
      async inject(dice) {
        const keys = dice.shuffle(world.keys).slice(0, 2);
        const forAll = (action: string) =>
          Promise.all(
            keys.map(key =>
              until(`${action} of ${key}`, async () => world.master(resource(key, action), {})),
            ),
          );
        await forAll('pause');
        await sleep(world.ttlMs / 2);
        await forAll('resume');
        return [];
      },
    },
  ];
}
