import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import AdmZip from 'adm-zip';
import type { PackageInfo } from '#core';
import type { Host } from '#component-host';
import { issueToken } from '#http-api';
import { clusterSecret, configuration, fixture, openWorkspace, type Workspace } from './workspace.ts';

const base = '/api/componentHost';

describe('component host REST API', function () {
  this.timeout(30_000);
  let workspace: Workspace;
  let host: Host;
  beforeEach(async () => {
    workspace = await openWorkspace();
    host = await workspace.host();
  });
  afterEach(() => workspace.close());

  async function call(
    method: string,
    path: string,
    body?: unknown,
    token: string | null = clusterSecret,
  ): Promise<{ status: number; body: Record<string, unknown> }> {
    const content =
      body instanceof Uint8Array
        ? Uint8Array.from(body)
        : body instanceof FormData
          ? body
          : JSON.stringify(body);
    const response = await fetch(`${host.uri}${base}${path}`, {
      method,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body instanceof Uint8Array
          ? { 'content-type': 'application/zip' }
          : body === undefined || body instanceof FormData
            ? {}
            : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: content }),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
    };
  }

  /** A fixture as a ZIP, in plain JavaScript. */
  async function zipOf(packageName: string, version = '1.0.0'): Promise<Buffer> {
    const { stripTypeScriptTypes } = await import('node:module');
    const { directory } = fixture(packageName);
    const manifest = JSON.parse(await readFile(join(directory, 'manifest.json'), 'utf8')) as object;
    const code = stripTypeScriptTypes(await readFile(join(directory, 'content/index.ts'), 'utf8'));
    const zip = new AdmZip();
    const changed = { ...manifest, packageVersion: version, main: 'index.js' };
    zip.addFile('manifest.json', Buffer.from(JSON.stringify(changed)));
    zip.addFile('content/index.js', Buffer.from(code));
    zip.addFile('content/package.json', Buffer.from('{"type":"module"}'));
    return zip.toBuffer();
  }

  it('wants a token, with the scope for what is asked', async () => {
    assert.equal((await call('GET', '/configuration', undefined, null)).status, 401);
    assert.equal((await call('GET', '/configuration', undefined, 'wrong')).status, 401);
    const read = issueToken(clusterSecret, 'read', 0);
    assert.equal((await call('GET', '/configuration', undefined, read)).status, 200);
    for (const [method, path] of [
      ['PUT', '/services/start'],
      ['POST', '/packages'],
      ['POST', '/shutdown'],
      ['PUT', '/services/component/echo/init'],
    ] as const) {
      assert.equal((await call(method, path, undefined, read)).status, 403, path);
    }
    const deploy = issueToken(clusterSecret, 'deploy', 0);
    assert.equal((await call('PUT', '/services/start', undefined, deploy)).status, 409);
  });

  it('shows state, packages and settings, without secrets', async () => {
    await host.configure(configuration('journal-component', { password: 'hunter2', greeting: 'hi' }));
    const { status, body } = await call('GET', '/configuration');
    assert.equal(status, 200);
    assert.equal(body.state, 'Configured');
    assert.equal(body.processId, 'node-1-1');
    assert.equal(body.ownedKeys, 0);
    assert.equal(body.publisher, null);
    assert.deepEqual(body.settings, { greeting: 'hi', password: '[redacted]' });
    assert.ok(!JSON.stringify(body).includes('hunter2'));
  });

  it('starts and stops, and answers 409 in the wrong state', async () => {
    assert.equal((await call('PUT', '/services/start')).status, 409);
    await host.configure(configuration('echo'));
    assert.equal((await call('PUT', '/services/start')).body.state, 'Started');
    const again = await call('PUT', '/services/start');
    assert.equal(again.status, 409);
    assert.equal(again.body.code, 'HF_WRONG_STATE');
    assert.equal((await call('PUT', '/services/stop')).body.state, 'Stopped');
    assert.equal((await call('PUT', '/services/stop')).status, 409);
  });

  it('takes packages as a ZIP and as a form, and tells what it has', async () => {
    const zip = await zipOf('echo');
    assert.equal((await call('POST', '/packages', zip)).status, 201);
    assert.equal((await call('POST', '/packages', zip)).status, 200);
    const form = new FormData();
    form.append('note', 'a field that is not the package');
    form.append('package', new Blob([Uint8Array.from(await zipOf('echo', '1.1.0'))]), 'echo.zip');
    const upgraded = await call('PUT', '/packages', form);
    assert.equal(upgraded.status, 200);
    assert.equal(upgraded.body.packageVersion, '1.1.0');
    assert.equal(upgraded.body.directory, undefined);

    const all = (await call('GET', '/packages/configuration')).body as unknown as PackageInfo[];
    assert.deepEqual(
      all.map(({ packageVersion, current }) => [packageVersion, current]),
      [
        ['1.0.0', false],
        ['1.1.0', true],
      ],
    );
    assert.equal((await call('GET', '/packages/echo/configuration')).status, 200);
    assert.equal((await call('GET', '/packages/other/configuration')).status, 404);
  });

  it('refuses what is no package, and says what is', async () => {
    const broken = await call('POST', '/packages', Buffer.from('not a zip'));
    assert.equal(broken.status, 422);
    assert.equal(broken.body.code, 'HF_PACKAGE_INVALID');
    const other = await zipOf('keeper');
    other.writeUInt8(other.readUInt8(60) ^ 0xff, 60);
    assert.equal((await call('POST', '/packages', other)).status, 422);
    const form = new FormData();
    form.append('file', new Blob(['x']), 'x.zip');
    const missing = await call('POST', '/packages', form);
    assert.equal(missing.status, 400);
    assert.deepEqual(missing.body.details, { field: 'package' });
    const json = await call('POST', '/packages', {});
    assert.equal(json.status, 415);
    assert.equal((await call('GET', '/configuration')).status, 200);
  });

  it('initialises an uploaded publisher and component, in this order, and starts them one by one', async () => {
    const { journal } = workspace;
    await call('POST', '/packages', await zipOf('journal-publisher'));
    await call('POST', '/packages', await zipOf('journal-component'));
    const publisher = '/services/messagePublisher/journal-publisher';
    const component = '/services/component/journal-component';
    assert.equal((await call('PUT', `${publisher}/init`, { journal })).status, 200);
    assert.equal(host.status().state, 'AwaitingConfiguration');
    const wrong = await call('PUT', `${component}/init`, { failAt: 7 });
    assert.equal(wrong.status, 422);
    assert.equal(wrong.body.code, 'HF_SETTINGS_INVALID');
    assert.equal((await call('PUT', `${component}/init`, { journal })).body.state, 'Configured');

    assert.equal((await call('PUT', `${publisher}/start`)).status, 200);
    assert.equal((await call('PUT', `${publisher}/start`)).status, 409);
    assert.equal((await call('PUT', `${component}/start`)).body.state, 'Started');
    assert.equal((await call('PUT', `${publisher}/stop`)).status, 409, 'the component needs it');
    assert.equal((await call('PUT', `${component}/stop`)).body.state, 'Stopped');
    assert.equal((await call('PUT', `${publisher}/stop`)).status, 200);
    assert.deepEqual(workspace.lines(), [
      'publisher start',
      'component start',
      'component stop',
      'publisher stop',
    ]);
  });

  it('answers 404 for packages that it does not have or does not run', async () => {
    assert.equal((await call('PUT', '/services/component/unknown/init', {})).status, 404);
    await host.configure(configuration('echo'));
    assert.equal((await call('PUT', '/services/component/keeper/start')).status, 404);
    assert.equal((await call('PUT', '/services/messagePublisher/basic/start')).status, 404);
  });

  it('takes new settings for what the agent configured, but not while it runs', async () => {
    await host.configure(configuration('journal-component'));
    const init = '/services/component/journal-component/init';
    assert.equal((await call('PUT', init, { greeting: 'again' })).status, 200);
    assert.deepEqual((await call('GET', '/configuration')).body.settings, { greeting: 'again' });
    await host.start();
    assert.equal((await call('PUT', init, {})).status, 409);
    assert.equal((await call('PUT', init, [])).status, 400);
  });

  it('reports a failed start with its cause', async () => {
    await host.configure(configuration('journal-component', { failAt: 'start' }));
    const failed = await call('PUT', '/services/start');
    assert.equal(failed.status, 422);
    assert.equal(failed.body.code, 'HF_START_FAILED');
    assert.match(String(failed.body.message), /told to fail at start/);
    assert.ok(!JSON.stringify(failed.body).includes('at Object'), 'no stack');
    assert.equal((await call('GET', '/configuration')).body.state, 'Errored');
  });

  it('describes itself, its figures and its health', async () => {
    const get = (path: string) =>
      fetch(`${host.uri}${path}`, { headers: { authorization: `Bearer ${clusterSecret}` } });
    const openapi = (await (await get('/openapi.json')).json()) as { paths: Record<string, unknown> };
    for (const path of [
      '/configuration',
      '/shutdown',
      '/packages',
      '/packages/{packageName}/configuration',
      '/services/start',
      '/services/component/{packageName}/init',
      '/services/messagePublisher/{packageName}/stop',
    ]) {
      assert.ok(openapi.paths[base + path], path);
    }
    assert.match(
      await (await get('/metrics')).text(),
      /holdfast_host_state{state="AwaitingConfiguration"} 1/,
    );
    assert.equal((await fetch(`${host.uri}/health/ready`)).status, 503);
    await host.configure(configuration('echo'));
    await host.start();
    assert.equal((await fetch(`${host.uri}/health/ready`)).status, 200);
  });

  it('shuts down when told to', async () => {
    await host.configure(configuration('echo'));
    await host.start();
    assert.equal((await call('POST', '/shutdown', { graceMs: 'long' })).status, 400);
    assert.equal((await call('POST', '/shutdown')).status, 202);
    await host.ended;
    assert.equal(host.status().state, 'Destroyed');
  });
});
