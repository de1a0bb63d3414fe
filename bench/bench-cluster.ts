/** A cluster whose route `/bench` leads to the measured component (`component/`), and what is needed to measure its processes. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { whole } from './keepers.ts';
import { pathOf } from './peers/install.ts';
import { proxyCore } from './peers/proxies.ts';
import { startCluster, type Cluster, type Document } from '../tests/support/cluster.ts';
import { makePackage } from '../tests/support/make-package.ts';

export interface BenchCluster {
  cluster: Cluster;
  routerPort: number;
  /** Processes of the router, on one core; of the measured component. */
  routerPids: number[];
  hostPids: number[];
}

/** Two hosts of the component, one router on one core. */
export async function startBenchCluster(
  edit: (document: Document) => void = () => {},
): Promise<BenchCluster> {
  const cluster = await startCluster({
    nodes: 1,
    edit(document) {
      document.componentInstances = document.componentInstances.filter(({ id }) => id !== 'databases');
      document.componentInstances.push({ id: 'bench', packageName: 'bench', instances: 2 });
      document.routes = [{ pathPrefix: '/bench', componentInstanceId: 'bench' }];
      document.componentPackages.push({ name: 'bench', version: '1.0.0' });
      edit(document);
    },
  });
  try {
    const uploaded = await cluster.master('/api/master/packages', {
      method: 'PUT',
      headers: { 'content-type': 'application/zip' },
      body: new Uint8Array(benchPackage()),
    });
    if (!uploaded.ok) throw new Error(await uploaded.text());
    await whole(cluster, 'bench', 2);
    const processes = await cluster.processes();
    const pids = (instanceId: string) =>
      processes.flatMap(({ component, pid }) => (component?.instanceId === instanceId && pid ? [pid] : []));
    const routerPids = pids('router');
    for (const pid of routerPids) execFileSync(pathOf('taskset'), ['-acp', proxyCore, String(pid)]);
    return {
      cluster,
      routerPort: Number(new URL(cluster.routerUris[0]!).port),
      routerPids,
      hostPids: pids('bench'),
    };
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
}

function benchPackage(): Buffer {
  const read = (name: string) => readFileSync(join(import.meta.dirname, 'component', name));
  return makePackage(
    { packageName: 'bench', packageVersion: '1.0.0', kind: 'component', main: 'index.js' },
    { 'content/index.js': read('index.js'), 'content/answers.js': read('answers.js') },
  );
}
