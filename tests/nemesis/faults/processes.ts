/**
 * Processes that die, freeze, or are told another time. Healing is the cluster's own business, except that an agent that was killed is
 * started again, as an operating system would do it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../support/wait.ts';
import type { MachineWorld } from '../several-machines.ts';
import type { Fault } from '../target.ts';
import { move } from './planned.ts';
import { anyHost, freeze, freezeProcess, healMs, hostsOf, kill } from './victims.ts';

/** Far below every jump, far above what an answer takes. */
const noticedMs = 30_000;

export function processFaults(world: MachineWorld): Fault[] {
  const { cluster, ttlMs } = world;
  return [
    {
      name: 'kill -9 of a host',
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        const { host } = await anyHost(world, dice, 'registers');
        kill(host);
        return [];
      },
    },
    {
      name: 'kill -9 of the host of a router',
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        const { host, machine } = await anyHost(world, dice, 'router');
        kill(host);
        return [cluster.routerUri(machine)];
      },
    },
    {
      name: 'kill -9 of the host of the node manager',
      mayFail: 'nothing',
      healMs,
      async inject(dice) {
        const { host } = await anyHost(world, dice, 'node-manager');
        kill(host);
        return [];
      },
    },
    {
      name: 'kill -9 of an agent, started again',
      mayFail: 'nothing',
      healMs,
      async inject(dice) {
        const name = dice.pick(world.names);
        await cluster.killNode(cluster.network.machine(name));
        await sleep(dice.below(2 * ttlMs));
        await world.startNode(name);
        return [];
      },
    },
    {
      name: 'kill -9 of an agent and a host, the agent started again after 2 × TTL',
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        const { host, machine } = await anyHost(world, dice, 'registers');
        await cluster.killNode(machine);
        kill(host);
        await sleep(2 * ttlMs);
        await world.startNode(machine.name);
        return [];
      },
    },
    {
      name: 'SIGSTOP of an agent for 2 × TTL',
      mayFail: 'nothing',
      healMs,
      async inject(dice) {
        await freezeProcess(
          await cluster.agentPid(cluster.network.machine(dice.pick(world.names))),
          2 * ttlMs,
        );
        return [];
      },
    },
    ...[0.5, 1, 2, 10].map((times): Fault => ({
      name: `SIGSTOP of a host for ${times} × TTL`,
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        const { host } = await anyHost(world, dice, 'registers');
        await freeze(host, times * ttlMs);
        return [];
      },
    })),
    {
      name: 'SIGSTOP of all hosts of registers for 2 × TTL',
      mayFail: 'unsafe',
      healMs,
      async inject() {
        const hosts = await hostsOf(world, 'registers');
        await Promise.all(hosts.map(({ host }) => freeze(host, 2 * ttlMs)));
        return [];
      },
    },
    {
      name: 'SIGSTOP of the host of a router for 2 × TTL',
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        const { host, machine } = await anyHost(world, dice, 'router');
        await freeze(host, 2 * ttlMs);
        return [cluster.routerUri(machine)];
      },
    },
    ...(world.clocks === null
      ? []
      : [3_600, -86_400].map((byS): Fault => ({
          name: `wall clocks of a node jump by ${byS} s, and back`,
          mayFail: 'nothing',
          healMs,
          async inject(dice) {
            const name = dice.pick(world.names);
            const key = dice.pick(world.keys);
            const jump = async (toS: number) => {
              await world.clocks!.jump(name, toS);
              // One that nobody notices would prove nothing.
              await until('the clock of a host has jumped', async () => {
                if (await move(world, key, name)) world.noteMove();
                const response = await fetch(cluster.routerUri(cluster.network.machine(name)) + key);
                const { owner, wallMs } = (await response.json()) as { owner: string; wallMs: number };
                const differenceMs = wallMs - Date.now() - toS * 1_000;
                return owner.startsWith(`${name}-`) && Math.abs(differenceMs) < noticedMs;
              });
            };
            await jump(byS);
            await sleep(3 * ttlMs);
            await jump(0);
            return [];
          },
        }))),
  ];
}
