/** Every row of the node API, on an agent alone: an operator without a manager. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { KillOutcome, NodeStats, PackageInfo, ProcessInfo } from '#core';
import { issueToken } from '#http-api';
import { projectRoot, until } from '../../support/cluster.ts';
import { makePackage } from '../../support/make-package.ts';
import type { LoneNode } from './lone-node.ts';
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
  olderPackage,
  publisherPackage,
  raw,
  type Call,
} from './support.ts';

const packagesPath = '/api/node/packages';
const processesPath = '/api/node/processes';

export const nodePaths = [
  'GET /api/node/stats',
  'GET /api/node/stats/processes',
  'GET /api/node/stats/processes/{packageName}',
  'POST /api/node/packages',
  'PUT /api/node/packages',
  'GET /api/node/packages/configuration',
  'GET /api/node/packages/{packageName}/configuration',
  'DELETE /api/node/packages/{packageName}',
  'POST /api/node/packages/{packageName}/rollback',
  'GET /api/node/processes',
  'GET /api/node/processes/{packageName}',
  'GET /api/node/processes/{packageName}/{processId}',
  'PUT /api/node/processes/{packageName}/start',
  'PUT /api/node/processes/{packageName}/{processId}/kill',
  'PUT /api/node/processes/{packageName}/kill',
  'PUT /api/node/processes/kill',
  'GET /api/node/processes/{packageName}/{processId}/logs',
  'GET /api/node/events',
];

const processFields = [
  'processId',
  'pid',
  'packageName',
  'packageVersion',
  'settingsId',
  'component',
  'state',
  'hostUri',
  'startedAt',
  'restarts',
];

export function nodeApiContract(nodeOf: () => LoneNode): void {
  let uri: string;
  let token: string;
  let call: Call;
  before(() => {
    ({ uri, token } = nodeOf());
    call = callerOf(uri, token);
  });

  it('has what every API has', () => assertCommonRoutes(uri, token, nodePaths));

  it('gives each scope its rights and no more', async () => {
    const [read, deploy, expired] = [
      callerOf(uri, issueToken(token, 'read', 0)),
      callerOf(uri, issueToken(token, 'deploy', 0)),
      callerOf(uri, issueToken(token, 'admin', 1)),
    ];
    assertOk(await read('GET', processesPath));
    assertOk(await read('GET', '/openapi.json'));
    assertOk(await read('GET', '/metrics'));
    assertRefused(await read('POST', packagesPath, raw(echoPackage('0.0.1'))), 403, 'HF_FORBIDDEN');
    assertRefused(await read('PUT', `${processesPath}/kill`, { body: {} }), 403, 'HF_FORBIDDEN');
    assertRefused(await deploy('POST', packagesPath, raw(Buffer.from('no zip'))), 422);
    assertRefused(await expired('GET', processesPath), 401, 'HF_UNAUTHENTICATED');
  });

  it('shows the machine and its processes', async () => {
    const stats = assertOk<NodeStats>(await call('GET', '/api/node/stats'));
    assert(stats.environment && Array.isArray(stats.processes) && Array.isArray(stats.networkInterfaces));
    assertList(
      await call('GET', '/api/node/stats/processes'),
      'packageName',
      'cpuMs',
      'rssBytes',
      'uptimeMs',
    );
    assertRefused(await call('GET', '/api/node/stats/processes/nobody'), 404);
  });

  it('takes a package once, raw or as form, and refuses what is none', async () => {
    for (const name of ['component-host', 'basic-publisher']) {
      const zip = await readFile(join(projectRoot, `build/packages/${name}-1.0.0.zip`));
      assertOk(await call('POST', packagesPath, raw(zip)), 201);
    }
    const first = assertOk<PackageInfo>(await call('POST', packagesPath, raw(echoPackage('1.0.0'))), 201);
    assert.deepEqual(
      [first.packageName, first.packageVersion, first.current],
      ['contract-echo', '1.0.0', true],
    );
    assert.match(first.sha256, /^[0-9a-f]{64}$/);
    assertOk(await call('POST', packagesPath, form(echoPackage('1.0.0'))), 200);
    assertOk(await call('PUT', packagesPath, raw(echoPackage('1.0.0'))), 200);
    assertOk(await call('POST', packagesPath, form(publisherPackage())), 201);
    const other = echoPackage('1.0.0', { description: 'Other bytes.' });
    assertRefused(await call('POST', packagesPath, raw(other)), 409, 'HF_PACKAGE_CONFLICT');
    assertRefused(await call('PUT', packagesPath, form(other)), 409, 'HF_PACKAGE_CONFLICT');
    assertRefused(
      await call('POST', packagesPath, form(echoPackage('1.0.0'), 'file')),
      400,
      'HF_REQUEST_INVALID',
    );
    assertRefused(await call('POST', packagesPath), 400, 'HF_REQUEST_INVALID');
    for (const broken of [
      { body: 'no parts', headers: { 'content-type': 'multipart/form-data' } },
      { body: 'no parts', headers: { 'content-type': 'multipart/form-data; boundary=x' } },
      { ...form(echoPackage('1.0.0')), body: form(echoPackage('1.0.0')).body.subarray(0, 400) },
    ]) {
      assertRefused(await call('POST', packagesPath, broken), 400, 'HF_REQUEST_INVALID');
    }
    assertRefused(await call('POST', packagesPath, { body: { not: 'a ZIP' } }), 415, 'HF_MEDIA_TYPE');
    for (const bad of [
      Buffer.alloc(0),
      Buffer.from('this is no ZIP'),
      echoPackage('1.0.0').subarray(0, 200),
      makePackage({ packageName: 'x' }, {}),
      echoPackage('not-a-version'),
      makePackage({ packageName: 'x', packageVersion: '1.0.0', kind: 'component', main: 'index.js' }, {}),
      echoPackage('1.0.0', { packageName: 'contract-future', engines: { node: '>=99' } }),
    ]) {
      assertRefused(await call('POST', packagesPath, raw(bad)), 422, 'HF_PACKAGE_INVALID');
      assertRefused(await call('PUT', packagesPath, form(bad)), 422, 'HF_PACKAGE_INVALID');
    }
    assertRefused(await call('POST', packagesPath, raw(bomb())), 413, 'HF_PACKAGE_TOO_LARGE');
  });

  it('makes an upload current by PUT, rolls back, and removes', async () => {
    const current = async () =>
      assertList<PackageInfo>(
        await call('GET', `${packagesPath}/contract-echo/configuration`),
        'manifest',
        'sha256',
        'current',
        'installedAt',
      )
        .filter(item => item.current)
        .map(item => item.packageVersion);
    assertOk(await call('POST', packagesPath, raw(echoPackage('1.1.0'))), 201);
    assertOk(await call('PUT', packagesPath, form(echoPackage('1.2.0'))), 200);
    assert.deepEqual(await current(), ['1.2.0']);
    const back = assertOk<PackageInfo>(await call('POST', `${packagesPath}/contract-echo/rollback`));
    assert.notEqual(back.packageVersion, '1.2.0');
    assert.deepEqual(await current(), [back.packageVersion]);
    assertRefused(await call('POST', `${packagesPath}/nobody/rollback`), 404, 'HF_PACKAGE_NOT_FOUND');
    assertRefused(
      await call('POST', `${packagesPath}/contract-publisher/rollback`),
      409,
      'HF_ROLLBACK_IMPOSSIBLE',
    );
    assert.equal((await call('DELETE', `${packagesPath}/contract-echo?version=1.1.0`)).status, 204);
    assertRefused(await call('DELETE', `${packagesPath}/contract-echo?version=1.1.0`), 404);
    assertRefused(await call('DELETE', `${packagesPath}/nobody`), 404, 'HF_PACKAGE_NOT_FOUND');
    assertRefused(await call('GET', `${packagesPath}/nobody/configuration`), 404);
    const names = assertList<PackageInfo>(await call('GET', `${packagesPath}/configuration`)).map(
      item => item.packageName,
    );
    assert(names.includes('contract-echo') && names.includes('component-host'));
  });

  it('starts a component whose manifest has the older spellings', async () => {
    const stored = assertOk<PackageInfo>(await call('POST', packagesPath, raw(olderPackage('1.0.0'))), 201);
    assert.deepEqual(
      [stored.packageName, stored.packageVersion, stored.kind],
      ['contract-older', '1.0.0', 'component'],
    );
    assert.deepEqual(stored.manifest.defaultConfiguration, { greeting: 'good day' });
    const started = assertOk<ProcessInfo>(await call('PUT', `${processesPath}/contract-older/start`), 201);
    for (const field of processFields) assert(field in started, field);
    assert.deepEqual(
      [started.packageName, started.packageVersion, started.component!.packageName, started.component!.state],
      ['contract-older', '1.0.0', 'contract-older', 'Started'],
    );
    const configuration = assertOk<{ settings: unknown }>(
      await callerOf(started.hostUri!, token)('GET', '/api/componentHost/configuration'),
    );
    assert.deepEqual(configuration.settings, { greeting: 'good day' });
    assertRefused(await call('DELETE', `${packagesPath}/contract-older`), 409, 'HF_PACKAGE_IN_USE');
    assertOk(await call('PUT', `${processesPath}/contract-older/kill`));
    assert.equal((await call('DELETE', `${packagesPath}/contract-older`)).status, 204);
  });

  it('starts once for a settingsId, which also finds and kills the process', async () => {
    const start = `${processesPath}/contract-echo/start`;
    const settingsId = 'echoes/0/first';
    const body = {
      settingsId,
      version: '1.0.0',
      settings: { greeting: 'hi', password: 'hunter2' },
      messagePublisher: { packageName: 'contract-publisher', settings: { topic: 'a' } },
      env: { SECRET: 'plain' },
    };
    const [one, two] = await Promise.all([call('PUT', start, { body }), call('PUT', start, { body })]);
    const first = assertOk<ProcessInfo>(one, 201);
    assert.equal(assertOk<ProcessInfo>(two, 201).processId, first.processId);
    assert.deepEqual(
      [
        first.settingsId,
        first.packageVersion,
        first.component!.instanceId,
        first.component!.state,
        first.restarts,
      ],
      [settingsId, '1.0.0', 'echoes', 'Started', 0],
    );
    assertRefused(
      await call('PUT', start, { body: { ...body, settings: {} } }),
      409,
      'HF_SETTINGS_ID_CONFLICT',
    );
    assertList(await call('GET', processesPath), ...processFields);
    assert.equal(assertList(await call('GET', `${processesPath}/contract-echo`)).length, 1);
    for (const id of [first.processId, encodeURIComponent(settingsId)]) {
      const found = assertOk<ProcessInfo>(await call('GET', `${processesPath}/contract-echo/${id}`));
      assert.equal(found.processId, first.processId);
    }
    assert.equal(assertList(await call('GET', '/api/node/stats/processes/contract-echo')).length, 1);

    const log = await call('GET', `${processesPath}/contract-echo/${first.processId}/logs?tail=5`);
    assert.equal(log.status, 200);
    assert.match(String(log.headers['content-type']), /^text\/plain/);
    assertRefused(await call('GET', `${processesPath}/contract-echo/nobody/logs`), 404);

    const killed = assertOk(
      await call('PUT', `${processesPath}/contract-echo/${first.processId}/kill`, {
        body: { graceMs: 2_000 },
      }),
    );
    assert.deepEqual(killed, { killed: [first.processId], failed: [] });
    assertRefused(
      await call('GET', `${processesPath}/contract-echo/${first.processId}`),
      404,
      'HF_PROCESS_NOT_FOUND',
    );
    assert.deepEqual(assertList(await call('GET', `${processesPath}/contract-echo`)), []);
    const ended = assertList<ProcessInfo>(await call('GET', `${processesPath}?all=true`)).find(
      item => item.processId === first.processId,
    );
    assert.equal(ended?.state, 'Exited');
  });

  it('refuses starts that cannot work', async () => {
    const start = `${processesPath}/contract-echo/start`;
    assertRefused(await call('PUT', `${processesPath}/nobody/start`), 404, 'HF_PACKAGE_NOT_FOUND');
    assertRefused(await call('PUT', start, { body: { version: '9.9.9' } }), 404, 'HF_PACKAGE_NOT_FOUND');
    assertRefused(await call('PUT', `${processesPath}/contract-publisher/start`), 422);
    assertRefused(await call('PUT', start, { body: { messagePublisher: { packageName: 'nobody' } } }), 404);
    const misfit = await call('PUT', start, { body: { settings: { greeting: 7 } } });
    assertRefused(misfit, 422, 'HF_SETTINGS_INVALID');
    assert.deepEqual(firstProblem(misfit), {
      path: '$.settings.greeting',
      value: 7,
      expected: 'string',
    });
    assertRefused(await call('PUT', start, { body: { env: { A: { secretRef: 'missing' } } } }), 422);
    assertRefused(await call('PUT', start, { body: { settingz: {} } }), 400, 'HF_REQUEST_INVALID');
    const text = { body: '{"broken', headers: { 'content-type': 'application/json' } };
    assertRefused(await call('PUT', start, text), 400, 'HF_REQUEST_INVALID');
  });

  it('kills one, those of a package, or all', async () => {
    const start = (name: string, settingsId: string) =>
      call('PUT', `${processesPath}/${name}/start`, { body: { settingsId } }).then(answer =>
        assertOk<ProcessInfo>(answer, 201),
      );
    await Promise.all([start('contract-echo', 'a/0'), start('contract-echo', 'a/1')]);
    assert.equal(
      assertOk<KillOutcome>(await call('PUT', `${processesPath}/contract-echo/kill`)).killed.length,
      2,
    );
    const host = await start('component-host', 'spare');
    const all = assertOk(await call('PUT', `${processesPath}/kill`, { body: { graceMs: 0 } }));
    assert.deepEqual(all, { killed: [host.processId], failed: [] });
    assert.deepEqual(assertOk(await call('PUT', `${processesPath}/kill`)), { killed: [], failed: [] });
    assertRefused(await call('PUT', `${processesPath}/nobody/kill`), 404);
    assertRefused(
      await call('PUT', `${processesPath}/contract-echo/nobody/kill`),
      404,
      'HF_PROCESS_NOT_FOUND',
    );
    assertRefused(await call('PUT', `${processesPath}/kill`, { body: { graceMs: -1 } }), 400);
    await until('nothing runs', async () => assertList(await call('GET', processesPath)).length === 0);
  });

  it('streams events, and says that following logs is not there yet', async () => {
    const event = await nextEvent(
      uri,
      token,
      '/api/node/events',
      found => found.type === 'package-installed',
      () => call('POST', packagesPath, raw(echoPackage('1.3.0'))),
    );
    assert.match(event.at, /Z$/);
    const started = assertOk<ProcessInfo>(await call('PUT', `${processesPath}/contract-echo/start`), 201);
    const logs = `${processesPath}/contract-echo/${started.processId}/logs`;
    assertRefused(await call('GET', `${logs}?follow=true`), 501, 'HF_NOT_IMPLEMENTED');
    assertOk(await call('PUT', `${processesPath}/contract-echo/kill`));
  });
}

/** An entry that says it holds a gigabyte more than any package may. */
function bomb(): Buffer {
  const zip = echoPackage('9.0.0');
  const name = zip.indexOf('content/index.js', zip.indexOf(Buffer.from('PK\x01\x02', 'latin1')));
  assert(crc32('') === 0 && name > 0);
  zip.writeUInt32LE(0xf000_0000, name - 46 + 24);
  return zip;
}
