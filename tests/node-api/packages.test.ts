import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { join } from 'node:path';
import { issueToken } from '#http-api';
import type { ErrorBody, NodeStats, PackageInfo } from '#core';
import {
  componentPackage,
  createWorkplace,
  hostPackage,
  secret,
  type AgentClient,
  type Workplace,
} from './agent-harness.ts';

const root = '/api/node/packages';

describe('node API: packages, statistics and access', () => {
  let workplace: Workplace;
  let agent: AgentClient;

  beforeEach(async () => {
    workplace = await createWorkplace();
    agent = await workplace.agent();
  });
  afterEach(() => workplace.dispose());

  const errorOf = ({ status, body }: { status: number; body: unknown }) => [status, (body as ErrorBody).code];

  it('stores an upload, knows the same bytes again, and refuses others under the same version', async () => {
    const zip = componentPackage();
    const created = await agent.upload(zip);
    assert.equal(created.status, 201);
    const info = created.body as unknown as PackageInfo;
    assert.deepEqual(
      [info.packageName, info.packageVersion, info.kind, info.current, info.status],
      ['worker', '1.0.0', 'component', true, 'ok'],
    );
    assert.equal(info.sha256, createHash('sha256').update(zip).digest('hex'));
    assert.ok(!('directory' in info));
    assert.equal((await agent.upload(zip)).status, 200);
    const other = await agent.upload(componentPackage('worker', '1.0.0', { description: 'other' }));
    assert.deepEqual(errorOf(other), [409, 'HF_PACKAGE_CONFLICT']);
  });

  it('takes bytes that it has by their digest alone, and asks for those that it has not', async () => {
    const first = (await agent.upload(componentPackage('worker', '1.0.0'))).body as unknown as PackageInfo;
    const second = (await agent.upload(componentPackage('worker', '1.1.0'))).body as unknown as PackageInfo;
    const known = (sha256: string) => `${root}?sha256=${sha256}`;
    const again = await agent.call<PackageInfo>('POST', known(second.sha256));
    assert.deepEqual([again.status, again.body.packageVersion, again.body.current], [200, '1.1.0', false]);
    const current = await agent.call<PackageInfo>('PUT', known(second.sha256));
    assert.deepEqual([current.status, current.body.current], [200, true]);
    assert.deepEqual(errorOf(await agent.call('PUT', known('0'.repeat(64)))), [404, 'HF_PACKAGE_NOT_FOUND']);
    assert.deepEqual(errorOf(await agent.call('PUT', known('none'))), [400, 'HF_REQUEST_INVALID']);
    // What is damaged has to be sent again: that mends it.
    await agent.call('POST', `${root}/worker/rollback`);
    const found = await agent.call<PackageInfo[]>('GET', `${root}/worker/configuration`);
    assert.equal(found.body.find(item => item.current)!.sha256, first.sha256);
  });

  it('makes an uploaded version current with PUT only, and rolls back', async () => {
    await agent.upload(componentPackage('worker', '1.0.0'));
    assert.equal((await agent.upload(componentPackage('worker', '1.1.0'))).body.current, false);
    const upgraded = await agent.upload(componentPackage('worker', '1.2.0'), 'PUT');
    assert.deepEqual([upgraded.status, upgraded.body.current], [200, true]);
    const all = await agent.call<PackageInfo[]>('GET', `${root}/configuration`);
    assert.equal(all.body.length, 3);
    const rolled = await agent.call<PackageInfo>('POST', `${root}/worker/rollback`);
    assert.deepEqual([rolled.status, rolled.body.packageVersion], [200, '1.0.0']);
    assert.deepEqual(errorOf(await agent.call('POST', `${root}/worker/rollback`)), [
      409,
      'HF_ROLLBACK_IMPOSSIBLE',
    ]);
    const one = await agent.call<PackageInfo[]>('GET', `${root}/worker/configuration`);
    assert.deepEqual(
      one.body.map(item => [item.packageVersion, item.current]),
      [
        ['1.0.0', true],
        ['1.1.0', false],
        ['1.2.0', false],
      ],
    );
    assert.deepEqual(errorOf(await agent.call('GET', `${root}/none/configuration`)), [
      404,
      'HF_PACKAGE_NOT_FOUND',
    ]);
  });

  it('removes a version, or all', async () => {
    await agent.upload(componentPackage('worker', '1.0.0'));
    await agent.upload(componentPackage('worker', '1.1.0'));
    assert.equal((await agent.call('DELETE', `${root}/worker?version=1.1.0`)).status, 204);
    assert.equal((await agent.call<unknown[]>('GET', `${root}/configuration`)).body.length, 1);
    assert.equal((await agent.call('DELETE', `${root}/worker`)).status, 204);
    assert.equal((await agent.call('DELETE', `${root}/worker`)).status, 404);
  });

  it('hands the stored ZIP out, byte for byte', async () => {
    const zip = componentPackage();
    await agent.upload(zip);
    const response = await fetch(`${agent.agent.uri}${root}/worker/archive?version=1.0.0`, {
      headers: { authorization: `Bearer ${secret}` },
    });
    assert.equal(response.headers.get('content-type'), 'application/zip');
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), zip);
  });

  it('takes multipart with the field package, and says so when it is another', async () => {
    const send = async (field: string) => {
      const form = new FormData();
      form.set(
        field,
        new Blob([new Uint8Array(componentPackage())], { type: 'application/zip' }),
        'worker.zip',
      );
      const response = await fetch(`${agent.agent.uri}${root}`, {
        method: 'POST',
        body: form,
        headers: { authorization: `Bearer ${secret}` },
      });
      return { status: response.status, body: (await response.json()) as ErrorBody };
    };
    const wrong = await send('file');
    assert.deepEqual(errorOf(wrong), [400, 'HF_REQUEST_INVALID']);
    assert.match(wrong.body.message, /"package"/);
    assert.equal((await send('package')).status, 201);
  });

  it('refuses what is no package: garbage, nothing, another type', async () => {
    assert.deepEqual(errorOf(await agent.upload(Buffer.from('not a zip'))), [422, 'HF_PACKAGE_INVALID']);
    assert.deepEqual(errorOf(await agent.call('POST', root)), [400, 'HF_REQUEST_INVALID']);
    assert.deepEqual(errorOf(await agent.call('POST', root, { a: 1 })), [415, 'HF_MEDIA_TYPE']);
    const text = await agent.call('POST', root, Buffer.from('x'), { 'content-type': 'text/csv' });
    assert.deepEqual(errorOf(text), [415, 'HF_MEDIA_TYPE']);
  });

  it('answers 413 while an endless upload is still being sent', async () => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const upload = request(`${agent.agent.uri}${root}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/zip' },
    });
    let answered = false;
    upload.on('response', response => {
      answered = true;
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    upload.on('error', error => {
      if (!answered) reject(error);
    });
    const chunk = Buffer.alloc(4 * 1024 * 1024);
    const send = () => {
      if (!answered && !upload.destroyed) upload.write(chunk, send);
    };
    send();
    assert.equal(await promise, 413);
    upload.destroy();
  });

  it('refuses a leader that was deposed, also after a restart, and lets operators through', async () => {
    const leader = (mark: string) => ({ 'x-holdfast-leader': mark });
    const kill = (mark: string) => agent.call('PUT', '/api/node/processes/kill', {}, leader(mark));
    assert.equal((await kill('c1:i1:5')).status, 200);
    assert.equal((await kill('c1:i1:7')).status, 200);
    assert.deepEqual(errorOf(await kill('c1:i1:6')), [409, 'HF_LEADER_STALE']);
    assert.deepEqual(errorOf(await kill('nonsense')), [400, 'HF_REQUEST_INVALID']);
    const start = await agent.call('PUT', '/api/node/processes/worker/start', {}, leader('c1:i1:6'));
    assert.deepEqual(errorOf(start), [409, 'HF_LEADER_STALE']);
    // A manager that begins to lead says so before it does anything else.
    const announce = (mark: object) => agent.call('PUT', '/api/node/leader', undefined, { ...mark });
    assert.equal((await announce(leader('c1:i1:8'))).status, 204);
    assert.deepEqual(errorOf(await kill('c1:i1:7')), [409, 'HF_LEADER_STALE']);
    assert.deepEqual(errorOf(await announce(leader('c1:i1:7'))), [409, 'HF_LEADER_STALE']);
    assert.deepEqual(errorOf(await announce({})), [400, 'HF_REQUEST_INVALID']);
    await agent.agent.close({ stopHosts: true });
    agent = await workplace.agent();
    assert.deepEqual(errorOf(await kill('c1:i1:7')), [409, 'HF_LEADER_STALE']);
    assert.equal((await kill('c1:i2:1')).status, 200);
    assert.deepEqual(errorOf(await kill('c1:i1:9')), [409, 'HF_LEADER_STALE']);
    assert.equal((await agent.call('PUT', '/api/node/processes/kill')).status, 200);
  });

  it('asks for a token with the right scope, but not for health', async () => {
    const as = async (method: string, path: string, token: string | null) => {
      const headers = token === null ? {} : { authorization: `Bearer ${token}` };
      return (await fetch(`${agent.agent.uri}${path}`, { method, headers })).status;
    };
    const reader = issueToken(secret, 'read', 0);
    const deployer = issueToken(secret, 'deploy', 0);
    assert.equal(await as('GET', '/api/node/stats', null), 401);
    assert.equal(await as('GET', '/api/node/stats', reader), 200);
    assert.equal(await as('PUT', '/api/node/processes/kill', reader), 403);
    assert.equal(await as('PUT', '/api/node/processes/kill', deployer), 200);
    assert.equal(await as('DELETE', `${root}/x`, reader), 403);
    assert.equal(await as('GET', '/health/ready', null), 200);
  });

  it('describes the machine, and itself', async () => {
    const { body } = await agent.call<NodeStats>('GET', '/api/node/stats');
    assert.equal(body.nodeName, 'node-1');
    assert.ok(body.environment.freeDiskBytes > 0 && body.environment.cpus > 0);
    assert.ok(body.networkInterfaces.some(item => item.address === '127.0.0.1'));
    assert.deepEqual(body.processes, []);
    const openapi = await agent.call<{ paths: object }>('GET', '/openapi.json');
    assert.ok('/api/node/processes/{packageName}/start' in openapi.body.paths);
  });

  it('keeps a spare host ready, uses it, makes another, and replaces one of an older version', async () => {
    await agent.agent.close({ stopHosts: true });
    agent = await workplace.agent({ warmSpares: 1 });
    await agent.upload(hostPackage());
    await agent.upload(componentPackage());
    const spares = async () => {
      const { body } = await agent.call<string>('GET', '/metrics');
      return /holdfast_node_spare_hosts 1/.test(body);
    };
    await workplace.until('a spare', spares);
    assert.deepEqual(await agent.processes(true), []);
    assert.equal((await agent.start('worker', {})).status, 201);
    await workplace.until('the next spare', spares);
    await agent.upload(hostPackage('1.0.1'), 'PUT');
    await workplace.until('the new spare', spares);
    // The old version is in use by the worker alone; once that ended it can go, whatever spares there were.
    assert.equal((await agent.kill('worker/kill')).body.killed.length, 1);
    assert.equal((await agent.call('DELETE', `${root}/component-host?version=1.0.0`)).status, 204);
    assert.equal((await agent.start('worker', {})).status, 201);
    // What has a limit of its own gets spares with that limit.
    assert.equal((await agent.start('worker', { settingsId: 'limited', memoryMb: 64 })).status, 201);
    await workplace.until('a spare of each profile', async () => {
      const { body } = await agent.call<string>('GET', '/metrics');
      return /holdfast_node_spare_hosts 2/.test(body);
    });
  });

  it('gives up cleanly when its port is taken', async () => {
    const dataDirectory = join(workplace.stateRoot, 'other');
    const port = Number(new URL(agent.agent.uri).port);
    const taken = workplace.agent({ dataDirectory, listen: { host: '127.0.0.1', port } });
    await assert.rejects(taken, { code: 'HF_PORT_IN_USE' });
    await workplace.agent({ dataDirectory }); // the lock was released
  });
});
