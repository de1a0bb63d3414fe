/**
 * A cluster of several machines as its user makes it: a network namespace for each, `holdfast node` in it, one Redis that all reach, and
 * `holdfast bootstrap` from outside. What a test starts it stops: `dispose()` in `after`.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MasterStatus, NodeCoordination, ProcessInfo } from '#core';
import { holdfast, until, type Document } from './cluster.ts';
import { makeKeeperPackage } from './make-package.ts';
import { createNetwork, type Machine, type TestNetwork } from './netns.ts';
import { startRedis, type RedisPersistence, type RedisServer } from './redis-server.ts';

export interface MachineCluster {
  readonly network: TestNetwork;
  readonly redis: RedisServer;
  readonly directory: string;
  readonly token: string;
  readonly settingsPath: string;
  readonly masterUri: string;
  nodeUri(machine: Machine): string;
  /** Its entry in the settings. */
  nodeServer(machine: Machine): Document['nodeServers'][number];
  routerUri(machine: Machine): string;
  /** Starts the agent of a machine; resolves when it is ready. */
  startNode(machine: Machine, words?: readonly string[]): Promise<void>;
  /** SIGKILL to the agent of a machine; its hosts live on. */
  killNode(machine: Machine): Promise<void>;
  agentPid(machine: Machine): Promise<number>;
  /** Ctrl-C to the agent of a machine, which stops its hosts too. */
  stopNode(machine: Machine): Promise<void>;
  /** Runs the command to its end, from outside of all machines. */
  bootstrap(machine: Machine): Promise<{ code: number | null; output: string }>;
  coordination(machine: Machine): Promise<NodeCoordination>;
  processes(machine: Machine): Promise<ProcessInfo[]>;
  status(): Promise<MasterStatus>;
  /** The machine whose manager leads, as it says itself; null: none does at the moment. */
  leader(): Promise<Machine | null>;
  /** A call to the manager that leads; waits for one. */
  master(path: string, init?: RequestInit): Promise<Response>;
  /** Changes the settings through the leader. */
  editSettings(edit: (document: Document) => void): Promise<void>;
  /** `keepFolder`: what it wrote stays, for those who look for the cause of something. */
  dispose(options?: { keepFolder?: boolean }): Promise<void>;
}

const [nodePort, masterPort, routerPort] = [5_100, 7_777, 8_000];

export interface MachinesOptions {
  /** Redis gets a machine of this name for itself, which runs no node. Default: it runs where the tests run. */
  store?: string;
  persistence?: RedisPersistence;
  redisParameters?: readonly string[];
  /** See `startRedis`. */
  redisRoot?: string;
  /** The words that an agent's command line begins with. Default: `holdfast` on this Node. */
  program?: (machine: Machine) => readonly string[];
  /** Machines that the settings do not name yet. */
  later?: readonly string[];
  /** ZIPs beside the settings, by name of file. */
  packages?: Readonly<Record<string, Buffer>>;
}

/** Three keepers under `/keep`, a router on every machine, the node manager on the first. */
export async function createMachines(
  names: readonly string[],
  settings: Readonly<Record<string, unknown>> = {},
  options: MachinesOptions = {},
): Promise<MachineCluster> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-machines-'));
  const network = await createNetwork(options.store === undefined ? names : [...names, options.store]);
  const redis = await startStore(network, options).catch(async (error: unknown) => {
    await network.dispose();
    await rm(directory, { recursive: true });
    throw error;
  });
  const nodeMachines = network.machines.filter(({ name }) => name !== options.store);
  const token = randomBytes(24).toString('base64url');
  const tokenFile = join(directory, 'token');
  const settingsPath = join(directory, 'cluster-settings.json');
  const nodes = new Map<string, { child: ChildProcess; output: string }>();
  const [first] = network.machines as [Machine];
  const masterUri = `http://${first.address}:${masterPort}`;
  const nodeUri = ({ address }: Machine) => `http://${address}:${nodePort}`;
  let disposed: Promise<void> | null = null;

  const document = {
    clusterName: 'machines',
    coordination: { kind: 'redis', urls: [redis.url.replace('127.0.0.1', network.gateway)] },
    nodeServers: nodeMachines
      .filter(({ name }) => !options.later?.includes(name))
      .map(machine => nodeServer(machine)),
    componentPackages: [{ name: 'keeper', version: '1.0.0', packagePath: 'keeper.zip' }],
    componentInstances: [
      { id: 'node-manager', packageName: 'node-manager', settings: { host: '0.0.0.0', port: masterPort } },
      {
        id: 'router',
        packageName: 'router',
        instances: 'perNode',
        settings: { host: '0.0.0.0', port: routerPort },
      },
      { id: 'keepers', packageName: 'keeper', instances: 'perNode' },
    ],
    routes: [{ pathPrefix: '/keep', componentInstanceId: 'keepers' }],
    ...settings,
  };

  function nodeServer(machine: Machine) {
    return { networkName: machine.name, networkIp: machine.address, nodeApiUri: nodeUri(machine) };
  }

  const get = async (uri: string) => {
    const response = await fetch(uri, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(8_000),
    });
    return (await response.json()) as unknown;
  };

  async function leader(): Promise<Machine | null> {
    const asked = nodeMachines.map(async machine => {
      const status = (await get(`http://${machine.address}:${masterPort}/api/master`)) as MasterStatus;
      if (!status.isLeader) throw new Error(`${machine.name} does not lead`);
      return machine;
    });
    return Promise.any(asked).catch(() => null);
  }

  async function master(path: string, init: RequestInit = {}): Promise<Response> {
    const machine = await until('a manager leads', leader);
    return fetch(`http://${machine.address}:${masterPort}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${token}`, ...(init.headers as Record<string, string>) },
      signal: AbortSignal.timeout(30_000),
    });
  }

  /** What was started may be the wrapper around it, which would take its hosts along. */
  async function agentPid({ name }: Machine): Promise<number> {
    const owner = await readFile(join(directory, name, '.lock-owner'), 'utf8');
    return (JSON.parse(owner) as { pid: number }).pid;
  }

  async function end(machine: Machine, signal: NodeJS.Signals): Promise<void> {
    const node = nodes.get(machine.name);
    nodes.delete(machine.name);
    if (!node || node.child.exitCode !== null || node.child.signalCode !== null) return;
    const exited = once(node.child, 'exit');
    node.child.kill(signal);
    await exited;
  }

  async function remove(keepFolder: boolean): Promise<void> {
    await network.heal().catch(() => {}); // it may not have come that far
    await Promise.all(nodeMachines.map(machine => end(machine, 'SIGINT')));
    await redis.stop();
    await network.dispose();
    if (!keepFolder) await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }

  await mkdir(directory, { recursive: true });
  await writeFile(tokenFile, `${token}\n`, { mode: 0o600 });
  await writeFile(settingsPath, JSON.stringify(document, null, 2));
  const packages = options.packages ?? { 'keeper.zip': makeKeeperPackage('1.0.0') };
  for (const [name, zip] of Object.entries(packages)) await writeFile(join(directory, name), zip);

  return {
    network,
    redis,
    directory,
    token,
    settingsPath,
    masterUri,
    nodeUri,
    routerUri: ({ address }) => `http://${address}:${routerPort}`,
    async startNode(machine, words = []) {
      const data = join(directory, machine.name);
      const [file, ...first] = options.program?.(machine) ?? [process.execPath, holdfast];
      const child = network.spawn(
        machine,
        file!,
        [
          [...first, 'node', '--name', machine.name, '--listen', `${machine.address}:${nodePort}`],
          ['--data', data, '--token-file', tokenFile, '--stop-hosts', ...words],
        ].flat(),
        { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, npm_lifecycle_event: undefined } },
      );
      const node = { child, output: '' };
      nodes.set(machine.name, node);
      await new Promise<void>((resolve, reject) => {
        const collect = (chunk: Buffer) => {
          node.output += chunk.toString();
          if (node.output.includes('is ready at')) resolve();
        };
        child.stdout!.on('data', collect);
        child.stderr!.on('data', collect);
        child.once('exit', code => reject(new Error(`the node ended with ${code}: ${node.output}`)));
      });
    },
    async killNode(machine) {
      const node = nodes.get(machine.name)!;
      const pid = await agentPid(machine);
      const exited = once(node.child, 'exit');
      process.kill(pid, 'SIGKILL');
      await exited;
      nodes.delete(machine.name);
    },
    agentPid,
    stopNode: machine => end(machine, 'SIGINT'),
    async bootstrap(machine) {
      const child = spawn(
        process.execPath,
        [
          [holdfast, 'bootstrap', '--settings', settingsPath, '--node', nodeUri(machine)],
          ['--token-file', tokenFile],
        ].flat(),
        {
          cwd: directory,
          stdio: ['ignore', 'pipe', 'pipe'],
          env: { ...process.env, npm_lifecycle_event: undefined },
        },
      );
      let output = '';
      child.stdout.on('data', chunk => (output += chunk));
      child.stderr.on('data', chunk => (output += chunk));
      const [code] = (await once(child, 'close')) as [number | null];
      return { code, output };
    },
    coordination: async machine =>
      (await get(`${nodeUri(machine)}/api/node/coordination`)) as NodeCoordination,
    processes: async machine => (await get(`${nodeUri(machine)}/api/node/processes`)) as ProcessInfo[],
    status: async () => (await get(`${masterUri}/api/master`)) as MasterStatus,
    leader,
    master,
    nodeServer,
    async editSettings(edit) {
      const present = await master('/api/master/settings');
      const next = (await present.json()) as Document;
      edit(next);
      const written = await master('/api/master/settings', {
        method: 'PUT',
        headers: { 'content-type': 'application/json', 'if-match': present.headers.get('etag')! },
        body: JSON.stringify(next, null, 2),
      });
      if (written.status !== 200) throw new Error(await written.text());
    },
    dispose: ({ keepFolder = false } = {}) => (disposed ??= remove(keepFolder)),
  };
}

function startStore(network: TestNetwork, options: MachinesOptions): Promise<RedisServer> {
  const { store, persistence = 'none', redisParameters = [], redisRoot } = options;
  const machine = store === undefined ? null : network.machine(store);
  return startRedis({
    persistence,
    parameters: [
      ...(machine ? [] : ['--bind', '127.0.0.1', network.gateway]),
      '--protected-mode',
      'no',
      ...redisParameters,
    ],
    ...(redisRoot === undefined ? {} : { root: redisRoot }),
    ...(machine && {
      host: {
        address: machine.address,
        spawn: (file, words, spawnOptions) => network.spawn(machine, file, words, spawnOptions),
      },
    }),
  });
}
