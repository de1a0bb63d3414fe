/**
 * Beside PM2 and a plain loop that forks again: 20 apps until all listen, one killed until its successor listens, memory, and requests
 * that fail while all copies are replaced under load. The same code listens everywhere; see `../component/app.js`.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { note, type Comparison, type Ratio } from '../comparison.ts';
import { startLoadProcess } from '../load/load.ts';
import type { Scenario } from '../measure.ts';
import { allProcesses, memoryOf } from '../peers/bare-process.ts';
import { ensureNpmPeers } from '../peers/install.ts';
import { startPm2, type Pm2 } from '../peers/pm2.ts';
import { hearTellings, type Tellings } from '../peers/tellings.ts';
import { freePort, startCluster, until, type Cluster, type Document } from '../../tests/support/cluster.ts';
import { makePackage } from '../../tests/support/make-package.ts';

const apps = 20;
const copies = 4;
const killsEachRound = 4;
const calmMs = 300;
const mebibyte = 2 ** 20;
const program = join(import.meta.dirname, '../component/app.js');
const ours = 'Holdfast';

/** Runs the apps. What it starts tells. */
interface Manager {
  name: string;
  start(): Promise<void>;
  /** Resolves when none is left. */
  remove(): Promise<void>;
  /** The process that supervises; null: this one. */
  pid: number | null;
}

export const pm2: Scenario = {
  name: 'pm2',
  async run(runs) {
    ensureNpmPeers();
    const tellings = await hearTellings();
    const daemon = await startPm2();
    let cluster: Cluster | null = null;
    try {
      cluster = await startApps(tellings.port);
      const managers = [
        pm2Manager(daemon, tellings.port),
        forkLoop(tellings.port),
        await ourManager(cluster),
      ];
      const starts = comparison();
      for (const manager of managers) await round(manager, tellings); // the first one fills caches
      for (let run = 0; run < runs; run++) {
        for (const manager of managers)
          for (const values of await round(manager, tellings)) note(starts, manager.name, values);
      }
      return [starts, await reloads(daemon, cluster, tellings, runs)];
    } finally {
      await cluster?.dispose();
      await daemon.stop();
      tellings.close();
    }
  },
};

async function round(manager: Manager, tellings: Tellings): Promise<Record<string, number>[]> {
  tellings.forget();
  const startMs = performance.now();
  await manager.start();
  const values: Record<string, number>[] = [{ '20 listen, ms': (await tellings.count(apps)) - startMs }];
  const pids = [...tellings.heard.keys()];
  await pause(calmMs);
  for (let kill = 0; kill < killsEachRound; kill++) {
    tellings.forget();
    const killedMs = performance.now();
    process.kill(pids[kill * 3]!, 'SIGKILL');
    values.push({ 'killed → listens, ms': (await tellings.count(1)) - killedMs });
    await pause(calmMs);
  }
  const mib = (pid: number) => memoryOf(pid).pssBytes / mebibyte;
  values.push({ 'PSS of an app, MiB': mib(pids[1]!) });
  if (manager.pid) {
    values.push({
      'supervisor, PSS, MiB': mib(manager.pid),
      'supervisor, RSS, MiB': memoryOf(manager.pid).rssBytes / mebibyte,
    });
  }
  await manager.remove();
  return values;
}

function pm2Manager(daemon: Pm2, tellPort: number): Manager {
  return {
    name: 'PM2 7',
    pid: daemon.daemonPid,
    start: () =>
      daemon.start(
        Array.from({ length: apps }, (_, index) => ({
          name: `app-${index}`,
          script: program,
          max_restarts: 1_000,
          env: { BENCH_TELL_PORT: String(tellPort) },
        })),
      ),
    remove: () => daemon.deleteAll(),
  };
}

/** What one would write in a minute: each child that exits is spawned again at once. */
function forkLoop(tellPort: number): Manager {
  let children: ChildProcess[] = [];
  let stopped = false;
  const fork = (slot: number) => {
    const child = spawn(process.execPath, [program], {
      stdio: 'ignore',
      env: { ...process.env, BENCH_TELL_PORT: String(tellPort) },
    });
    children[slot] = child;
    child.once('exit', () => {
      if (!stopped) fork(slot);
    });
  };
  return {
    name: 'a plain loop of forks',
    pid: null,
    async start() {
      stopped = false;
      for (let slot = 0; slot < apps; slot++) fork(slot);
    },
    async remove() {
      stopped = true;
      for (const child of children) child.kill('SIGKILL');
      children = [];
    },
  };
}

async function ourManager(cluster: Cluster): Promise<Manager> {
  const resize = (instances: number) =>
    putSettings(cluster, document => {
      document.componentInstances.find(({ id }) => id === 'apps')!.instances = instances;
    });
  const [host] = await cluster.processes();
  const agent = allProcesses().find(({ pid }) => pid === host!.pid)!;
  return {
    name: ours,
    pid: agent.parentPid,
    start: () => resize(apps),
    async remove() {
      await resize(0);
      await until('none is left', async () =>
        (await cluster.processes()).every(({ component }) => component?.instanceId !== 'apps'),
      );
    },
  };
}

/** One node, 0 copies of the app yet, and `copies` of it for the reloads. */
async function startApps(tellPort: number): Promise<Cluster> {
  const restart = { maxAttempts: 1_000 };
  const cluster = await startCluster({
    nodes: 1,
    edit(document) {
      document.nodeServers[0]!.capacity = 64;
      document.componentInstances = document.componentInstances.filter(({ id }) => id !== 'databases');
      document.componentInstances.push(
        {
          id: 'apps',
          packageName: 'listening',
          packageVersion: '1.0.0',
          instances: 0,
          settings: { tellPort },
          restart,
        },
        { id: 'reloaded', packageName: 'reloaded', instances: copies, settings: { tellPort } },
      );
      document.routes = [{ pathPrefix: '/bench', componentInstanceId: 'reloaded' }];
      document.componentPackages.push(
        { name: 'listening', version: '1.0.0' },
        { name: 'reloaded', version: '1.0.0' },
      );
    },
  });
  try {
    await upload(cluster, 'listening', '1.0.0');
    await upload(cluster, 'reloaded', '1.0.0');
    await until('the copies run', async () => {
      const found = (await cluster.status()).instances.find(({ id }) => id === 'reloaded');
      return found?.running === copies;
    });
    return cluster;
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
}

async function upload(cluster: Cluster, packageName: string, packageVersion: string): Promise<void> {
  const read = (name: string) => readFileSync(join(import.meta.dirname, '..', name));
  const zip = makePackage(
    { packageName, packageVersion, kind: 'component', main: 'index.js' },
    { 'content/index.js': read('component/listening.js'), 'content/app.js': read('component/app.js') },
  );
  const response = await cluster.master('/api/master/packages', {
    method: 'PUT',
    headers: { 'content-type': 'application/zip' },
    body: new Uint8Array(zip),
  });
  if (!response.ok) throw new Error(await response.text());
}

async function putSettings(cluster: Cluster, edit: (document: Document) => void): Promise<void> {
  const response = await cluster.master('/api/master/settings');
  const document = (await response.json()) as Document;
  edit(document);
  const put = await cluster.master('/api/master/settings', {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'if-match': response.headers.get('etag')! },
    body: JSON.stringify(document),
  });
  if (!put.ok) throw new Error(await put.text());
}

/** All copies are replaced, one after the other, while requests come on kept connections. */
async function reloads(daemon: Pm2, cluster: Cluster, tellings: Tellings, runs: number): Promise<Comparison> {
  const result: Comparison = {
    title: `Failed requests while ${copies} copies are replaced, 500 requests/s on 32 kept connections`,
    metrics: ['failed', 'of', 'it takes, ms', 'p99, ms'],
    samples: {},
    ratios: [],
  };
  const ports = [await freePort(), await freePort()] as const;
  const env = (port: number) => ({ BENCH_TELL_PORT: String(tellings.port), BENCH_PORT: String(port) });
  const cluster4 = { script: program, exec_mode: 'cluster', instances: copies };
  tellings.forget();
  await daemon.start([
    { ...cluster4, name: 'plain', env: env(ports[0]) },
    { ...cluster4, name: 'graceful', env: { ...env(ports[1]), BENCH_GRACEFUL: '1' } },
  ]);
  await tellings.count(2 * copies);
  const routerPort = Number(new URL(cluster.routerUris[0]!).port);
  for (let run = 1; run <= runs; run++) {
    const measured = async (name: string, port: number, replace: () => Promise<void>) => {
      note(result, name, await underLoad(port, tellings, replace));
    };
    await measured('PM2 7, cluster reload', ports[0], () => daemon.reload('plain'));
    await measured('PM2 7, an app that closes its server at SIGINT', ports[1], () =>
      daemon.reload('graceful'),
    );
    await measured(`${ours}, rolling deployment of a new version`, routerPort, async () => {
      await upload(cluster, 'reloaded', `1.0.${run}`);
      await until(
        'all run it',
        async () => {
          const found = (await cluster.status()).instances.find(({ id }) => id === 'reloaded');
          return found?.versions[`1.0.${run}`] === copies && !found.deployment;
        },
        120_000,
      );
    });
  }
  return result;
}

async function underLoad(
  port: number,
  tellings: Tellings,
  replace: () => Promise<void>,
): Promise<Record<string, number>> {
  const keys = Array.from({ length: 32 }, (_, index) => `/bench/${index}`);
  const plan = { ports: [port], keys, connections: 32, perSecond: 500, postEvery: 0, keepers: false };
  const load = startLoadProcess(plan);
  await load.answered(300);
  tellings.forget();
  const startMs = performance.now();
  await replace();
  await tellings.count(copies);
  const tookMs = performance.now() - startMs;
  await load.answered(load.totals.answered + 300);
  const { answered, failedIdempotent, windows } = await load.stop();
  const p99s = windows.map(({ p99Ms }) => p99Ms).sort((a, b) => a - b);
  return {
    failed: failedIdempotent,
    of: answered,
    'it takes, ms': tookMs,
    'p99, ms': p99s[Math.floor(p99s.length / 2)] ?? 0,
  };
}

function comparison(): Comparison {
  const to = (metric: string, subject: string, aim: string): Ratio => ({
    name: `${metric.replace(/, (?:ms|MiB)$/, '')} to ${subject}`,
    of: { subject: ours, metrics: [metric] },
    to: { subject, metrics: [metric] },
    aim,
  });
  return {
    title: `${apps} apps under a process manager`,
    metrics: [
      '20 listen, ms',
      'killed → listens, ms',
      'PSS of an app, MiB',
      'supervisor, PSS, MiB',
      'supervisor, RSS, MiB',
    ],
    samples: {},
    ratios: [
      to('20 listen, ms', 'PM2 7', '< 1'),
      to('killed → listens, ms', 'PM2 7', '< 1'),
      to('supervisor, PSS, MiB', 'PM2 7', '< 1'),
      to('PSS of an app, MiB', 'PM2 7', '–'),
    ],
  };
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
