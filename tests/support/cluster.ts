/**
 * A whole cluster, started as a user starts it: `bin/holdfast up` on a settings file in a folder of its own. Ports are
 * free ones below the ephemeral range. What a test starts it stops: `stop()` in `after`.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MasterStatus, ProcessInfo } from '#core';
import { startRedis, type RedisServer } from './redis-server.ts';
import { freePort } from './wait.ts';

export { freePort, until } from './wait.ts';

export const projectRoot = join(import.meta.dirname, '../..');
export const holdfast = join(projectRoot, 'bin/holdfast');

export type Document = {
  nodeServers: { networkName: string; nodeApiUri: string; [name: string]: unknown }[];
  componentInstances: {
    id: string;
    packageName: string;
    instances?: number | 'perNode';
    [name: string]: unknown;
  }[];
  componentPackages: { name: string; version: string; packagePath?: string }[];
  routes: { pathPrefix: string; componentInstanceId: string; [name: string]: unknown }[];
  [name: string]: unknown;
};

export interface Cluster {
  directory: string;
  stateRoot: string;
  settingsPath: string;
  token: string;
  masterUri: string;
  routerUris: string[];
  nodeUris: string[];
  /** Its coordination store; null: the embedded one. */
  redis: RedisServer | null;
  /** The `up` process: the wrapper that a user's shell starts. */
  process: ChildProcess;
  /** All that `up` has printed. */
  output(): string;
  master(path: string, init?: RequestInit): Promise<Response>;
  status(): Promise<MasterStatus>;
  /** Live processes of all nodes. */
  processes(): Promise<(ProcessInfo & { nodeUri: string })[]>;
  /** Replaces the settings file by rename, as editors do. */
  writeSettings(text: string): Promise<void>;
  editSettings(edit: (document: Document) => void): Promise<void>;
  /** Ctrl-C; resolves to the exit code. Idempotent. */
  stop(): Promise<number | null>;
  /** Starts it again on the same folder. */
  restart(): Promise<void>;
  /** Stops and removes the folder. */
  dispose(): Promise<void>;
}

export async function startCluster(
  options: {
    nodes?: number;
    routers?: number;
    edit?: (document: Document) => void;
    /** `redis`: a server of its own, without persistence, which ends with the cluster. Default `embedded`. */
    coordination?: 'embedded' | 'redis';
    /** That server, if it shall be set up in another way; it ends with the cluster too. */
    redis?: RedisServer;
    /** Runs beside the start, for those who measure it; the start waits for it. */
    onSpawn?: (routerUris: string[]) => Promise<unknown>;
  } = {},
): Promise<Cluster> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-e2e-'));
  const settingsPath = join(directory, 'cluster-settings.json');
  const stateRoot = join(directory, '.holdfast');
  const packages = join(projectRoot, 'build/packages');
  const document: Document = {
    clusterName: 'test',
    nodeServers: [],
    componentPackages: ['sqlite-service', 'hello', 'basic-publisher'].map(name => ({
      name,
      version: '1.0.0',
      packagePath: join(packages, `${name}-1.0.0.zip`),
    })),
    componentInstances: [
      { id: 'node-manager', packageName: 'node-manager', settings: { port: await freePort() } },
      { id: 'databases', packageName: 'sqlite-service', instances: 3, settings: { directory: './data' } },
    ],
    routes: [
      { pathPrefix: '/db', componentInstanceId: 'databases', resourceKey: { from: 'path', segments: 2 } },
    ],
  };
  for (let index = 1; index <= (options.nodes ?? 3); index++) {
    document.nodeServers.push({
      networkName: `node-${index}`,
      nodeApiUri: `http://127.0.0.1:${await freePort()}`,
    });
  }
  for (let index = 1; index <= (options.routers ?? 1); index++) {
    document.componentInstances.push({
      id: index === 1 ? 'router' : `router-${index}`,
      packageName: 'router',
      settings: { port: await freePort() },
    });
  }
  const redis = options.redis ?? (options.coordination === 'redis' ? await startRedis() : null);
  if (redis) document.coordination = { kind: 'redis', urls: [redis.url] };
  options.edit?.(document);
  await writeFile(settingsPath, JSON.stringify(document, null, 2));

  let output = '';
  const portOf = (id: string) =>
    (document.componentInstances.find(instance => instance.id === id)!.settings as { port: number }).port;
  const cluster: Cluster = {
    directory,
    stateRoot,
    settingsPath,
    token: '',
    masterUri: `http://127.0.0.1:${portOf('node-manager')}`,
    routerUris: document.componentInstances
      .filter(instance => instance.packageName === 'router')
      .map(instance => `http://127.0.0.1:${portOf(instance.id)}`),
    nodeUris: document.nodeServers.map(node => node.nodeApiUri),
    redis,
    process: undefined as never,
    output: () => output,
    master: (path, init = {}) =>
      fetch(cluster.masterUri + path, {
        ...init,
        headers: { authorization: `Bearer ${cluster.token}`, ...(init.headers as Record<string, string>) },
      }),
    async status() {
      return (await (await cluster.master('/api/master')).json()) as MasterStatus;
    },
    async processes() {
      const lists = await Promise.all(
        cluster.nodeUris.map(async nodeUri => {
          const response = await fetch(`${nodeUri}/api/node/processes`, {
            headers: { authorization: `Bearer ${cluster.token}` },
          });
          return ((await response.json()) as ProcessInfo[]).map(info => ({ ...info, nodeUri }));
        }),
      );
      return lists.flat();
    },
    async writeSettings(text) {
      await writeFile(`${settingsPath}.new`, text);
      await rename(`${settingsPath}.new`, settingsPath);
    },
    async editSettings(edit) {
      const current = JSON.parse(await readFile(settingsPath, 'utf8')) as Document;
      edit(current);
      await cluster.writeSettings(JSON.stringify(current, null, 2));
    },
    async stop() {
      const child = cluster.process;
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        child.kill('SIGINT');
        await exited;
      }
      return child.exitCode;
    },
    async restart() {
      await cluster.stop();
      await start();
    },
    async dispose() {
      await cluster.stop();
      await redis?.stop();
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };

  async function start(): Promise<void> {
    const child = spawn(
      process.execPath,
      [holdfast, 'up', '--settings', settingsPath, '--state', stateRoot, '--json'],
      {
        cwd: directory,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, npm_lifecycle_event: undefined },
      },
    );
    cluster.process = child;
    const collect = (chunk: Buffer) => (output += chunk.toString());
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const ready = new Promise<void>((resolve, reject) => {
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.split('\n').some(line => line.startsWith('{'))) resolve();
      });
      child.once('exit', code => reject(new Error(`up ended with ${code}:\n${output}`)));
    });
    await ready;
    cluster.token = (await readFile(join(stateRoot, 'token'), 'utf8')).trim();
  }

  await mkdir(directory, { recursive: true });
  try {
    await Promise.all([start(), options.onSpawn?.(cluster.routerUris)]);
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
  return cluster;
}
