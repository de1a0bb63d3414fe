/**
 * A real node manager over 200 node agents (real HTTP on loopback, made-up processes: 2,000 copies of 20 instances). How long a sync takes and what it
 * costs the manager's process: when nothing changes, when one agent accepts requests and never answers, and when a third of them is gone. Peer: what any
 * manager has to do at least, two GETs to each agent, at once.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createMasterClient, type MasterClient } from '#client';
import { ask } from '../agents/ipc.ts';
import { time, type Figure, type Scenario } from '../measure.ts';

const secret = 'a-secret-of-the-bench-cluster';
const agents = 200;
const instances = 20;
const copies = 100;
const dead = Math.ceil(agents / 3);

export const agentsScenario: Scenario = {
  name: 'agents',
  async run(runs) {
    const folder = join(import.meta.dirname, '../agents');
    const [nodes, manager] = ['nodes.ts', 'manager.ts'].map(file => fork(join(folder, file))) as [
      ChildProcess,
      ChildProcess,
    ];
    try {
      return await measure(nodes, manager, runs);
    } finally {
      if (manager.connected) await ask(manager, { do: 'end' });
      for (const child of [nodes, manager]) if (child.connected) child.disconnect();
    }
  },
};

async function measure(nodes: ChildProcess, manager: ChildProcess, runs: number): Promise<Figure[]> {
  const packages = [
    { name: 'component-host', kind: 'host' },
    { name: 'app', kind: 'component' },
  ];
  const uris = await ask<[string, string][]>(nodes, { do: 'start', count: agents, secret, packages });
  const settings = JSON.stringify({
    clusterName: 'bench',
    nodeServers: uris.map(([networkName, nodeApiUri]) => ({ networkName, nodeApiUri })),
    componentInstances: Array.from({ length: instances }, (_, index) => ({
      id: `app-${index}`,
      packageName: 'app',
      packageVersion: '1.0.0',
      instances: copies,
    })),
  });
  const cpu = () => ask<number>(manager, { do: 'cpu' });
  const beganMs = performance.now();
  const uri = await ask<string>(manager, { do: 'start', secret, settings, deadAfterMs: 600_000 });
  const client = createMasterClient({ uri, token: secret, timeoutMs: 60_000 });
  await untilSettled(client);
  const convergedMs = performance.now() - beganMs;
  const convergeCpuMs = await cpu();

  const floorMs: number[] = [];
  async function syncs(): Promise<{ ms: number[]; cpuMs: number[] }> {
    const ms: number[] = [];
    const cpuMs: number[] = [];
    for (let run = 0; run < Math.max(5, runs); run++) {
      const before = await cpu();
      const outcome = await client.sync();
      if (outcome.actions.length > 0)
        throw new Error(`it acted: ${JSON.stringify(outcome.actions.slice(0, 3))}`);
      ms.push(outcome.durationMs);
      cpuMs.push((await cpu()) - before);
    }
    return { ms, cpuMs };
  }
  const steady = await syncs();
  for (let run = 0; run < Math.max(5, runs); run++) floorMs.push(await time(() => askAll(uris)));
  await ask(nodes, { do: 'hang', names: ['node-7'] });
  await untilState(client, 'suspect', 1);
  const hanging = await syncs();
  await ask(nodes, { do: 'die', names: uris.slice(-dead).map(([name]) => name) });
  await untilState(client, 'suspect', dead + 1);
  const third = await syncs();

  const peer = { name: 'two GETs to each, at once', samples: floorMs };
  const figure = (name: string, samples: number[], aim: string, more: Partial<Figure> = {}): Figure => ({
    name,
    unit: 'ms',
    samples,
    peer: null,
    aim,
    ...more,
  });
  return [
    figure(
      `${instances * copies} copies on ${agents} agents, from nothing to all running`,
      [convergedMs],
      '–',
    ),
    figure('CPU of the manager for it', [convergeCpuMs], '–'),
    figure('steady sync', steady.ms, '< 1,000', { peer }),
    figure('CPU of the manager for it (its looks in between included)', steady.cpuMs, '–'),
    figure('sync with one agent hanging', hanging.ms, 'as steady', {
      peer: { name: 'steady', samples: steady.ms },
    }),
    figure(`sync with ${dead} agents gone besides`, third.ms, 'no more than steady', {
      peer: { name: 'steady', samples: steady.ms },
    }),
    figure('CPU of the manager for that', third.cpuMs, '–'),
  ];
}

async function askAll(uris: readonly [string, string][]): Promise<void> {
  const headers = { authorization: `Bearer ${secret}` };
  await Promise.all(
    uris.flatMap(([, uri]) =>
      ['/api/node/processes', '/api/node/packages/configuration'].map(async path => {
        await (await fetch(uri + path, { headers })).json();
      }),
    ),
  );
}

async function untilSettled(client: MasterClient): Promise<void> {
  await until(async () => {
    const { instances: shown } = await client.status();
    return shown.length === instances && shown.every(one => one.running === copies);
  });
}

async function untilState(client: MasterClient, state: string, count: number): Promise<void> {
  await until(async () => (await client.nodes()).filter(node => node.state === state).length === count);
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 120_000;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error('it did not come to that within two minutes');
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}
