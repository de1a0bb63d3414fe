/**
 * Three nodes, each in a network namespace of its own with its agent, a host of registers and a router, and a Redis in another one with a
 * small disk. The files of the registers lie where all of them reach them, as on a network disk.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { MasterStatus, PlanAction } from '#core';
import { packFolder } from '../../cli/pack/pack.ts';
import { projectRoot } from '../support/cluster.ts';
import { createMachines, type MachineCluster } from '../support/machines.ts';
import { until } from '../support/wait.ts';
import { registerDialect } from './dialects.ts';
import type { Dice } from './dice.ts';
import { createJumpyClocks, type JumpyClocks } from './jumpy-clocks.ts';
import { machineFaults } from './faults/index.ts';
import { outlived, processesOf } from './one-machine-processes.ts';
import { contentOfFile } from './register-file.ts';
import type { Target } from './target.ts';

export interface MachineWorld {
  readonly cluster: MachineCluster;
  readonly ttlMs: number;
  readonly keys: readonly string[];
  /** Null: clocks cannot be set here. */
  readonly clocks: JumpyClocks | null;
  readonly names: readonly string[];
  /** The small disk of Redis. */
  readonly disk: string;
  /** Starts the agent of a node (again). */
  startNode(name: string): Promise<void>;
  /** Calls the node manager. @throws Error with its answer, when that is not good */
  master(path: string, body?: object): Promise<unknown>;
  noteMove(): void;
}

const ttlMs = 1_000;
/** Above every outage, so that requests outlast it also where all of this runs slowly. */
const holdMs = 15_000;
const names = ['n1', 'n2', 'n3'];
const storeName = 'store';
const diskBytes = 24 * 1024 * 1024;
const masterTimeoutMs = 15_000;
const goneMs = 8_000;
const restart = { maxAttempts: 1_000, windowMs: 60_000, backoffMs: 100, backoffMaxMs: 1_000 };
const execute = promisify(execFile);

export async function startMachines(dice: Dice): Promise<Target> {
  const keys = Array.from({ length: 24 }, (_, index) => `/reg/k${index}`);
  const onAuthorityLoss = dice.pick(['stop', 'serveFenced'] as const);
  const root = await mkdtemp(join(tmpdir(), 'holdfast-nemesis-'));
  const [registers, disk] = [join(root, 'registers'), join(root, 'redis')];
  let mounted = false;
  let cluster: MachineCluster | null = null;
  let moves = 0;

  async function dispose({ keepFolder }: { keepFolder: boolean }): Promise<void> {
    await cluster?.dispose({ keepFolder });
    if (mounted) await execute('umount', ['--lazy', disk]);
    mounted = false;
    // The copy of Node tells nobody anything.
    await rm(keepFolder ? join(root, 'bin') : root, { recursive: true, force: true, maxRetries: 5 });
  }

  try {
    await mkdir(disk);
    await execute('mount', ['-t', 'tmpfs', '-o', `size=${diskBytes}`, 'holdfast-nemesis', disk]);
    mounted = true;
    const clocks = await createJumpyClocks(join(root, 'bin'));
    const packed = await packFolder(join(projectRoot, 'tests/fixtures/nemesis/register'), {
      outDirectory: join(root, 'packages'),
    });
    cluster = await createMachines(names, settingsOf({ registers, onAuthorityLoss }), {
      store: storeName,
      persistence: 'everysec',
      redisParameters: ['--auto-aof-rewrite-min-size', '4mb'],
      redisRoot: disk,
      packages: { 'register.zip': await readFile(packed.zipPath) },
      ...(clocks && {
        program: ({ name }) => [clocks.program(name), join(projectRoot, 'cli/main.ts')],
      }),
    });
    const world = createWorld(cluster, { keys, clocks, disk, noteMove: () => moves++ });
    await Promise.all(names.map(name => world.startNode(name)));
    const { code, output } = await cluster.bootstrap(cluster.network.machine('n1'));
    if (code !== 0) throw new Error(`bootstrap ended with ${code}: ${output}`);
    await until('everything runs', async () => (await problemsOf(world)).length === 0, 60_000);
    return {
      description: `three machines on Redis, onAuthorityLoss ${onAuthorityLoss}, ${clocks ? 'clocks jump' : 'clocks cannot jump here'}; its logs are in ${cluster.directory}`,
      directory: `${root} and ${cluster.directory}`,
      routers: cluster.network.machines
        .filter(({ name }) => name !== storeName)
        .map(machine => world.cluster.routerUri(machine)),
      registers: new Map(keys.map(key => [key, registerDialect])),
      // Past its deadline such an owner commits under its fence, but what it remembers may be old.
      readFiles: onAuthorityLoss === 'serveFenced',
      faults: machineFaults(world),
      moves: () => moves,
      problems: () => problemsOf(world),
      contents: async () => new Map(keys.map(key => [key, contentOfFile(registers, key)])),
      stop: () => stop(world),
      dispose,
    };
  } catch (error) {
    await dispose({ keepFolder: false });
    throw error;
  }
}

function settingsOf({ registers, onAuthorityLoss }: { registers: string; onAuthorityLoss: string }) {
  const manager = { host: '0.0.0.0', port: 7_777, leaseTtlMs: 1_500, livenessMs: 300, nodeTimeoutMs: 700 };
  return {
    sessionTtlMs: ttlMs,
    holdMs,
    componentPackages: [{ name: 'register', version: '1.0.0', packagePath: 'register.zip' }],
    componentInstances: [
      {
        id: 'node-manager',
        packageName: 'node-manager',
        settings: { ...manager, deadAfterMs: 60_000 },
        restart,
      },
      {
        id: 'router',
        packageName: 'router',
        instances: 'perNode',
        settings: { host: '0.0.0.0', port: 8_000 },
        restart,
      },
      {
        id: 'registers',
        packageName: 'register',
        instances: 'perNode',
        settings: { directory: registers },
        onAuthorityLoss,
        restart,
      },
    ],
    routes: [{ pathPrefix: '/reg', componentInstanceId: 'registers' }],
  };
}

function createWorld(
  cluster: MachineCluster,
  parts: Pick<MachineWorld, 'keys' | 'clocks' | 'disk' | 'noteMove'>,
): MachineWorld {
  const { clocks } = parts;
  return {
    ...parts,
    cluster,
    ttlMs,
    names,
    async startNode(name) {
      await clocks?.arm(name);
      await cluster.startNode(cluster.network.machine(name));
      await clocks?.disarm(name);
    },
    async master(path, body) {
      const response = await fetch(cluster.masterUri + path, {
        method: body === undefined ? 'GET' : 'POST',
        headers: { authorization: `Bearer ${cluster.token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(masterTimeoutMs),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
      return JSON.parse(text) as unknown;
    },
  };
}

/** All that shall run runs, every node sees the store, and nothing is left to do. */
async function problemsOf({ cluster, master }: MachineWorld): Promise<string[]> {
  const { actions } = (await master('/api/master/plan')) as { actions: PlanAction[] };
  const { instances, nodes, isLeader } = (await master('/api/master')) as MasterStatus;
  const stores = await Promise.all(
    names.map(async name => ({ name, ...(await cluster.coordination(cluster.network.machine(name))) })),
  );
  return [
    ...actions.map(action => JSON.stringify(action)),
    ...nodes.filter(node => node.state !== 'ready').map(node => `${node.networkName} is ${node.state}`),
    ...(isLeader ? [] : ['nobody leads']),
    ...(instances.length < 2 ? ['the settings have not been read'] : []),
    ...instances
      .filter(({ desired, running, live }) => running !== desired || live !== desired)
      .map(
        ({ id, desired, running, live, problems }) =>
          `${id} ${running}/${live}/${desired} ${problems.join('; ')}`,
      ),
    ...stores
      .filter(({ reachable, sessionsToEnd }) => !reachable || sessionsToEnd > 0)
      .map(({ name, problem, sessionsToEnd }) => `${name}: ${problem}, ${sessionsToEnd} sessions to end`),
  ];
}

async function stop({ cluster, names: nodes }: MachineWorld): Promise<string[]> {
  const all = processesOf(cluster.directory);
  await cluster.network.heal();
  cluster.redis.resume();
  await Promise.all(nodes.map(name => cluster.stopNode(cluster.network.machine(name))));
  return outlived(all, goneMs);
}
