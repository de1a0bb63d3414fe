/** Every row of the master API. The settings that it writes are what the router's and the settings' tests go on with. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { MasterPackage, MasterUpload, SyncOutcome } from '#client';
import type {
  DeploymentInfo,
  MasterHost,
  MasterInstance,
  MasterNode,
  MasterStatus,
  PlanAction,
  ResourceInfo,
} from '#core';
import { holdfast, until, type Cluster, type Document } from '../../support/cluster.ts';
import { makePackage } from '../../support/make-package.ts';
import {
  assertCommonRoutes,
  assertList,
  assertOk,
  assertRefused,
  callerOf,
  echoPackage,
  firstProblem,
  form,
  nextEvent,
  raw,
  send,
  type Call,
} from './support.ts';

const run = promisify(execFile);

const root = '/api/master';
const packagesPath = `${root}/packages`;
const settingsPath = `${root}/settings`;

export const masterPaths = [
  'GET /api/master',
  ...[
    'nodes',
    'instances',
    'packages',
    'hosts',
    'resources',
    'resources/{key}',
    'plan',
    'settings',
    'events',
  ].map(path => `GET /api/master/${path}`),
  'POST /api/master/packages',
  'PUT /api/master/packages',
  'POST /api/master/packages/{packageName}/rollback',
  'GET /api/master/deployments',
  'GET /api/master/deployments/{id}',
  ...['promote', 'pause', 'resume', 'abort'].map(action => `POST /api/master/deployments/{id}/${action}`),
  'DELETE /api/master/packages/{packageName}',
  'POST /api/master/sync',
  'PUT /api/master/settings',
  'POST /api/master/nodes/{networkName}/drain',
  'POST /api/master/nodes/{networkName}/undrain',
  'POST /api/master/instances/{id}/restart',
  ...['move', 'release', 'pause', 'resume'].map(action => `POST /api/master/resources/{key}/${action}`),
];

export function masterContract(clusterOf: () => Cluster): void {
  let cluster: Cluster;
  let call: Call;
  before(() => {
    cluster = clusterOf();
    call = callerOf(cluster.masterUri, cluster.token);
  });

  const settings = async () => {
    const answer = await call('GET', settingsPath);
    return { document: assertOk<Document>(answer), etag: String(answer.headers.etag) };
  };
  const put = (document: unknown, ifMatch?: string) =>
    call('PUT', settingsPath, {
      body: document,
      headers: ifMatch === undefined ? {} : { 'if-match': ifMatch },
    });
  const runs = (id: string, version: string, count: number) =>
    until(`${count} of ${id} run ${version}`, async () => {
      const found = (await cluster.status()).instances.find(item => item.id === id);
      return found?.running === count && found.live === count && found.versions[version] === count;
    });

  it('has what every API has', () => assertCommonRoutes(cluster.masterUri, cluster.token, masterPaths));

  it('gives each scope its rights and no more', async () => {
    const tokens = new Map<string, string>();
    for (const scope of ['read', 'deploy']) {
      const words = [holdfast, 'token', 'create', '--scope', scope, '--expires', '5m'];
      const { stdout } = await run(process.execPath, words, { cwd: cluster.directory });
      tokens.set(scope, stdout.trim());
    }
    const of = (scope: 'read' | 'deploy') => callerOf(cluster.masterUri, tokens.get(scope)!);
    const { document } = await settings();
    assertOk(await of('read')('GET', settingsPath));
    assertRefused(await of('read')('POST', `${root}/sync`), 403, 'HF_FORBIDDEN');
    assertRefused(await of('read')('POST', packagesPath, raw(echoPackage('1.0.0'))), 403, 'HF_FORBIDDEN');
    assertOk(await of('deploy')('POST', `${root}/sync`));
    assertRefused(await of('deploy')('PUT', settingsPath, { body: document }), 403, 'HF_FORBIDDEN');
  });

  it('shows the cluster', async () => {
    const status = assertOk<MasterStatus>(await call('GET', root));
    assert.equal(status.clusterName, 'contract');
    assert(status.leader);
    assert.equal(status.settingsError, null);
    for (const list of [status.nodes, status.instances, status.routes, status.warnings])
      assert(Array.isArray(list));
    const nodes = assertList<MasterNode>(
      await call('GET', `${root}/nodes`),
      'networkName',
      'nodeApiUri',
      'state',
      'lastSeen',
      'evenness',
    );
    assert.deepEqual(nodes.map(node => node.networkName).sort(), ['node-1', 'node-2']);
    const instances = assertList<MasterInstance>(
      await call('GET', `${root}/instances`),
      'id',
      'desired',
      'running',
      'packageVersion',
    );
    assert(instances.some(instance => instance.id === 'databases' && instance.running === 2));
    const packages = assertList<MasterPackage>(
      await call('GET', packagesPath),
      'packageName',
      'packageVersion',
    );
    assert(packages.some(item => item.packageName === 'sqlite-service'));
    const hosts = assertList<MasterHost>(
      await call('GET', `${root}/hosts`),
      'processId',
      'pid',
      'nodeName',
      'hostUri',
    );
    assert(hosts.some(host => host.component?.packageName === 'node-manager'));
  });

  it('takes a package once and brings it to every node', async () => {
    const upload = assertOk<MasterUpload>(await call('POST', packagesPath, form(echoPackage('1.0.0'))), 201);
    assert.equal(upload.package.packageVersion, '1.0.0');
    assertOk(await call('POST', packagesPath, raw(echoPackage('1.0.0'))), 200);
    assertOk(await call('PUT', packagesPath, raw(echoPackage('1.0.0'))), 200);
    for (const uri of cluster.nodeUris) {
      const found = await callerOf(uri, cluster.token)(
        'GET',
        '/api/node/packages/contract-echo/configuration',
      );
      assert.equal(assertList(found).length, 1);
    }
    const other = raw(echoPackage('1.0.0', { description: 'Other bytes.' }));
    assertRefused(await call('POST', packagesPath, other), 409, 'HF_PACKAGE_CONFLICT');
    assertRefused(await call('POST', packagesPath), 400, 'HF_REQUEST_INVALID');
    assertRefused(
      await call('POST', packagesPath, form(echoPackage('1.0.0'), 'file')),
      400,
      'HF_REQUEST_INVALID',
    );
    assertRefused(
      await call('POST', packagesPath, { body: 'x', headers: { 'content-type': 'multipart/form-data' } }),
      400,
    );
    assertRefused(await call('POST', packagesPath, { body: {} }), 415, 'HF_MEDIA_TYPE');
    assertRefused(await call('PUT', packagesPath, raw(Buffer.from('no ZIP'))), 422, 'HF_PACKAGE_INVALID');
    assertRefused(await call('POST', packagesPath, raw(makePackage({ packageName: 'x' }, {}))), 422);
  });

  it('replaces the settings, guarded by their ETag, and writes the file', async () => {
    const { document, etag } = await settings();
    assert.match(etag, /^"[^"]+"$/);
    document.componentInstances.push(
      { id: 'echoes', packageName: 'contract-echo', packageVersion: '1.0.0', instances: 2 },
      { id: 'others', packageName: 'contract-echo', packageVersion: '1.0.0' },
      { id: 'none', packageName: 'contract-echo', packageVersion: '1.0.0', instances: 0 },
    );
    document.routes.push(
      { pathPrefix: '/echo', componentInstanceId: 'echoes' },
      { pathPrefix: '/echo/deep', componentInstanceId: 'others' },
      { pathPrefix: '/tenant', componentInstanceId: 'echoes', resourceKey: { from: 'header:x-tenant' } },
      { pathPrefix: '/also-tenant', componentInstanceId: 'others', resourceKey: { from: 'header:x-tenant' } },
      { pathPrefix: '/none', componentInstanceId: 'none' },
    );
    const written = await put(document, etag);
    assertOk(written);
    assert.notEqual(written.headers.etag, etag);
    assert.deepEqual(JSON.parse(await readFile(cluster.settingsPath, 'utf8')), document);
    assert.deepEqual(await settings(), { document, etag: written.headers.etag });
    assertRefused(await put(document, etag), 412, 'HF_SETTINGS_CONFLICT');
    assertOk(await put(document, '*'));
    assertOk(await put(document));
    await runs('echoes', '1.0.0', 2);
    await runs('others', '1.0.0', 1);
  });

  it('refuses bad settings with path, value and what was expected', async () => {
    const { document, etag } = await settings();
    const refused = await put({ ...document, syncIntervalMs: 'often' }, etag);
    assertRefused(refused, 422, 'HF_SETTINGS_INVALID');
    assert.deepEqual(firstProblem(refused), {
      path: '$.syncIntervalMs',
      value: 'often',
      expected: 'integer',
    });
    assertRefused(await call('PUT', settingsPath, { body: '{"clusterName":' }), 422, 'HF_SETTINGS_INVALID');
    assertRefused(await call('PUT', settingsPath), 422, 'HF_SETTINGS_INVALID');
    const nowhere = await put({ ...document, routes: [{ pathPrefix: '/x', componentInstanceId: 'nobody' }] });
    assertRefused(nowhere, 422, 'HF_SETTINGS_INVALID');
    assert.equal(firstProblem(nowhere)?.path, '$.routes[0].componentInstanceId');
    assert.equal((await settings()).etag, etag);
  });

  it('plans what differs, and nothing once it is done', async () => {
    const { actions } = assertOk<{ actions: PlanAction[] }>(await call('GET', `${root}/plan`));
    assert.deepEqual(actions, []);
    const outcome = assertOk<SyncOutcome>(await call('POST', `${root}/sync`));
    assert.deepEqual([outcome.actions, outcome.failed], [[], []]);
    for (const type of ['application/json', 'application/x-www-form-urlencoded']) {
      assertOk(await call('POST', `${root}/sync`, { body: '', headers: { 'content-type': type } }));
    }
    assertRefused(
      await call('POST', `${root}/sync`, { body: '<x/>', headers: { 'content-type': 'text/xml' } }),
      415,
      'HF_MEDIA_TYPE',
    );
  });

  it('shows keys and their owners', async () => {
    for (const key of ['/echo/a', '/echo/b', '/echo/c%2Fd']) {
      assert.equal((await send(cluster.routerUris[0]!, 'GET', key)).status, 200);
    }
    const page = await call('GET', `${root}/resources?prefix=%2Fecho%2F&limit=2`);
    const first = assertList<ResourceInfo>(page, 'key', 'instanceId', 'owner', 'fence');
    assert.equal(first.length, 2);
    const cursor = encodeURIComponent(String(page.headers['x-holdfast-cursor']));
    const rest = await call('GET', `${root}/resources?prefix=%2Fecho%2F&limit=2&cursor=${cursor}`);
    const keys = [...first, ...assertList<ResourceInfo>(rest)].map(item => item.key);
    assert.deepEqual(keys.sort(), ['/echo/a', '/echo/b', '/echo/c%2Fd']);

    const one = assertOk<ResourceInfo>(
      await call('GET', `${root}/resources/${encodeURIComponent('/echo/c%2Fd')}`),
    );
    assert.equal(one.key, '/echo/c%2Fd');
    assert.match(String(one.fence), /^\d+$/);
    assertRefused(
      await call('GET', `${root}/resources/${encodeURIComponent('/echo/never')}`),
      404,
      'HF_NOT_FOUND',
    );
    assertRefused(await call('GET', `${root}/resources?limit=0`), 400, 'HF_REQUEST_INVALID');

    const headers = { 'x-tenant': 'acme' };
    for (const path of ['/tenant', '/also-tenant']) {
      assert.equal((await send(cluster.routerUris[0]!, 'GET', path, { headers })).status, 200);
    }
    const shared = assertList<ResourceInfo>(await call('GET', `${root}/resources`)).filter(item =>
      item.key.includes('acme'),
    );
    assert.deepEqual(shared.map(item => item.instanceId).sort(), ['echoes', 'others']);
    for (const { key, instanceId, owner } of shared) {
      const found = await call('GET', `${root}/resources/${encodeURIComponent(key)}?instance=${instanceId}`);
      assert.equal(assertOk<ResourceInfo>(found).owner.processId, owner.processId);
    }
  });

  it('says 501 where something is not there yet', async () => {
    const path = `${root}/resources/${encodeURIComponent('/echo/c%2Fd')}/history`;
    assertRefused(await call('GET', path), 501, 'HF_NOT_IMPLEMENTED');
  });

  it('records deployments, and says of a package that cannot go back why', async () => {
    const [newest] = assertList<DeploymentInfo>(
      await call('GET', `${root}/deployments?instance=echoes&limit=1`),
    );
    assert.equal(newest!.instanceId, 'echoes');
    const one = assertOk<DeploymentInfo>(await call('GET', `${root}/deployments/${newest!.id}`));
    assert.equal(one.id, newest!.id);
    assertRefused(await call('GET', `${root}/deployments/never-1`), 404, 'HF_NOT_FOUND');
    assertRefused(await call('POST', `${root}/deployments/never-1/abort`), 404, 'HF_NOT_FOUND');
    assertRefused(await call('GET', `${root}/deployments?limit=0`), 400, 'HF_REQUEST_INVALID');
    for (const body of [undefined, {}]) {
      const path = `${root}/packages/contract-echo/rollback`;
      assertRefused(await call('POST', path, body && { body }), 409, 'HF_ROLLBACK_IMPOSSIBLE');
      assertRefused(await call('POST', `${root}/packages/nobody/rollback`), 404, 'HF_PACKAGE_NOT_FOUND');
    }
  });

  it('drains a node and gives it back, as often as it is asked to', async () => {
    const node = async () =>
      assertList<MasterNode>(await call('GET', `${root}/nodes`)).find(one => one.networkName === 'node-2')!;
    for (const options of [{}, { body: {} }, { body: { deadlineMs: 60_000, reason: 'a new disk' } }]) {
      const { status } = await call('POST', `${root}/nodes/node-2/drain`, options);
      assert(status === 200 || status === 202, String(status));
      assert.equal((await node()).maintenance?.state, 'draining');
    }
    await until('its copies are elsewhere', async () =>
      (await cluster.processes()).every(
        ({ nodeUri, component }) =>
          nodeUri !== cluster.nodeUris[1] || component?.packageName !== 'contract-echo',
      ),
    );
    for (let time = 0; time < 2; time++) assertOk(await call('POST', `${root}/nodes/node-2/undrain`));
    assert.equal((await node()).maintenance, null);
    assertRefused(await call('POST', `${root}/nodes/nowhere/drain`), 404, 'HF_NOT_FOUND');
    await runs('echoes', '1.0.0', 2);
  });

  it('sets the version of all instances by PUT, and leaves them alone by POST', async () => {
    const before = await settings();
    assertOk(await call('POST', packagesPath, raw(echoPackage('1.5.0'))), 201);
    assert.equal((await settings()).etag, before.etag);
    const upload = await call('PUT', packagesPath, form(echoPackage('2.0.0')));
    assert.deepEqual(assertOk<MasterUpload>(upload, 201).instances.sort(), ['echoes', 'none', 'others']);
    const after = await settings();
    assert.notEqual(after.etag, before.etag);
    const versions = (document: Document) =>
      document.componentInstances
        .filter(item => item.packageName === 'contract-echo')
        .map(item => item.packageVersion);
    assert.deepEqual(versions(after.document), ['2.0.0', '2.0.0', '2.0.0']);
    assert.deepEqual(JSON.parse(await readFile(cluster.settingsPath, 'utf8')), after.document);
    await runs('echoes', '2.0.0', 2);
    await runs('others', '2.0.0', 1);
  });

  it('goes back to the version before by one call, everywhere', async () => {
    const back = `${packagesPath}/contract-echo/rollback`;
    await until('the change is over', async () => {
      const { status } = await call('POST', back);
      return status === 200;
    });
    await runs('echoes', '1.0.0', 2);
    await runs('others', '1.0.0', 1);
    assertRefused(await call('POST', `${packagesPath}/nobody/rollback`), 404, 'HF_PACKAGE_NOT_FOUND');
    assertOk(await call('PUT', packagesPath, raw(echoPackage('2.0.0'))));
    await runs('echoes', '2.0.0', 2);
    await runs('others', '2.0.0', 1);
  });

  it('removes a package that nobody uses', async () => {
    assertRefused(await call('DELETE', `${packagesPath}/contract-echo`), 409, 'HF_PACKAGE_IN_USE');
    assertRefused(await call('DELETE', `${packagesPath}/nobody`), 404, 'HF_PACKAGE_NOT_FOUND');
    assert.equal((await call('DELETE', `${packagesPath}/contract-echo?version=1.5.0`)).status, 204);
    assertOk(
      await call('POST', packagesPath, raw(echoPackage('1.0.0', { packageName: 'contract-unused' }))),
      201,
    );
    assert.equal((await call('DELETE', `${packagesPath}/contract-unused`)).status, 204);
    const node = callerOf(cluster.nodeUris[1]!, cluster.token);
    assertRefused(await node('GET', '/api/node/packages/contract-unused/configuration'), 404);
  });

  it('restarts the copies of an instance, and streams what happens', async () => {
    assertRefused(await call('POST', `${root}/instances/nobody/restart`), 404, 'HF_NOT_FOUND');
    const pids = async () =>
      (await cluster.processes())
        .filter(item => item.component?.instanceId === 'others')
        .map(item => item.pid);
    const before = await pids();
    const event = await nextEvent(
      cluster.masterUri,
      cluster.token,
      `${root}/events`,
      found => found.type === 'restart',
      async () => {
        const { status } = await call('POST', `${root}/instances/others/restart`);
        assert(status === 200 || status === 202, String(status));
      },
    );
    assert.equal(event.instanceId, 'others');
    await until('another process runs', async () => {
      const now = await pids();
      return now.length === 1 && now[0] !== before[0];
    });
  });
}
