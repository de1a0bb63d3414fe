/**
 * A 200 kB component ZIP uploaded to the master → running on three nodes and answering. Peer: the same ZIP written and
 * unpacked three times, and three bare Node servers started.
 */
import AdmZip from 'adm-zip';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { time, untilOk, type Scenario } from '../measure.ts';
import { startBareServer } from '../peers/bare-process.ts';
import { startCluster, until } from '../../tests/support/cluster.ts';
import { makePackage } from '../../tests/support/make-package.ts';

function makeBulky(version: string): Buffer {
  return makePackage(
    { packageName: 'bulky', packageVersion: version, kind: 'component', main: 'index.js' },
    {
      'content/index.js': `export default context => ({ async start() {}, async stop() {},
        fetch: () => new Response(JSON.stringify({ version: '${version}', node: context.nodeName })) });`,
      'content/ballast.bin': randomBytes(200_000),
    },
  );
}

export const deploy: Scenario = {
  name: 'deploy',
  async run(runs) {
    const first: number[] = [];
    const bare: number[] = [];
    const cluster = await startCluster({
      edit(document) {
        document.routes.push({ pathPrefix: '/bulky', componentInstanceId: 'bulky' });
        document.componentInstances.push({
          id: 'bulky',
          packageName: 'bulky',
          instances: 3,
          // All at once; the old copies go when the new ones are there.
          update: { maxUnavailable: 3, maxSurge: 3, healthyAfterMs: 0 },
        });
        document.componentPackages.push({ name: 'bulky', version: '0.0.1' });
      },
    });
    try {
      for (let run = 0; run < runs; run++) {
        const version = `1.0.${run}`;
        const zip = makeBulky(version);
        bare.push(
          await time(async () => {
            const servers = await Promise.all(
              ['a', 'b', 'c'].map(async () => {
                const directory = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
                await writeFile(join(directory, 'package.zip'), zip);
                new AdmZip(join(directory, 'package.zip')).extractAllTo(directory);
                const server = await startBareServer();
                await untilOk(server.uri);
                return { ...server, directory };
              }),
            );
            for (const server of servers) server.child.kill('SIGKILL');
            await Promise.all(servers.map(server => rm(server.directory, { recursive: true })));
          }),
        );
        first.push(
          await time(async () => {
            const response = await cluster.master('/api/master/packages', {
              method: 'PUT',
              headers: { 'content-type': 'application/zip' },
              body: new Uint8Array(zip),
            });
            if (!response.ok) throw new Error(await response.text());
            await until('three nodes run it', async () => {
              const found = (await cluster.status()).instances.find(instance => instance.id === 'bulky');
              return found?.running === 3 && found.live === 3 && found.versions[version] === 3;
            });
            const text = await untilOk(`${cluster.routerUris[0]}/bulky`);
            if (!text.includes(version)) throw new Error(`answered by another version: ${text}`);
          }),
        );
      }
    } finally {
      await cluster.dispose();
    }
    return [
      {
        name: 'upload of 200 kB → answering on 3 nodes',
        unit: 'ms',
        samples: first,
        peer: { name: 'unzip and start 3 bare servers', samples: bare },
        aim: '< 1,000',
      },
    ];
  },
};
