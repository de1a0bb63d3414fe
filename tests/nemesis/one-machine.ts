/** Three nodes and two routers on this machine with the embedded coordination, as `holdfast up` starts them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import AdmZip from 'adm-zip';
import type { PlanAction } from '#core';
import { packFolder } from '../../cli/pack/pack.ts';
import { projectRoot, startCluster, until, type Cluster } from '../support/cluster.ts';
import { contentOfTable, createTable, readTable, registerDialect, sqlDialect } from './dialects.ts';
import type { Content } from './history.ts';
import { deadAfterMs, oneMachineFaults, type OneMachineWorld } from './one-machine-faults.ts';
import { outlived, processesOf, strays } from './one-machine-processes.ts';
import { contentOfFile } from './register-file.ts';
import type { Target } from './target.ts';

const ttlMs = 1_500;
/** Above every outage, so that requests outlast it also where all of this runs slowly. */
const holdMs = 15_000;
/** A coordinator lingers for some seconds without clients. */
const goneMs = 5_000;
const managerSettings = { leaseTtlMs: ttlMs, livenessMs: 300, nodeTimeoutMs: 700, deadAfterMs };
/** Never given up: what is killed here is meant to come back. */
const restart = { maxAttempts: 1_000, windowMs: 60_000, backoffMs: 100, backoffMaxMs: 1_000 };
const keysOf = (prefix: string) => Array.from({ length: 16 }, (_, index) => `${prefix}/k${index}`);

export async function startOneMachine(): Promise<Target> {
  const databases = keysOf('/db');
  const registers = keysOf('/reg');
  let moves = 0;
  let version = 1;
  const cluster = await startCluster({
    nodes: 3,
    routers: 2,
    edit(document) {
      Object.assign(document, { sessionTtlMs: ttlMs, holdMs });
      for (const instance of document.componentInstances) {
        instance.restart = restart;
        if (instance.id === 'node-manager') Object.assign(instance.settings as object, managerSettings);
      }
    },
  });
  try {
    const folder = join(cluster.directory, 'registers');
    const packed = await packFolder(join(projectRoot, 'tests/fixtures/nemesis/register'), {
      outDirectory: join(cluster.directory, 'packages'),
    });
    const zip = await readFile(packed.zipPath);
    const world: OneMachineWorld = {
      cluster,
      ttlMs,
      databases,
      registers,
      nextRegister: () => {
        const next = `${++version}.0.0`;
        return { version: next, zip: inVersion(zip, next) };
      },
      noteMove: () => moves++,
    };
    await addRegisters(cluster, { zip, folder });
    await until('everything runs', async () => (await problemsOf(cluster)).length === 0, 60_000);
    for (const key of databases) {
      await until(`${key} is there`, async () => (await sql(cluster, key, createTable)) !== null);
    }
    return {
      description: `three nodes on this machine; their logs are in ${cluster.directory}`,
      directory: cluster.directory,
      routers: cluster.routerUris,
      registers: new Map([
        ...databases.map(key => [key, sqlDialect] as const),
        ...registers.map(key => [key, registerDialect] as const),
      ]),
      readFiles: false,
      faults: oneMachineFaults(world),
      moves: () => moves,
      problems: () => problemsOf(cluster),
      async contents() {
        const found = new Map<string, Content>();
        for (const key of registers) found.set(key, contentOfFile(folder, key));
        for (const key of databases) {
          const rows = await until(`${key} can be read`, () => sql(cluster, key, readTable));
          found.set(key, contentOfTable(rows as { id: number; value: string }[]));
        }
        return found;
      },
      stop: () => stop(cluster),
      dispose: async ({ keepFolder }) => {
        if (!keepFolder) await cluster.dispose();
      },
    };
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
}

async function addRegisters(
  cluster: Cluster,
  { zip, folder }: { zip: Buffer; folder: string },
): Promise<void> {
  const response = await cluster.master('/api/master/packages', {
    method: 'POST',
    headers: { 'content-type': 'application/zip' },
    body: zip,
  });
  if (!response.ok) throw new Error(await response.text());
  await cluster.editSettings(document => {
    document.componentInstances.push({
      id: 'registers',
      packageName: 'register',
      instances: 3,
      settings: { directory: folder },
      restart,
      update: { healthyAfterMs: 300 },
    });
    document.routes.push({ pathPrefix: '/reg', componentInstanceId: 'registers' });
  });
}

/** The same package under another version. */
function inVersion(zip: Buffer, packageVersion: string): Buffer {
  const archive = new AdmZip(zip);
  const manifest = JSON.parse(archive.readAsText('manifest.json')) as object;
  archive.updateFile('manifest.json', Buffer.from(JSON.stringify({ ...manifest, packageVersion })));
  return archive.toBuffer();
}

/** All that shall run runs, nothing is left to do, nothing is left over. */
async function problemsOf(cluster: Cluster): Promise<string[]> {
  // The dry run looks at all nodes first; the status shows what it saw.
  const { actions } = (await (await cluster.master('/api/master/plan')).json()) as { actions: PlanAction[] };
  const { instances, nodes } = await cluster.status();
  const ids = (await cluster.processes()).map(({ settingsId }) => settingsId?.replace(/\/[^/]*$/, ''));
  return [
    ...actions.map(action => JSON.stringify(action)),
    ...nodes.filter(node => node.state !== 'ready').map(node => `${node.networkName} is ${node.state}`),
    ...(instances.some(({ id }) => id === 'registers') ? [] : ['the settings have not been read']),
    ...instances
      .filter(({ desired, running, live }) => running !== desired || live !== desired)
      .map(
        ({ id, desired, running, live, problems }) =>
          `${id} ${running}/${live}/${desired} ${problems.join('; ')}`,
      ),
    ...ids.filter((id, index) => id !== undefined && ids.indexOf(id) !== index).map(id => `${id} runs twice`),
    ...strays(cluster),
  ];
}

async function sql(cluster: Cluster, key: string, query: string): Promise<unknown[] | null> {
  const response = await fetch(cluster.routerUris[0]! + key, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  });
  return response.ok ? ((await response.json()) as { results: unknown[] }).results : null;
}

async function stop(cluster: Cluster): Promise<string[]> {
  const all = processesOf(cluster.directory);
  await cluster.stop();
  return outlived(all, goneMs);
}
