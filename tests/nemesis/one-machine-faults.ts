/**
 * What can be broken on one machine with the embedded coordination, each as one action that resolves when the breaking is over (a
 * frozen process goes on, a broken file is repaired). Healing is the cluster's own business. Signals go to processes of this
 * cluster only, by pid and start time.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { processIdentity, signalProcess, type ProcessIdentity, type ProcessInfo } from '#core';
import { databaseFileName } from '../../components/sqlite-service/file-name.ts';
import { until, type Cluster } from '../support/cluster.ts';
import type { Dice } from './dice.ts';
import {
  agentsOf,
  coordinatorsOf,
  processesOf,
  sqlProcessesOf,
  startersOf,
} from './one-machine-processes.ts';
import type { Fault } from './target.ts';

export interface OneMachineWorld {
  readonly cluster: Cluster;
  readonly ttlMs: number;
  /** Keys of databases. */
  readonly databases: readonly string[];
  /** Keys of registers. */
  readonly registers: readonly string[];
  /** The package of registers, in a version that has not been there before. */
  nextRegister(): { version: string; zip: Buffer };
  noteMove(): void;
}

/** How long a node may be away before its instances are replaced elsewhere. */
export const deadAfterMs = 2_500;
const healMs = 40_000;
const movesAtOnce = 8;
const held = ['databases', 'registers'];

export function oneMachineFaults(world: OneMachineWorld): Fault[] {
  const { cluster, ttlMs } = world;
  return [
    {
      name: 'kill -9 of a host',
      mayFail: 'unsafe',
      healMs,
      inject: dice => killHost({ cluster, dice }, held),
    },
    {
      name: 'kill -9 of the host of a router',
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        const index = dice.below(cluster.routerUris.length);
        await killHost({ cluster, dice }, [index === 0 ? 'router' : `router-${index + 1}`]);
        return [cluster.routerUris[index]!];
      },
    },
    {
      name: 'kill -9 of the host of the node manager',
      mayFail: 'nothing',
      healMs,
      inject: dice => killHost({ cluster, dice }, ['node-manager']),
    },
    {
      name: 'kill -9 of an agent',
      mayFail: 'nothing',
      healMs,
      async inject(dice) {
        signalProcess(dice.pick(agentsOf(cluster)), 'SIGKILL');
        return [];
      },
    },
    {
      name: 'kill -9 of all agents',
      mayFail: 'nothing',
      healMs,
      async inject() {
        for (const agent of agentsOf(cluster)) signalProcess(agent, 'SIGKILL');
        return [];
      },
    },
    {
      name: 'kill -9 of a SQL process',
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        signalProcess(dice.pick(sqlProcessesOf(cluster)), 'SIGKILL');
        return [];
      },
    },
    {
      name: 'a database file that has seen a much higher fence',
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        const key = dice.pick(world.databases);
        const path = join(cluster.stateRoot, 'data/databases/data', databaseFileName(key));
        const database = new DatabaseSync(path, { timeout: 5_000 });
        try {
          database.exec('UPDATE _holdfast_fence SET fence = fence + 10000');
        } finally {
          database.close();
        }
        const answer = await fetch(dice.pick(cluster.routerUris) + key);
        if (!answer.ok) throw new Error(`${key} does not get over its fence: ${await answer.text()}`);
        return [];
      },
    },
    {
      name: 'kill -9 of the coordinator',
      mayFail: 'nothing',
      healMs,
      async inject() {
        signalProcess(await theCoordinator(cluster), 'SIGKILL');
        return [];
      },
    },
    ...[0.5, 1, 2].map((times): Fault => ({
      name: `SIGSTOP of a host for ${times} × TTL`,
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        const host = dice.pick(await hostsOf(cluster, held));
        await freeze(processIdentity(host.pid!), times * ttlMs);
        return [];
      },
    })),
    {
      name: 'SIGSTOP of a host and its SQL processes for 2 × TTL',
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        const { processId } = dice.pick(await hostsOf(cluster, ['databases']));
        const tree = processesOf(cluster.directory).filter(one => one.processId === processId);
        await Promise.all(tree.map(one => freeze(one, 2 * ttlMs)));
        return [];
      },
    },
    {
      name: 'SIGSTOP of the host of a router for 2 × TTL',
      mayFail: 'unsafe',
      healMs,
      async inject(dice) {
        const index = dice.below(cluster.routerUris.length);
        const [host] = await hostsOf(cluster, [index === 0 ? 'router' : `router-${index + 1}`]);
        await freeze(processIdentity(host!.pid!), 2 * ttlMs);
        return [cluster.routerUris[index]!];
      },
    },
    {
      name: 'SIGSTOP of the host of the node manager for 2 × TTL',
      mayFail: 'nothing',
      healMs,
      async inject() {
        const [host] = await hostsOf(cluster, ['node-manager']);
        await freeze(processIdentity(host!.pid!), 2 * ttlMs);
        return [];
      },
    },
    {
      name: 'SIGSTOP of an agent until its node is given up',
      mayFail: 'nothing',
      healMs: 40_000,
      async inject(dice) {
        await freeze(dice.pick(agentsOf(cluster)), deadAfterMs + 3_000);
        return [];
      },
    },
    {
      name: 'SIGSTOP of an agent',
      mayFail: 'nothing',
      healMs,
      async inject(dice) {
        await freeze(dice.pick(agentsOf(cluster)), 500 + dice.below(1_500));
        return [];
      },
    },
    ...[0.5, 2].map((times): Fault => ({
      name: `SIGSTOP of the coordinator for ${times} × TTL`,
      mayFail: 'unsafe',
      healMs,
      async inject() {
        await freeze(await theCoordinator(cluster), times * ttlMs);
        return [];
      },
    })),
    {
      name: 'deployment of a new version',
      mayFail: 'nothing',
      healMs: 40_000,
      async inject() {
        const { version, zip } = world.nextRegister();
        await until('the package is taken', async () => {
          const response = await cluster.master('/api/master/packages', {
            method: 'PUT',
            headers: { 'content-type': 'application/zip' },
            body: zip,
            signal: AbortSignal.timeout(5_000),
          });
          return response.ok;
        });
        await until(
          `the registers run ${version}`,
          async () => {
            const found = (await cluster.status()).instances.find(({ id }) => id === 'registers');
            return found?.versions[version] === found?.desired;
          },
          40_000,
        );
        return [];
      },
    },
    {
      name: 'keys are moved',
      mayFail: 'nothing',
      healMs,
      async inject(dice) {
        for (const key of dice.shuffle(world.registers).slice(0, movesAtOnce)) {
          await until(`${key} is moved`, async () => {
            const path = `/api/master/resources/${encodeURIComponent(key)}/move?instance=registers`;
            const response = await cluster.master(path, {
              method: 'POST',
              headers: { 'content-type': 'application/json' },
              body: JSON.stringify({}),
            });
            // The balance may be such that it stays where it is.
            if (response.ok && ((await response.json()) as { moved: boolean }).moved) world.noteMove();
            return response.ok;
          });
        }
        return [];
      },
    },
    {
      name: 'a broken settings file',
      mayFail: 'nothing',
      healMs,
      async inject() {
        const good = await readFile(cluster.settingsPath, 'utf8');
        await cluster.writeSettings(good.slice(0, good.length / 2));
        await until('the error is shown', async () => (await cluster.status()).settingsError);
        await cluster.writeSettings(good);
        await until('the error is gone', async () => (await cluster.status()).settingsError === null);
        return [];
      },
    },
    {
      name: 'kill -9 of the whole `up`',
      mayFail: 'all',
      healMs: 40_000,
      needs: 'everything',
      async inject() {
        const exited = once(cluster.process, 'exit');
        for (const starter of startersOf(cluster)) signalProcess(starter, 'SIGKILL');
        await exited;
        await cluster.restart();
        return [];
      },
    },
  ];
}

async function hostsOf(cluster: Cluster, instances: readonly string[]): Promise<ProcessInfo[]> {
  return until('hosts run', async () => {
    const running = (await cluster.processes()).filter(
      ({ pid, state, component }) =>
        pid !== null && state === 'Running' && instances.includes(component?.instanceId ?? ''),
    );
    return running.length > 0 && running;
  });
}

async function killHost(
  { cluster, dice }: { cluster: Cluster; dice: Dice },
  instances: readonly string[],
): Promise<string[]> {
  const host = dice.pick(await hostsOf(cluster, instances));
  const identity = processIdentity(host.pid!);
  if (identity) signalProcess(identity, 'SIGKILL');
  await until('its agent has noticed', async () =>
    (await cluster.processes()).every(({ pid }) => pid !== host.pid),
  );
  return [];
}

async function theCoordinator(cluster: Cluster): Promise<ProcessIdentity> {
  return until('a coordinator runs', async () => coordinatorsOf(cluster)[0]);
}

/** Whatever ends it meanwhile: it goes on, if it still is. */
async function freeze(identity: ProcessIdentity | null, ms: number): Promise<void> {
  if (!identity || !signalProcess(identity, 'SIGSTOP')) return;
  try {
    await sleep(ms);
  } finally {
    signalProcess(identity, 'SIGCONT');
  }
}
