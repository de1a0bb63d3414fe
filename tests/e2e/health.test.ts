/**
 * Health on a real cluster: a component whose event loop blocks is replaced while its node stays ready, and one that listens itself is asked
 * over HTTP, and gets requests only while it answers well.
 */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MasterNode, ProcessInfo } from '#core';
import { freePort, startCluster, until, type Cluster } from '../support/cluster.ts';
import { makePackage } from '../support/make-package.ts';

/** Blocks for ever on request; listens on `settings.port` if there is one, and is sick there while its file exists. */
const patient = makePackage(
  {
    packageName: 'patient',
    packageVersion: '1.0.0',
    kind: 'component',
    contentRoot: 'content',
    main: 'index.js',
  },
  {
    'content/index.js': `
      import { existsSync } from 'node:fs';
      import { createServer } from 'node:http';
      import { once } from 'node:events';
      export default function create(context) {
        const { port, sickFile } = context.settings;
        const server = createServer((request, response) => {
          response.writeHead(existsSync(sickFile + '-' + context.nodeName) ? 503 : 200).end();
        });
        const who = () => Response.json({ process: context.processId, node: context.nodeName });
        const answer = request => {
          if (request.url.includes('block')) for (;;);
          return who();
        };
        return {
          async start() {
            if (port) await once(server.listen(port, '127.0.0.1'), 'listening');
          },
          async stop() {
            server.closeAllConnections();
            server.close();
          },
          ...(context.settings.owns
            ? { openResource: async () => ({ fetch: async request => answer(request), close: async () => {} }) }
            : { fetch: answer }),
        };
      }`,
  },
);

describe('health of components on a cluster', function () {
  this.timeout(180_000);
  let cluster: Cluster;
  let sickFile: string;
  before(async () => {
    cluster = await startCluster({
      nodes: 2,
      edit(document) {
        document.componentInstances.splice(1, 1);
        document.routes = [];
        document.sessionTtlMs = 60_000; // so that nothing but its liveness ends a process that blocks
        document.holdMs = 70_000;
      },
    });
    sickFile = join(cluster.directory, 'sick');
    const response = await cluster.master('/api/master/packages', {
      method: 'POST',
      headers: { 'content-type': 'application/zip' },
      body: new Uint8Array(patient),
    });
    assert.equal(response.status, 201, await response.text());
    const ports = [await freePort(), await freePort()];
    await cluster.editSettings(document => {
      const health = { http: { path: '/', intervalMs: 100, failuresMax: 2, timeoutMs: 5_000 } };
      document.componentInstances.push(
        {
          id: 'owner',
          packageName: 'patient',
          instances: 2,
          settings: { owns: true, sickFile },
          health: { livenessMs: 2_000 },
        },
        { id: 'listener', packageName: 'patient', instances: 2, settings: { sickFile }, ports, health },
      );
      document.routes.push(
        { pathPrefix: '/owner', componentInstanceId: 'owner' },
        { pathPrefix: '/listener', componentInstanceId: 'listener' },
      );
    });
    await until('all copies serve', async () => {
      const { instances } = await cluster.status();
      return ['owner', 'listener'].every(id => instances.find(one => one.id === id)?.running === 2);
    });
  });
  after(() => cluster?.dispose());

  const ask = async (path: string) =>
    (await (await fetch(cluster.routerUris[0] + path)).json()) as { process: string; node: string };
  const nodes = async () => (await (await cluster.master('/api/master/nodes')).json()) as MasterNode[];
  const copyOn = async (id: string, node: string): Promise<ProcessInfo | undefined> =>
    (await cluster.processes()).find(
      one => one.component?.instanceId === id && one.processId.startsWith(node) && one.state === 'Running',
    );

  it('replaces a component that blocks: its keys move at once, and its node stays ready', async () => {
    const before = await ask('/owner/one');
    const blocked = fetch(`${cluster.routerUris[0]}/owner/one?block`).catch(() => null);
    const after = await ask('/owner/one'); // held until the key has another owner
    assert.notEqual(after.process, before.process);
    const response = await blocked;
    assert.notEqual(response?.status, 200);
    for (const { state, networkName } of await nodes()) assert.equal(state, 'ready', networkName);
    const restarted = await until('the restart', async () => {
      const copy = await copyOn('owner', before.node);
      return copy && copy.restarts > 0 && copy;
    });
    assert.match(
      restarted.lastExit?.reason ?? '',
      /unresponsive: its event loop answered nothing for 2000 ms/,
    );
  });

  it('sends requests only to copies that answer their checks, and to all when they do again', async () => {
    const seen = async () =>
      new Set(await Promise.all(Array.from({ length: 8 }, async () => (await ask('/listener/x')).node)));
    await until('both serve', async () => (await seen()).size === 2);
    await writeFile(`${sickFile}-node-1`, '');
    const sick = await until('bad health', async () => {
      const copy = await copyOn('listener', 'node-1');
      return copy?.host?.health.ready === false && copy;
    });
    assert.match(
      sick.host?.health.message ?? '',
      /health check failed 2 times in a row: http:\/\/127\.0\.0\.1:\d+\/ answered 503/,
    );
    await until('only the good one serves', async () => {
      const found = await seen();
      return found.size === 1 && found.has('node-2');
    });
    await rm(`${sickFile}-node-1`);
    await until('both serve again', async () => (await seen()).size === 2);
    const copy = await copyOn('listener', 'node-1');
    assert.deepEqual([copy?.processId, copy?.restarts], [sick.processId, 0]);
  });
});
