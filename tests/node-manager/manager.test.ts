import assert from 'node:assert/strict';
import { HoldfastError } from '#core';
import { zipOf } from './fake-node.ts';
import { copyCounts, createCluster, secret, until, uploadBytesMax, type Cluster } from './running-manager.ts';

const app = (more: object = {}) => ({ id: 'one', packageName: 'app', instances: 3, ...more });
const soon = { update: { healthyAfterMs: 50, maxUnavailable: 1 } };

describe('node manager', function () {
  this.timeout(30_000);
  let cluster: Cluster;
  afterEach(() => cluster.stop());

  async function clusterWith(
    nodeCount: number,
    instances: object[],
    packages = [zipOf('app', '1.0.0')],
  ): Promise<Cluster> {
    cluster = await createCluster(nodeCount, { componentInstances: instances as never });
    for (const zip of packages) await uploadDirectly(zip);
    return cluster;
  }
  async function uploadDirectly(zip: Buffer): Promise<void> {
    const response = await fetch(`${cluster.nodes[0]!.uri()}/api/node/packages`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/zip' },
      body: new Uint8Array(zip),
    });
    assert.ok(response.ok);
  }
  const settled = (counts: number[]) =>
    until(
      () => copyCounts(cluster, 'one'),
      seen => JSON.stringify(seen) === JSON.stringify(counts),
    );

  it('pushes packages from the node that has them to all others, and places copies evenly', async () => {
    await clusterWith(3, [app()]);
    const { client } = await cluster.start();
    await settled([1, 1, 1]);
    for (const node of cluster.nodes)
      assert.deepEqual(
        node.packages.map(item => item.packageName),
        ['app'],
      );
    const status = await until(
      () => client.status(),
      seen => seen.instances[0]?.running === 3,
    );
    assert.equal(status.isLeader, true);
    assert.deepEqual(status.instances[0]!.versions, { '1.0.0': 3 });
    assert.deepEqual(status.instances[0]!.nodes, ['node-1', 'node-2', 'node-3']);
    for (const key of ['evenness', 'evennessBest', 'evennessScore'] as const) assert.equal(status[key], 1);
    for (const node of cluster.nodes) {
      for (const mark of node.marks) if (mark !== undefined) assert.match(mark, /^test:[a-z0-9]{16}:[0-9]+$/);
    }
  });

  it('plans nothing once the cluster is as it should be', async () => {
    await clusterWith(3, [app()]);
    const { client } = await cluster.start();
    await settled([1, 1, 1]);
    assert.deepEqual((await client.sync()).actions, []);
    assert.deepEqual(await client.plan(), { actions: [] });
  });

  it('implies a router when a router package is known', async () => {
    await clusterWith(2, [app({ instances: 1 })], [zipOf('app', '1.0.0'), zipOf('router', '1.0.0')]);
    const { client } = await cluster.start();
    const status = await until(
      () => client.status(),
      seen => seen.instances.find(item => item.id === 'router')?.running === 1,
    );
    assert.equal(status.routers.length, 1);
    assert.match(status.routers[0]!, /:8000$/);
  });

  it('starts again what ended, on the event of its node', async () => {
    await clusterWith(2, [app({ instances: 2 })]);
    await cluster.start();
    await settled([1, 1]);
    const victim = cluster.nodes[1]!.processes[0]!.processId;
    cluster.nodes[1]!.crash(victim);
    await settled([1, 1]);
    assert.notEqual(cluster.nodes[1]!.processes[0]!.processId, victim);
  });

  it('replaces the copies of a node only when it is given up, and stops the surplus when it returns', async () => {
    await clusterWith(3, [app()]);
    const { client } = await cluster.start({ deadAfterMs: 1_000 });
    await settled([1, 1, 1]);
    const lost = cluster.nodes[2]!;
    await lost.close();
    const seen = await until(
      () => client.status(),
      status => status.nodes[2]!.state === 'dead',
    );
    assert.match(seen.nodes[2]!.problem ?? '', /HF_NODE_UNREACHABLE/);
    await until(
      () => copyCounts(cluster, 'one').slice(0, 2),
      counts => counts[0]! + counts[1]! === 3,
    );
    await lost.listen();
    await until(
      () => copyCounts(cluster, 'one'),
      counts => counts.reduce((sum, count) => sum + count, 0) === 3,
    );
    assert.equal((await client.sync()).actions.length, 0);
  });

  it('stops what the settings do not name any more, and leaves alone what others started', async () => {
    await clusterWith(2, [app({ instances: 2 })]);
    const { client } = await cluster.start();
    await settled([1, 1]);
    const byHand = { ...cluster.nodes[0]!.processes[0]!, processId: 'by-hand', settingsId: 'mine' };
    const manager = { ...byHand, processId: 'the-manager', settingsId: 'node-manager/0/0123456789ab' };
    cluster.nodes[0]!.processes.push(byHand, manager);
    await client.putSettings(JSON.stringify({ ...cluster.document, componentInstances: [] }));
    await settled([0, 0]);
    assert.deepEqual(
      cluster.nodes[0]!.processes.map(item => item.processId),
      ['by-hand', 'the-manager'],
    );
  });

  describe('packages', () => {
    it('takes an upload, keeps it, and has it on every node', async () => {
      await clusterWith(3, []);
      const { client } = await cluster.start();
      await until(
        () => client.status(),
        status => status.nodes.every(node => node.state === 'ready'),
      );
      const outcome = await client.uploadPackage(zipOf('db', '1.0.0'), { makeCurrent: false });
      assert.equal(outcome.created, true);
      assert.deepEqual(outcome.nodes, { 'node-1': null, 'node-2': null, 'node-3': null });
      assert.equal((await client.uploadPackage(zipOf('db', '1.0.0'), { makeCurrent: false })).created, false);
      const [listed] = (await client.packages()).filter(item => item.packageName === 'db');
      assert.deepEqual(listed!.nodes, ['node-1', 'node-2', 'node-3']);
      assert.ok(listed!.sources.includes('upload'));
    });

    it('passes on what a node says of a bad package, and refuses other bytes under a known version', async () => {
      await clusterWith(2, []);
      const { client } = await cluster.start();
      await until(
        () => client.status(),
        status => status.nodes.every(node => node.state === 'ready'),
      );
      await assert.rejects(client.uploadPackage(Buffer.from('no zip'), { makeCurrent: false }), {
        code: 'HF_PACKAGE_INVALID',
        details: { entry: 'manifest.json' },
      });
      await client.uploadPackage(zipOf('db', '1.0.0'), { makeCurrent: false });
      const other = zipOf('db', '1.0.0', { description: 'other bytes' });
      await assert.rejects(client.uploadPackage(other, { makeCurrent: true }), {
        code: 'HF_PACKAGE_CONFLICT',
      });
    });

    it('takes multipart uploads', async () => {
      await clusterWith(1, []);
      const { client } = await cluster.start();
      await until(
        () => client.status(),
        status => status.nodes[0]?.state === 'ready',
      );
      const form = new FormData();
      form.set('package', new Blob([new Uint8Array(zipOf('db', '1.0.0'))]), 'db.zip');
      const response = await fetch(`${client.uri}/api/master/packages`, {
        method: 'POST',
        headers: { authorization: `Bearer ${secret}` },
        body: form,
      });
      assert.equal(response.status, 201);
    });

    it('refuses an upload over its limit, however it comes, and a type that is none', async () => {
      await clusterWith(1, []);
      const { client } = await cluster.start();
      await until(
        () => client.status(),
        status => status.nodes[0]?.state === 'ready',
      );
      const bytes = new Uint8Array(uploadBytesMax + 1);
      const form = new FormData();
      form.set('package', new Blob([bytes]), 'db.zip');
      for (const [body, type, status, code] of [
        [bytes, 'application/zip', 413, 'HF_PACKAGE_TOO_LARGE'],
        [form, null, 413, 'HF_PACKAGE_TOO_LARGE'],
        ['{}', 'application/json', 415, 'HF_MEDIA_TYPE'],
      ] as const) {
        const response = await fetch(`${client.uri}/api/master/packages`, {
          method: 'POST',
          headers: { authorization: `Bearer ${secret}`, ...(type === null ? {} : { 'content-type': type }) },
          body,
        });
        assert.equal(response.status, status);
        assert.equal(((await response.json()) as { code: string }).code, code);
      }
    });

    it('rolls all instances of a package that is put, one more at a time and never one less, and keeps the comments', async () => {
      await clusterWith(3, [app({ ...soon, packageVersion: '1.0.0' })]);
      const { client } = await cluster.start();
      await settled([1, 1, 1]);
      const text = `// mine\n${await cluster.readFile()}`;
      await cluster.replaceFile(text);
      await until(
        () => client.status(),
        status => status.settings?.updatedBy === 'file' && status.settingsError === null,
      );
      let fewest = 3;
      for (const node of cluster.nodes) {
        node.onStart = () => {
          const running = copyCounts(cluster, 'one').reduce((sum, count) => sum + count, 0);
          fewest = Math.min(fewest, running);
        };
      }
      const outcome = await client.uploadPackage(zipOf('app', '2.0.0'), { makeCurrent: true });
      assert.deepEqual(outcome.instances, ['one']);
      assert.equal(outcome.settingsEtag, (await client.settings()).etag);
      await until(
        () => client.instances(),
        instances => instances[0]?.versions['2.0.0'] === 3 && instances[0].running === 3,
      );
      assert.equal(fewest, 3);
      await settled([1, 1, 1]);
      const written = await cluster.readFile();
      assert.ok(written.startsWith('// mine\n'));
      assert.match(written, /"packageVersion": "2\.0\.0"/);
    });

    it('halts a roll whose first copy does not start: the others run on', async () => {
      await clusterWith(3, [app({ update: { ...soon.update, autoRollback: false } })]);
      const { client } = await cluster.start();
      await settled([1, 1, 1]);
      for (const node of cluster.nodes) {
        node.onStart = (_name, request) => {
          if (request.version === '2.0.0') throw new HoldfastError('HF_START_FAILED', 'it is broken');
        };
      }
      await client.uploadPackage(zipOf('app', '2.0.0'), { makeCurrent: true });
      const [halted] = await until(
        () => client.instances(),
        instances => instances[0]!.deployment?.state === 'paused',
      );
      assert.ok(halted!.problems.some(problem => problem.includes('it is broken')));
      await until(
        () => client.instances(),
        instances => instances[0]!.versions['1.0.0'] === 3 && instances[0]!.live === 3,
      );
      for (const node of cluster.nodes) node.onStart = () => {};
      await client.commandDeployment(halted!.deployment!.id, 'resume');
      await until(
        () => client.instances(),
        instances => instances[0]!.running === 3 && instances[0]!.problems.length === 0,
      );
    });

    it('removes a package everywhere, but not one that is in use', async () => {
      await clusterWith(2, [app({ instances: 1 })]);
      const { client } = await cluster.start();
      await until(
        () => client.instances(),
        instances => instances[0]?.running === 1,
      );
      await client.uploadPackage(zipOf('db', '1.0.0'), { makeCurrent: false });
      await assert.rejects(client.removePackage('app'), { code: 'HF_PACKAGE_IN_USE' });
      await client.removePackage('db');
      await assert.rejects(client.removePackage('db'), { code: 'HF_PACKAGE_NOT_FOUND' });
      for (const node of cluster.nodes) assert.ok(node.packages.every(item => item.packageName !== 'db'));
    });
  });

  it('goes on with everything else while a component does not come up', async () => {
    const documentOf = (instances: number) => [
      app({ instances }),
      { id: 'stuck', packageName: 'db', instances: 1 },
    ];
    await clusterWith(2, documentOf(2), [zipOf('app', '1.0.0'), zipOf('db', '1.0.0')]);
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    let stuckStarts = 0;
    for (const node of cluster.nodes) {
      node.onStart = packageName => {
        if (packageName !== 'db') return;
        stuckStarts++;
        return released;
      };
    }
    const { client } = await cluster.start();
    const running = (id: string, count: number) =>
      until(
        () => client.instances(),
        instances => instances.find(instance => instance.id === id)?.running === count,
      );
    try {
      for (const instances of [2, 3, 1]) {
        cluster.document.componentInstances = documentOf(instances);
        await cluster.replaceFile(JSON.stringify(cluster.document));
        await running('one', instances);
      }
      assert.equal(stuckStarts, 1);
    } finally {
      release();
    }
    await running('stuck', 1);
    assert.equal(stuckStarts, 1);
  });

  it('restarts an instance on request, copy by copy', async () => {
    await clusterWith(2, [app({ ...soon, instances: 2 })]);
    const { client } = await cluster.start();
    await settled([1, 1]);
    const before = new Set(cluster.nodes.flatMap(node => node.processes.map(item => item.processId)));
    await client.restart('one');
    await until(
      () => cluster.nodes.flatMap(node => node.processes),
      processes => processes.length === 2 && processes.every(item => !before.has(item.processId)),
    );
    await assert.rejects(client.restart('nobody'), { code: 'HF_NOT_FOUND' });
  });

  it('shows owned keys in pages and the owner of one', async () => {
    await clusterWith(1, []);
    const { client } = await cluster.start();
    const { directory } = cluster.coordination;
    await directory.openSession({
      pool: 'one' as never,
      processId: 'p1' as never,
      nodeName: 'node-1' as never,
      address: 'http://127.0.0.1:5200',
      ownsResources: true,
      capacity: 1,
      ttlMs: 60_000,
      attempt: 1,
    });
    for (const key of ['/db/a%20b', '/db/b', '/other']) await directory.claim('one' as never, key as never);
    const first = await client.resources({ prefix: '/db', limit: 1 });
    assert.deepEqual(
      first.resources.map(item => item.key),
      ['/db/a%20b'],
    );
    const second = await client.resources({ prefix: '/db', limit: 1, cursor: first.cursor! });
    assert.deepEqual([second.resources[0]!.key, second.cursor], ['/db/b', null]);
    assert.equal((await client.resource('/db/a b', { instance: 'one' })).fence, '1');
    await assert.rejects(client.resource('/db/nobody'), { code: 'HF_NOT_FOUND' });
  });

  it('tells listeners what happens', async () => {
    await clusterWith(1, []);
    const { client } = await cluster.start();
    const stop = new AbortController();
    const seen: string[] = [];
    const listening = (async () => {
      for await (const event of client.events(stop.signal)) {
        seen.push(event.type);
        if (event.type === 'package-pushed') stop.abort();
      }
    })();
    await until(
      () => client.status(),
      status => status.nodes[0]?.state === 'ready',
    );
    await client.uploadPackage(zipOf('db', '1.0.0'), { makeCurrent: false });
    await listening;
    assert.ok(seen.includes('package'));
  });

  it('answers 501 with a code for what is not built yet, and shows itself in OpenAPI and metrics', async () => {
    await clusterWith(1, []);
    const { client } = await cluster.start();
    const history = await fetch(`${client.uri}/api/master/resources/%2Fa/history`, {
      headers: { authorization: `Bearer ${secret}` },
    });
    assert.deepEqual(
      [history.status, ((await history.json()) as { code: string }).code],
      [501, 'HF_NOT_IMPLEMENTED'],
    );
    const headers = { authorization: `Bearer ${secret}` };
    const openapi = (await (await fetch(`${client.uri}/openapi.json`, { headers })).json()) as {
      paths: object;
    };
    assert.ok('/api/master/settings' in openapi.paths);
    const metrics = await (await fetch(`${client.uri}/metrics`, { headers })).text();
    assert.match(metrics, /holdfast_nodes\{state="ready"\}/);
    assert.match(metrics, /^holdfast_cluster_evenness_best 1$/m);
    assert.match(metrics, /^holdfast_cluster_evenness_score 1$/m);
    assert.equal((await fetch(`${client.uri}/api/master`)).status, 401);
  });
});
