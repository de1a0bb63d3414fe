/** Every row of the component host's API: a host started unconfigured, and its whole life by REST. */
import assert from 'node:assert/strict';
import type { HostStatus, PackageInfo, ProcessInfo } from '#core';
import { issueToken } from '#http-api';
import { until } from '../../support/cluster.ts';
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
  publisherPackage,
  raw,
  type Call,
} from './support.ts';

type Configuration = HostStatus & { settings: Record<string, unknown> | null };

const base = '/api/componentHost';
const services = `${base}/services`;
const component = `${services}/component/contract-echo`;
const publisher = `${services}/messagePublisher/contract-publisher`;

export const hostPaths = [
  `GET ${base}/configuration`,
  `POST ${base}/shutdown`,
  `POST ${base}/packages`,
  `PUT ${base}/packages`,
  `GET ${base}/packages/configuration`,
  `GET ${base}/packages/{packageName}/configuration`,
  `PUT ${services}/start`,
  `PUT ${services}/stop`,
  ...['component', 'messagePublisher'].flatMap(role =>
    ['init', 'start', 'stop'].map(verb => `PUT ${services}/${role}/{packageName}/${verb}`),
  ),
];

export function componentHostContract(nodeOf: () => LoneNode): void {
  let node: Call;
  let host: Call;
  let hostUri: string;
  let processId: string;

  before(async () => {
    const { uri, token } = nodeOf();
    node = callerOf(uri, token);
    const started = assertOk<ProcessInfo>(await node('PUT', '/api/node/processes/component-host/start'), 201);
    assert.equal(started.component, null);
    hostUri = started.hostUri!;
    ({ processId } = started);
    host = callerOf(hostUri, token);
  });

  const configured = async () => assertOk<Configuration>(await host('GET', `${base}/configuration`));
  const state = async () => (await configured()).state;

  it('awaits its configuration', async () => {
    const configuration = await configured();
    assert.deepEqual(
      [configuration.state, configuration.component, configuration.publisher, configuration.settings],
      ['AwaitingConfiguration', null, null, null],
    );
    assert.deepEqual([configuration.ownedKeys, configuration.errors], [0, []]);
    for (const path of ['start', 'stop'])
      assertRefused(await host('PUT', `${services}/${path}`), 409, 'HF_WRONG_STATE');
    assertRefused(await host('PUT', `${component}/init`, { body: {} }), 404, 'HF_PACKAGE_NOT_FOUND');
    assertRefused(await host('PUT', `${component}/start`), 404);
  });

  it('takes packages as the node does', async () => {
    assert.deepEqual(assertList(await host('GET', `${base}/packages/configuration`)), []);
    assertOk(await host('POST', `${base}/packages`, raw(echoPackage('1.0.0'))), 201);
    assertOk(await host('POST', `${base}/packages`, form(echoPackage('1.0.0'))), 200);
    assertOk(await host('PUT', `${base}/packages`, form(publisherPackage())), 200);
    const other = raw(echoPackage('1.0.0', { description: 'Other bytes.' }));
    assertRefused(await host('POST', `${base}/packages`, other), 409, 'HF_PACKAGE_CONFLICT');
    assertRefused(await host('POST', `${base}/packages`), 400, 'HF_REQUEST_INVALID');
    assertRefused(
      await host('POST', `${base}/packages`, form(publisherPackage(), 'file')),
      400,
      'HF_REQUEST_INVALID',
    );
    assertRefused(await host('PUT', `${base}/packages`, raw(Buffer.from('no'))), 422, 'HF_PACKAGE_INVALID');
    const [echo] = assertList<PackageInfo>(
      await host('GET', `${base}/packages/contract-echo/configuration`),
      'manifest',
      'sha256',
    );
    assert.equal(echo?.current, true);
    assertRefused(await host('GET', `${base}/packages/nobody/configuration`), 404, 'HF_PACKAGE_NOT_FOUND');
  });

  it('goes from Configured to Started to Stopped and round again', async () => {
    const misfit = await host('PUT', `${component}/init`, { body: { greeting: 7 } });
    assertRefused(misfit, 422, 'HF_SETTINGS_INVALID');
    assert.equal(firstProblem(misfit)?.path, '$.greeting');
    assertRefused(await host('PUT', `${component}/init`, { body: [] }), 400, 'HF_REQUEST_INVALID');
    assert.equal(await state(), 'AwaitingConfiguration');

    assertOk(await host('PUT', `${component}/init`, { body: { greeting: 'hi', password: 'hunter2' } }));
    assert.equal(await state(), 'Configured');
    assertRefused(await host('PUT', `${component}/stop`), 409, 'HF_WRONG_STATE');
    assertRefused(await host('PUT', `${services}/component/nobody/start`), 404);
    assertRefused(await host('PUT', `${services}/component/nobody/init`, { body: {} }), 404);
    assertOk(await host('PUT', `${component}/start`));
    assert.equal(await state(), 'Started');
    assertOk(await host('GET', '/health/ready'));
    for (const path of [`${component}/start`, `${services}/start`]) {
      assertRefused(await host('PUT', path), 409, 'HF_WRONG_STATE');
    }
    assertRefused(await host('PUT', `${component}/init`, { body: {} }), 409, 'HF_WRONG_STATE');

    const configuration = await configured();
    assert.equal(configuration.component!.packageName, 'contract-echo');
    assert.equal(configuration.settings?.greeting, 'hi');
    assert.doesNotMatch(JSON.stringify(configuration), /hunter2/);
    await until('the agent has heard of it', async () => {
      const shown = assertOk<ProcessInfo>(
        await node('GET', `/api/node/processes/component-host/${processId}`),
      );
      return shown.component?.packageName === 'contract-echo' && shown.component.state === 'Started';
    });

    assertOk(await host('PUT', `${component}/stop`));
    assert.equal(await state(), 'Stopped');
    assertOk(await host('PUT', `${services}/start`));
    assert.equal(await state(), 'Started');
    const json = { body: '', headers: { 'content-type': 'application/json' } };
    assertOk(await host('PUT', `${services}/stop`, json));
    assert.equal(await state(), 'Stopped');
    assertOk(await host('PUT', `${component}/init`, json));
    assert.equal(await state(), 'Configured');
  });

  it('brings a publisher up before the component and down after it', async () => {
    assertRefused(await host('PUT', `${publisher}/start`), 404);
    assertRefused(await host('PUT', `${publisher}/init`, { body: { topic: 7 } }), 422, 'HF_SETTINGS_INVALID');
    assertRefused(await host('PUT', `${services}/messagePublisher/nobody/init`, { body: {} }), 404);
    assertOk(await host('PUT', `${publisher}/init`, { body: { topic: 'a' } }));
    assertRefused(await host('PUT', `${publisher}/stop`), 409, 'HF_WRONG_STATE');
    assertOk(await host('PUT', `${publisher}/start`));
    assertRefused(await host('PUT', `${publisher}/start`), 409, 'HF_WRONG_STATE');
    const configuration = await configured();
    assert.equal(configuration.publisher!.packageName, 'contract-publisher');
    assert.equal(configuration.publisher!.state, 'started');
    assertOk(await host('PUT', `${component}/start`));
    assertRefused(await host('PUT', `${publisher}/stop`), 409, 'HF_WRONG_STATE');
    assertOk(await host('PUT', `${component}/stop`));
    assertOk(await host('PUT', `${publisher}/stop`));
    assertOk(await host('PUT', `${services}/start`));
  });

  it('has what every API has, and its scopes', async () => {
    const { token } = nodeOf();
    await assertCommonRoutes(hostUri, token, hostPaths);
    const read = callerOf(hostUri, issueToken(token, 'read', 0));
    assertOk(await read('GET', `${base}/configuration`));
    assertRefused(await read('PUT', `${services}/stop`), 403, 'HF_FORBIDDEN');
    assertRefused(await read('POST', `${base}/shutdown`), 403, 'HF_FORBIDDEN');
  });

  it('shuts down when asked, and is not started again', async () => {
    assertRefused(await host('POST', `${base}/shutdown`, { body: { graceMs: 'soon' } }), 400);
    assertOk(await host('POST', `${base}/shutdown`), 202);
    await until('the process is gone', async () => {
      const answer = await node('GET', `/api/node/processes/component-host/${processId}`);
      return answer.status === 404;
    });
    assert.deepEqual(assertList(await node('GET', '/api/node/processes')), []);
  });
}
