import { strict as assert } from 'node:assert';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ErrorBody, ProcessInfo } from '#core';
import {
  componentPackage,
  createWorkplace,
  hostPackage,
  identityOf,
  untilGone,
  writeSecret,
  type AgentClient,
  type Workplace,
} from './agent-harness.ts';

describe('node API: processes', () => {
  let workplace: Workplace;
  let agent: AgentClient;

  beforeEach(async () => {
    workplace = await createWorkplace();
    agent = await workplace.agent();
    await agent.upload(hostPackage());
    await agent.upload(
      componentPackage('worker', '1.0.0', {
        defaultConfiguration: { greeting: 'hi' },
        configurationSchema: {
          type: 'object',
          properties: { greeting: { type: 'string' }, password: { type: 'string', maxLength: 20 } },
        },
      }),
    );
  });
  afterEach(() => workplace.dispose());

  it('starts a component in a host and lists it under the component’s name', async () => {
    const started = await agent.start('worker', { settingsId: 'jobs/0/1', settings: { say: 'hello log' } });
    assert.equal(started.status, 201, JSON.stringify(started.body));
    const { processId, pid, ...rest } = started.body;
    assert.match(processId, /^node-1-[a-z0-9]+$/);
    assert.ok(pid);
    assert.deepEqual(
      { ...rest, startedAt: undefined, hostUri: undefined, host: undefined },
      {
        packageName: 'worker',
        packageVersion: '1.0.0',
        settingsId: 'jobs/0/1',
        component: { packageName: 'worker', packageVersion: '1.0.0', instanceId: 'jobs', state: 'Started' },
        state: 'Running',
        hostUri: undefined,
        startedAt: undefined,
        restarts: 0,
        host: undefined,
        lastExit: null,
      },
    );
    const encoded = encodeURIComponent('jobs/0/1');
    assert.equal(
      (await agent.call<ProcessInfo>('GET', `/api/node/processes/worker/${encoded}`)).body.pid,
      pid,
    );
    assert.equal((await agent.call('GET', `/api/node/processes/worker/${processId}`)).status, 200);
    assert.equal((await agent.call<ProcessInfo[]>('GET', '/api/node/processes/worker')).body.length, 1);
    assert.equal((await agent.call('GET', '/api/node/processes/nobody')).status, 404);
    assert.equal((await agent.call('GET', '/api/node/processes/worker/none')).status, 404);

    const logs = await agent.call<string>('GET', `/api/node/processes/worker/${encoded}/logs?tail=5`);
    assert.match(logs.body, /hello log/);
    assert.match(logs.headers.get('content-type') ?? '', /text\/plain/);
    const followed = await agent.call<ErrorBody>(
      'GET',
      `/api/node/processes/worker/${encoded}/logs?follow=true`,
    );
    assert.deepEqual([followed.status, followed.body.code], [501, 'HF_NOT_IMPLEMENTED']);

    const stats = await agent.call<{ pid: number; rssBytes: number }[]>(
      'GET',
      '/api/node/stats/processes/worker',
    );
    assert.equal(stats.body[0]?.pid, pid);
    assert.ok(stats.body[0].rssBytes > 1_000_000);
  });

  it('hands defaults, overlay, resolved secrets and environment to the host, and keeps secrets to itself', async () => {
    await writeSecret(workplace.stateRoot, 'db', 'swordfish\n');
    const request = {
      settings: { password: { secretRef: 'db' } },
      env: { KEY: { secretRef: 'db' }, PLAIN: 'x' },
    };
    const started = await agent.start('worker', request);
    assert.equal(started.status, 201, JSON.stringify(started.body));
    const folder = join(workplace.dataDirectory, 'hosts', started.body.processId);
    const configuration = JSON.parse(await readFile(join(folder, 'configuration.json'), 'utf8')) as {
      settings: unknown;
      env: unknown;
    };
    assert.deepEqual(configuration.settings, { greeting: 'hi', password: 'swordfish' });
    assert.deepEqual(configuration.env, { KEY: 'swordfish', PLAIN: 'x' });
    assert.doesNotMatch(JSON.stringify(await agent.processes(true)), /swordfish/);
    assert.doesNotMatch(await readFile(join(workplace.dataDirectory, 'processes.json'), 'utf8'), /swordfish/);
  });

  it('names the file of a missing secret, and does not show one in an error', async () => {
    const missing = await agent.start('worker', { settings: { password: { secretRef: 'none' } } });
    assert.equal(missing.status, 422);
    assert.match((missing.body as unknown as ErrorBody).message, /secrets\/none/);

    await writeSecret(workplace.stateRoot, 'long', 'swordfish'.repeat(40));
    const tooLong = await agent.start('worker', { settings: { password: { secretRef: 'long' } } });
    assert.equal(tooLong.status, 422);
    assert.match(JSON.stringify(tooLong.body), /\$\.settings\.password/);
    assert.doesNotMatch(JSON.stringify(tooLong.body), /swordfish/);

    await writeSecret(workplace.stateRoot, 'short', 'sword"fish');
    const refused = await agent.start('worker', { settings: { failConfigure: { secretRef: 'short' } } });
    assert.equal(refused.status, 422);
    assert.doesNotMatch(JSON.stringify(refused.body), /fish/);
  });

  it('refuses what cannot start, each with its reason, and leaves nothing running', async () => {
    const cases: [string, unknown, number, string, RegExp][] = [
      ['nobody', {}, 404, 'HF_PACKAGE_NOT_FOUND', /nobody/],
      ['worker', { version: '9.0.0' }, 404, 'HF_PACKAGE_NOT_FOUND', /9\.0\.0/],
      ['worker', { settings: { greeting: 5 } }, 422, 'HF_SETTINGS_INVALID', /\$\.settings\.greeting/],
      ['worker', { sesttings: {} }, 400, 'HF_REQUEST_INVALID', /\$\.sesttings/],
      ['worker', { memoryMb: '256' }, 400, 'HF_REQUEST_INVALID', /\$\.memoryMb/],
      ['component-host', { settings: { a: 1 } }, 422, 'HF_SETTINGS_INVALID', /unconfigured/],
      ['worker', { settings: { failStart: 'no database' } }, 422, 'HF_START_FAILED', /no database/],
      ['worker', { settings: { crashInStart: true } }, 422, 'HF_START_FAILED', /ended with code 9/],
      ['worker', { settings: { failConfigure: 'x' } }, 422, 'HF_SETTINGS_INVALID', /bad: x/],
    ];
    for (const [packageName, body, status, code, text] of cases) {
      const answer = await agent.start(packageName, body);
      const error = answer.body as unknown as ErrorBody;
      assert.deepEqual([answer.status, error.code], [status, code], JSON.stringify(error));
      assert.match(error.message, text);
    }
    assert.deepEqual(await agent.processes(), []);
  });

  it('runs a component in the version of the host package that is asked for, or in the current one', async () => {
    await agent.upload(hostPackage('2.0.0'));
    const remove = (version: string) =>
      agent.call('DELETE', `/api/node/packages/component-host?version=${version}`);
    const started = await agent.start('worker', { settingsId: 'jobs/0/1', hostVersion: '2.0.0' });
    assert.equal(started.status, 201, JSON.stringify(started.body));
    assert.equal((await remove('2.0.0')).status, 409, 'it runs from 2.0.0');
    assert.equal((await agent.start('worker', { settingsId: 'jobs/1/1' })).status, 201);
    assert.equal((await agent.start('worker', { hostVersion: '3.0.0' })).status, 404);
    const host = await agent.start('component-host', { hostVersion: '2.0.0' });
    assert.equal(host.status, 422, 'a host runs in nothing');
    await agent.kill('worker/kill');
    assert.equal((await remove('2.0.0')).status, 204);
  });

  it('starts one process for many equal requests at once, and refuses other words under the same id', async () => {
    const request = { settingsId: 'jobs/0/1', settings: { greeting: 'a' } };
    const answers = await Promise.all(Array.from({ length: 8 }, () => agent.start('worker', request)));
    assert.deepEqual([...new Set(answers.map(answer => answer.status))], [201]);
    assert.equal(new Set(answers.map(answer => answer.body.processId)).size, 1);
    const other = await agent.start('worker', { ...request, settings: { greeting: 'b' } });
    assert.deepEqual(
      [other.status, (other.body as unknown as ErrorBody).code],
      [409, 'HF_SETTINGS_ID_CONFLICT'],
    );
    assert.equal((await agent.processes()).length, 1);
  });

  it('starts an unconfigured host', async () => {
    const started = await agent.start('component-host');
    assert.equal(started.status, 201);
    assert.equal(started.body.component, null);
    assert.equal(started.body.host?.state, 'AwaitingConfiguration');
  });

  it('kills by id, by package and all; 404 where nothing matches', async () => {
    const first = (await agent.start('worker', { settingsId: 'a/0' })).body;
    const second = (await agent.start('worker', { settingsId: 'b/0' })).body;
    const host = (await agent.start('component-host')).body;
    const identities = [first, second, host].map(info => identityOf(info.pid));

    assert.deepEqual((await agent.kill(`worker/${encodeURIComponent('a/0')}/kill`)).body, {
      killed: [first.processId],
      failed: [],
    });
    assert.deepEqual((await agent.kill('worker/kill')).body.killed, [second.processId]);
    assert.deepEqual((await agent.kill('kill')).body.killed, [host.processId]);
    for (const identity of identities) await untilGone(identity);
    assert.equal((await agent.kill('worker/kill')).status, 404);
    assert.equal((await agent.kill(`worker/${first.processId}/kill`)).status, 404);
    assert.deepEqual((await agent.kill('kill')).body, { killed: [], failed: [] });

    assert.deepEqual(await agent.processes(), []);
    const ended = await agent.processes(true);
    assert.deepEqual(new Set(ended.map(info => info.state)), new Set(['Exited']));
    assert.equal(ended.length, 3);
    assert.equal(
      (await agent.call('GET', `/api/node/processes/worker/${first.processId}?all=true`)).status,
      200,
    );
  });

  it('stops a start that is under way', async () => {
    const starting = agent.start('worker', { settingsId: 'slow', settings: { hangInStart: true } });
    const { pid } = await workplace.until('its process', async () =>
      (await agent.processes()).find(info => info.pid !== null && info.host?.state === 'Configured'),
    );
    const identity = identityOf(pid);
    assert.equal((await agent.kill('worker/slow/kill', 200)).body.killed.length, 1);
    const answer = await starting;
    assert.deepEqual([answer.status, (answer.body as unknown as ErrorBody).code], [422, 'HF_START_FAILED']);
    await untilGone(identity);
    assert.deepEqual(await agent.processes(), []);
  });

  it('does not remove a package in use', async () => {
    await agent.start('worker', {});
    for (const name of ['worker', 'component-host']) {
      const answer = await agent.call<ErrorBody>('DELETE', `/api/node/packages/${name}`);
      assert.deepEqual([answer.status, answer.body.code], [409, 'HF_PACKAGE_IN_USE']);
    }
    await agent.kill('kill');
    assert.equal((await agent.call('DELETE', '/api/node/packages/worker')).status, 204);
  });
});
