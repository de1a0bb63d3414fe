/**
 * An HTTP application that nobody here wrote (json-server, an Express app with its own dependencies) becomes a component:
 * scaffolded, wrapped in a few lines, packed, deployed, and used. Each shop's JSON file has one owner.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { holdfast, startCluster, until, type Cluster } from '../support/cluster.ts';
import { stepByStep } from '../support/step-by-step.ts';

const run = promisify(execFile);

const main = `
import { createServer } from 'node:http';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import jsonServer from 'json-server';

export default function create(context) {
  return {
    async start() {},
    async stop() {},
    // Each shop is one JSON file, written by one process at a time.
    async openResource(resource) {
      mkdirSync(context.dataDirectory, { recursive: true });
      const file = join(context.dataDirectory, encodeURIComponent(resource.key) + '.json');
      if (!existsSync(file)) writeFileSync(file, JSON.stringify({ products: [], orders: [] }));
      const app = jsonServer.create();
      app.use(resource.key, jsonServer.bodyParser, jsonServer.router(file));
      const server = createServer(app).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const origin = 'http://127.0.0.1:' + server.address().port;
      return {
        fetch(request) {
          resource.assertOwned();
          const { pathname, search } = new URL(request.url);
          return fetch(origin + pathname + search, {
            method: request.method, headers: request.headers, body: request.body, duplex: 'half', redirect: 'manual',
          });
        },
        close: () => new Promise(resolve => { server.close(() => resolve()); server.closeAllConnections(); }),
      };
    },
  };
}
`;

describe('an application from npm', function () {
  this.timeout(180_000);
  stepByStep();
  let directory: string;
  let cluster: Cluster;
  const cli = async (...args: string[]) =>
    (await run(process.execPath, [holdfast, ...args], { cwd: directory })).stdout;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-app-'));
    cluster = await startCluster();
  });
  after(async () => {
    await cluster?.dispose();
    if (directory) await rm(directory, { recursive: true, force: true });
  });

  it('is scaffolded, wrapped and packed into one ZIP', async () => {
    await cli('new', 'component', 'shop', '--javascript', '--owns-resources');
    await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', 'json-server@0.17.4'], {
      cwd: join(directory, 'shop'),
    });
    await writeFile(join(directory, 'shop/main.js'), main);
    await cli('pack', 'shop');
    const manifest = JSON.parse(await readFile(join(directory, 'shop/manifest.json'), 'utf8')) as {
      packageVersion: string;
    };
    assert.equal(manifest.packageVersion, '0.1.0');
  });

  it('is deployed and answers as json-server does', async () => {
    const zip = await readFile(join(directory, 'shop-0.1.0.zip'));
    const uploaded = await cluster.master('/api/master/packages', {
      method: 'POST',
      headers: { 'content-type': 'application/zip' },
      body: new Uint8Array(zip),
    });
    assert.equal(uploaded.status, 201, await uploaded.text());
    await cluster.editSettings(document => {
      document.componentInstances.push({ id: 'shops', packageName: 'shop', instances: 2 });
      document.routes.push({
        pathPrefix: '/shop',
        componentInstanceId: 'shops',
        resourceKey: { from: 'path', segments: 2 },
      });
    });
    const base = `${cluster.routerUris[0]}/shop/berlin`;
    await until('the shop answers', async () => (await fetch(`${base}/products`)).status === 200);
    for (let index = 0; index < 20; index++) {
      const response = await fetch(`${base}/products`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ title: `product ${index}`, price: index * 10 }),
      });
      assert.equal(response.status, 201, await response.clone().text());
    }
    const page = await fetch(`${base}/products?price_gte=100&_sort=price&_order=desc&_limit=3`);
    assert.equal(page.headers.get('x-total-count'), '10');
    assert.deepEqual(
      ((await page.json()) as { price: number }[]).map(product => product.price),
      [190, 180, 170],
    );
    const changed = await fetch(`${base}/products/1`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ price: 1 }),
    });
    assert.equal(((await changed.json()) as { price: number }).price, 1);
    assert.equal((await fetch(`${base}/products/20`, { method: 'DELETE' })).status, 200);
    assert.equal((await fetch(`${base}/products/20`)).status, 404);
    assert.deepEqual(await (await fetch(`${cluster.routerUris[0]}/shop/paris/products`)).json(), []);
  });

  it('keeps its state when its owner is killed', async () => {
    const base = `${cluster.routerUris[0]}/shop/berlin`;
    const owner = (await fetch(`${base}/products`)).headers.get('x-holdfast-owner');
    const victim = (await cluster.processes()).find(item => item.processId === owner)!;
    process.kill(victim.pid!, 'SIGKILL');
    const response = await fetch(`${base}/products`);
    assert.equal(response.status, 200);
    assert.equal(((await response.json()) as unknown[]).length, 19);
    assert.notEqual(response.headers.get('x-holdfast-owner'), owner);
  });
});
