import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, describe, it } from 'mocha';
import { HoldfastError, type DeploymentInfo } from '#core';
import type { MasterClient } from '#client';
import { zipOf } from '../fake-node.ts';
import { copyCounts, createCluster, secret, until, type Cluster } from '../running-manager.ts';

const soon = { healthyAfterMs: 50, deadlineMs: 5_000 };
const app = (more: object = {}) => ({
  id: 'one',
  packageName: 'app',
  packageVersion: '1.0.0',
  instances: 3,
  update: soon,
  ...more,
});

describe('deployments of a running manager', function () {
  this.timeout(60_000);
  let cluster: Cluster;
  afterEach(() => cluster.stop());

  async function clusterWith(
    instances: object[],
    { packages = [zipOf('app', '1.0.0')], nodes = 3 }: { packages?: Buffer[]; nodes?: number } = {},
  ): Promise<MasterClient> {
    cluster = await createCluster(nodes, { componentInstances: instances as never });
    for (const zip of packages) await give(zip);
    const { client } = await cluster.start();
    return client;
  }
  async function give(zip: Buffer): Promise<void> {
    const response = await fetch(`${cluster.nodes[0]!.uri()}/api/node/packages`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/zip' },
      body: new Uint8Array(zip),
    });
    assert.ok(response.ok);
  }
  const put = (client: MasterClient, version: string, more: object = {}) =>
    client.uploadPackage(zipOf('app', version), { makeCurrent: true, ...more });
  const isBroken = (version: string) => {
    for (const node of cluster.nodes) {
      node.onStart = (_name, request) => {
        if (request.version === version) throw new HoldfastError('HF_START_FAILED', 'it is broken');
      };
    }
  };
  /** The newest deployment of the instance, once it is as wanted. */
  const latest = async (
    client: MasterClient,
    wanted: Partial<Pick<DeploymentInfo, 'state'>> & { to?: string },
    instance = 'one',
  ): Promise<DeploymentInfo> => {
    const [found] = await until(
      () => client.deployments({ instance, limit: 1 }),
      ([seen]) =>
        seen !== undefined &&
        (wanted.state === undefined || seen.state === wanted.state) &&
        (wanted.to === undefined || seen.to.packageVersion === wanted.to),
    );
    return found!;
  };
  const versions = async (client: MasterClient, wanted: Record<string, number>) =>
    until(
      async () => (await client.instances()).find(item => item.id === 'one')?.versions ?? {},
      seen => isDeepStrictEqual(seen, wanted),
    );

  it('records who changed what, tells every state, and counts the outcomes', async () => {
    const client = await clusterWith([app()]);
    const first = await latest(client, { state: 'succeeded' });
    assert.equal(first.from, null);
    const told: string[] = [];
    const listening = new AbortController();
    const heard = (async () => {
      for await (const event of client.events(listening.signal)) {
        if (event.type === 'deployment') told.push(`${String(event.id)} ${String(event.state)}`);
      }
    })().catch(() => {}); // the end of the test
    await put(client, '1.1.0');
    const done = await latest(client, { state: 'succeeded', to: '1.1.0' });
    assert.equal(done.from?.packageVersion, '1.0.0');
    assert.deepEqual(done.changes, ['app 1.0.0 → 1.1.0']);
    assert.equal(done.by, (await client.status()).settings!.updatedBy);
    assert.ok(done.startedAt <= done.endedAt!);
    assert.deepEqual(await client.deployment(done.id), done);
    await until(
      () => told,
      seen => seen.includes(`${done.id} succeeded`),
    );
    assert.ok(told.includes(`${done.id} rolling`));
    listening.abort();
    await heard;
    await versions(client, { '1.1.0': 3 });
    assert.equal((await client.instances())[0]!.deployment, null);
    const headers = { authorization: `Bearer ${secret}` };
    const metrics = await (await fetch(`${client.uri}/metrics`, { headers })).text();
    assert.match(metrics, /holdfast_deployments_total\{outcome="succeeded"\} 2/);
    await assert.rejects(client.deployment('one-99'), { code: 'HF_NOT_FOUND' });
  });

  it('sets the settings back when a version does not start, and nothing else in them', async () => {
    const client = await clusterWith([app()]);
    await latest(client, { state: 'succeeded' });
    const text = `// mine\n${await cluster.readFile()}`;
    await cluster.replaceFile(text);
    await until(
      () => client.settings(),
      seen => seen.text.length > 0 && seen.etag !== '',
    );
    isBroken('1.1.0');
    await put(client, '1.1.0');
    const ended = await latest(client, { state: 'rolled-back', to: '1.1.0' });
    assert.match(ended.reason!, /HF_START_FAILED: it is broken/);
    await versions(client, { '1.0.0': 3 });
    const status = await client.status();
    assert.equal(status.settings!.updatedBy, 'rollback');
    assert.equal(await cluster.readFile(), text);
    await client.sync();
    assert.equal((await client.deployments())[0]!.id, ended.id, 'it is not tried again by itself');
  });

  it('does not take the newest version again that it has rolled back', async () => {
    const client = await clusterWith([app({ packageVersion: undefined })]);
    await latest(client, { state: 'succeeded' });
    isBroken('1.1.0');
    await client.uploadPackage(zipOf('app', '1.1.0'), { makeCurrent: false });
    const ended = await latest(client, { state: 'rolled-back', to: '1.1.0' });
    assert.equal(ended.by, 'upload');
    await client.sync();
    await versions(client, { '1.0.0': 3 });
    assert.match((await client.settings()).text, /"packageVersion": ?"1\.0\.0"/);
  });

  it('sets settings back that copies do not start with', async () => {
    const client = await clusterWith([app({ settings: { a: 1 } })]);
    await latest(client, { state: 'succeeded' });
    for (const node of cluster.nodes) {
      node.onStart = (_name, request) => {
        if (request.settings?.a === 2) throw new HoldfastError('HF_START_FAILED', 'not 2');
      };
    }
    const { text } = await client.settings();
    await client.putSettings(text.replace('"a": 1', '"a": 2'));
    const ended = await latest(client, { state: 'rolled-back' });
    assert.deepEqual(ended.changes, ['settings.a changed']);
    assert.equal((await client.settings()).text, text);
    await until(
      () => copyCounts(cluster, 'one'),
      counts => counts.join() === '1,1,1',
    );
  });

  it('is finished by the next manager', async () => {
    const client = await clusterWith([app()]);
    await latest(client, { state: 'succeeded' });
    const held = new Set<() => void>();
    for (const node of cluster.nodes) {
      node.onStart = (_name, request) =>
        request.version === '1.1.0' ? new Promise<void>(resolve => held.add(resolve)) : undefined;
    }
    await put(client, '1.1.0');
    const begun = await latest(client, { state: 'rolling', to: '1.1.0' });
    await until(
      () => held.size,
      size => size > 0,
    );
    await cluster.stopManagers();
    for (const node of cluster.nodes) node.onStart = () => {};
    for (const release of held) release();
    const second = await cluster.start({ processId: 'manager-2' });
    const ended = await latest(second.client, { state: 'succeeded', to: '1.1.0' });
    assert.equal(ended.id, begun.id);
    await versions(second.client, { '1.1.0': 3 });
  });

  it('rolls all of a package back by one call, once however often it is asked', async () => {
    const client = await clusterWith([app(), app({ id: 'two', instances: 1 })]);
    await latest(client, { state: 'succeeded' });
    await latest(client, { state: 'succeeded' }, 'two');
    await assert.rejects(client.rollback('app'), { code: 'HF_ROLLBACK_IMPOSSIBLE', statusCode: 409 });
    await assert.rejects(client.rollback('nothing'), { code: 'HF_PACKAGE_NOT_FOUND' });
    for (const version of ['1.1.0', '1.2.0']) {
      await put(client, version);
      for (const id of ['one', 'two']) await latest(client, { state: 'succeeded', to: version }, id);
    }
    const answers = [await client.rollback('app'), await client.rollback('app')];
    assert.deepEqual(
      answers.map(({ to }) => to),
      ['1.1.0', '1.1.0'],
    );
    assert.deepEqual(answers[0]!.instances, ['one', 'two']);
    for (const id of ['one', 'two']) await latest(client, { state: 'succeeded', to: '1.1.0' }, id);
    assert.equal((await client.rollback('app')).to, '1.0.0');
    for (const id of ['one', 'two']) await latest(client, { state: 'succeeded', to: '1.0.0' }, id);
    await assert.rejects(client.rollback('app'), { code: 'HF_ROLLBACK_IMPOSSIBLE' });
  });

  it('rolls a host package the same way, and back', async () => {
    const host = (version: string) => zipOf('component-host', version, { kind: 'host' });
    const client = await clusterWith([app()], { packages: [zipOf('app', '1.0.0'), host('1.0.0')] });
    await latest(client, { state: 'succeeded' });
    await client.uploadPackage(host('1.1.0'), { makeCurrent: false });
    const done = await latest(client, { state: 'succeeded', to: '1.0.0' });
    const rolled = await until(
      () => client.deployments({ instance: 'one' }),
      ([newest]) => newest?.state === 'succeeded' && newest.to.hostVersion === '1.1.0',
    );
    assert.deepEqual(rolled[0]!.changes, ['host package 1.0.0 → 1.1.0']);
    assert.ok(done.id);
    for (const node of cluster.nodes) {
      node.onStart = (_name, request) => {
        if (request.hostVersion === '1.2.0') throw new HoldfastError('HF_START_FAILED', 'bad host');
      };
    }
    await client.uploadPackage(host('1.2.0'), { makeCurrent: true });
    const [back] = await until(
      () => client.deployments({ instance: 'one' }),
      ([newest]) => newest?.state === 'rolled-back',
    );
    assert.equal(back!.to.hostVersion, '1.2.0');
    assert.match((await client.settings()).text, /"component-host"[^}]*"1\.1\.0"/);
    assert.equal((await client.rollback('component-host')).to, '1.0.0');
    await until(
      () => client.deployments({ instance: 'one' }),
      ([newest]) => newest?.state === 'succeeded' && newest.to.hostVersion === '1.0.0',
    );
  });

  describe('with an operator', () => {
    it('makes some copies canaries, keeps both versions serving, and goes on when promoted', async () => {
      const client = await clusterWith([app()]);
      await latest(client, { state: 'succeeded' });
      await put(client, '1.1.0', { canary: 1 });
      const canary = await latest(client, { state: 'canary', to: '1.1.0' });
      assert.deepEqual(canary.canary, {
        instances: 1,
        promoteAfterMs: null,
        promotedAt: null,
        promotedBy: null,
      });
      await versions(client, { '1.0.0': 2, '1.1.0': 1 });
      const [one] = await until(
        () => client.instances(),
        ([seen]) => seen?.deployment?.progress?.available === 1,
      );
      assert.equal(one!.deployment!.state, 'canary');
      const lost = cluster.nodes.find(node => node.processes.some(item => item.packageVersion === '1.0.0'))!;
      lost.crash(lost.processes.find(item => item.packageVersion === '1.0.0')!.processId);
      await client.sync();
      await versions(client, { '1.0.0': 2, '1.1.0': 1 });
      assert.deepEqual((await client.plan()).actions, []);
      const promoted = await client.commandDeployment(canary.id, 'promote');
      assert.match(promoted.canary!.promotedBy!, /^api/);
      await latest(client, { state: 'succeeded', to: '1.1.0' });
      await versions(client, { '1.1.0': 3 });
      assert.equal((await client.commandDeployment(canary.id, 'promote')).state, 'succeeded');
    });

    it('promotes by itself after a while, and takes a failing canary back', async () => {
      const update = { ...soon, strategy: 'canary', canary: { instances: 1, promoteAfterMs: 300 } };
      const client = await clusterWith([app({ update })]);
      await latest(client, { state: 'succeeded' });
      await put(client, '1.1.0');
      const done = await latest(client, { state: 'succeeded', to: '1.1.0' });
      assert.equal(done.canary!.promotedBy, 'timer');
      isBroken('1.2.0');
      await put(client, '1.2.0');
      await latest(client, { state: 'rolled-back', to: '1.2.0' });
      await versions(client, { '1.1.0': 3 });
    });

    it('pauses, resumes and aborts', async () => {
      const client = await clusterWith([app()]);
      await latest(client, { state: 'succeeded' });
      const held = new Set<() => void>();
      for (const node of cluster.nodes) {
        node.onStart = (_name, request) =>
          request.version === '1.1.0' ? new Promise<void>(resolve => held.add(resolve)) : undefined;
      }
      await put(client, '1.1.0');
      const { id } = await latest(client, { state: 'rolling', to: '1.1.0' });
      await until(
        () => held.size,
        size => size > 0,
      );
      assert.equal((await client.commandDeployment(id, 'pause')).state, 'paused');
      for (const node of cluster.nodes) node.onStart = () => {};
      for (const release of held) release();
      await until(
        () => client.plan(),
        ({ actions }) => actions.length === 0,
      );
      const mixed = (await client.instances())[0]!.versions;
      assert.ok((mixed['1.0.0'] ?? 0) >= 2, JSON.stringify(mixed));
      await client.commandDeployment(id, 'resume');
      await latest(client, { state: 'succeeded', to: '1.1.0' });
      await put(client, '1.2.0', { canary: 1 });
      const second = await latest(client, { state: 'canary', to: '1.2.0' });
      const { text } = await client.settings();
      assert.match(text, /1\.2\.0/);
      await assert.rejects(client.removePackage('app', { version: '1.1.0' }), {
        code: 'HF_PACKAGE_IN_USE',
        message: /may go back to it/,
      });
      assert.equal((await client.commandDeployment(second.id, 'abort')).state, 'rolling-back');
      const ended = await latest(client, { state: 'aborted', to: '1.2.0' });
      assert.match(ended.reason!, /^aborted by api/);
      await versions(client, { '1.1.0': 3 });
      assert.match((await client.settings()).text, /"packageVersion": ?"1\.1\.0"/);
      await assert.rejects(client.commandDeployment(second.id, 'resume'), { code: 'HF_WRONG_STATE' });
    });

    it('halts without autoRollback, says so, and goes back when told', async () => {
      const client = await clusterWith([app({ update: { ...soon, autoRollback: false } })]);
      await latest(client, { state: 'succeeded' });
      isBroken('1.1.0');
      await put(client, '1.1.0');
      const halted = await latest(client, { state: 'paused', to: '1.1.0' });
      assert.match(halted.reason!, /^halted: .*it is broken/);
      await versions(client, { '1.0.0': 3 });
      await client.commandDeployment(halted.id, 'abort');
      await latest(client, { state: 'aborted', to: '1.1.0' });
      await versions(client, { '1.0.0': 3 });
    });

    it('records a restart', async () => {
      const client = await clusterWith([app()]);
      await latest(client, { state: 'succeeded' });
      const before = new Set(cluster.nodes.flatMap(node => node.processes.map(item => item.processId)));
      await client.restart('one');
      const [restarted] = await until(
        () => client.deployments({ instance: 'one' }),
        ([newest]) => newest?.changes[0] === 'a restart was asked for' && newest.state === 'succeeded',
      );
      assert.equal(restarted!.from!.packageVersion, '1.0.0');
      const after = cluster.nodes.flatMap(node => node.processes.map(item => item.processId));
      assert.ok(after.every(id => !before.has(id)));
    });
  });

  describe('distribution of packages', () => {
    it('sends a node nothing that it has, and believes no other digest than its own', async () => {
      const client = await clusterWith([app()]);
      await latest(client, { state: 'succeeded' });
      const zip = zipOf('db', '1.0.0');
      const lying = cluster.nodes[2]!;
      lying.onUpload = info => (info.packageName === 'db' ? { ...info, sha256: '0'.repeat(64) } : info);
      const { nodes, created } = await client.uploadPackage(zip, { makeCurrent: false });
      assert.equal(created, true);
      assert.equal(nodes['node-1'], null);
      assert.match(nodes['node-3']!, /HF_PACKAGE_CORRUPT/);
      const before = cluster.nodes[1]!.uploads.filter(item => item === 'db@1.0.0').length;
      lying.onUpload = info => info;
      const again = await client.uploadPackage(zip, { makeCurrent: false });
      assert.equal(again.created, false);
      assert.deepEqual(again.nodes, { 'node-1': null, 'node-2': null, 'node-3': null });
      assert.equal(cluster.nodes[1]!.uploads.filter(item => item === 'db@1.0.0').length, before);
      // The first one, which checks every upload, needed no bytes; and by its digest the cluster takes one without any.
      assert.deepEqual(cluster.nodes[0]!.askedByDigest, ['db@1.0.0']);
      const sha256 = createHash('sha256').update(zip).digest('hex');
      const none = await client.uploadPackage(Buffer.from('never sent'), { makeCurrent: false, sha256 });
      assert.deepEqual([none.created, none.package.packageName], [false, 'db']);
    });

    it('brings a node later what it missed, also under the next manager', async () => {
      const client = await clusterWith([app({ instances: 1 })]);
      await latest(client, { state: 'succeeded' });
      const away = cluster.nodes[2]!;
      await away.close();
      await until(
        () => client.status(),
        status => status.nodes[2]!.state !== 'ready',
      );
      const { nodes } = await client.uploadPackage(zipOf('db', '1.0.0'), { makeCurrent: false });
      assert.notEqual(nodes['node-3'], null);
      await cluster.stopManagers();
      await cluster.start({ processId: 'manager-2' });
      await away.listen();
      await until(
        () => away.packages.map(item => item.packageName),
        names => names.includes('db'),
      );
    });
  });
});
