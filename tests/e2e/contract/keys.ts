/** What the master API does with single keys. It goes on with the instances and routes that the master's tests have made. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ErrorBody, MasterHost, ResourceInfo } from '#core';
import { holdfast, until, type Cluster } from '../../support/cluster.ts';
import { assertOk, assertRefused, callerOf, send, type Call } from './support.ts';

const run = promisify(execFile);
const actions = ['move', 'release', 'pause', 'resume'];

interface Moved {
  moved: boolean;
  resource: ResourceInfo | null;
}

export function keysContract(clusterOf: () => Cluster): void {
  let cluster: Cluster;
  let call: Call;
  before(async () => {
    cluster = clusterOf();
    call = callerOf(cluster.masterUri, cluster.token);
    await until('both echoes answer', async () => (await hosts()).length === 2);
  });

  const pathOf = (key: string, rest = '') => `/api/master/resources/${encodeURIComponent(key)}${rest}`;
  const ask = async (path: string, headers: Record<string, string> = {}) => {
    const answer = await send(cluster.routerUris[0]!, 'GET', path, { headers });
    assert.equal(answer.status, 200, answer.text);
    return answer.json as { owner: string; instance: string };
  };
  const hosts = async () =>
    assertOk<MasterHost[]>(await call('GET', '/api/master/hosts')).filter(
      ({ component, host }) => component?.instanceId === 'echoes' && host?.health.ready,
    );

  it('moves a key with any characters to a process, a node, or whoever has the least', async () => {
    const key = '/echo/c%2Fd%20%C3%A9';
    const { owner } = await ask(key);
    const other = (await hosts()).find(({ processId }) => processId !== owner)!;
    const toProcess = assertOk<Moved>(
      await call('POST', pathOf(key, '/move'), { body: { to: other.processId } }),
    );
    assert.equal(toProcess.moved, true);
    assert.equal(toProcess.resource!.key, key);
    assert.equal(toProcess.resource!.owner.processId, other.processId);
    assert.match(String(toProcess.resource!.fence), /^\d+$/);
    assert.equal((await ask(key)).owner, other.processId);
    const again = assertOk<Moved>(
      await call('POST', pathOf(key, '/move'), { body: { to: other.processId } }),
    );
    assert.deepEqual(again, { moved: false, resource: toProcess.resource });
    const node = (await hosts()).find(({ processId }) => processId === owner)!.nodeName;
    const toNode = assertOk<Moved>(await call('POST', pathOf(key, '/move'), { body: { to: node } }));
    assert.equal(toNode.resource!.owner.nodeName, node);
    for (const options of [
      {},
      { body: {} },
      { body: 'null', headers: { 'content-type': 'application/json' } },
    ]) {
      assert.equal(
        typeof assertOk<Moved>(await call('POST', pathOf(key, '/move'), options)).moved,
        'boolean',
      );
    }
  });

  it('says who cannot take a key, and when nobody has it', async () => {
    await ask('/echo/a');
    assertRefused(
      await call('POST', pathOf('/echo/a', '/move'), { body: { to: 'nobody' } }),
      404,
      'HF_NOT_FOUND',
    );
    const stranger = (await cluster.processes()).find(({ component }) => component?.instanceId === 'others')!;
    const toStranger = { body: { to: stranger.processId } };
    assertRefused(await call('POST', pathOf('/echo/a', '/move'), toStranger), 404, 'HF_NOT_FOUND');
    for (const action of ['move', 'release']) {
      assertRefused(await call('POST', pathOf('/echo/never', `/${action}`)), 404, 'HF_NOT_FOUND');
    }
    assertRefused(await call('POST', pathOf('/nobody/routes/here', '/pause')), 400, 'HF_REQUEST_INVALID');
    assertRefused(await call('POST', pathOf('/echo/a', '/pause?instance=nobody')), 404, 'HF_NOT_FOUND');
    assertRefused(await call('POST', pathOf('/echo/a', '/rename')), 404, 'HF_NOT_FOUND');
  });

  it('takes a key in any spelling, and refuses what can be none', async () => {
    const { owner } = await ask('/echo/spelt');
    const shown = assertOk<ResourceInfo>(await call('GET', pathOf('/echo//x/../sp%65lt/')));
    assert.deepEqual([shown.key, shown.owner.processId], ['/echo/spelt', owner]);
    for (const key of ['echo/a', '/echo/%', `/echo/${'x'.repeat(1_024)}`]) {
      assertRefused(await call('GET', pathOf(key)), 400, 'HF_KEY_INVALID');
      for (const action of actions) {
        assertRefused(await call('POST', pathOf(key, `/${action}`)), 400, 'HF_KEY_INVALID');
      }
    }
  });

  it('gives a key back', async () => {
    await ask('/echo/released');
    assert.deepEqual(assertOk(await call('POST', pathOf('/echo/released', '/release'))), { released: true });
    assertRefused(await call('GET', pathOf('/echo/released')), 404, 'HF_NOT_FOUND');
    await ask('/echo/released');
  });

  it('pauses a key until it is resumed', async () => {
    const key = '/echo/paused';
    await ask(key);
    const paused = { key, instanceId: 'echoes', paused: true };
    assert.deepEqual(assertOk(await call('POST', pathOf(key, '/pause'))), paused);
    assert.deepEqual(assertOk(await call('POST', pathOf(key, '/pause'))), paused, 'again');
    const refused = await send(cluster.routerUris[0]!, 'POST', key, { body: 'x' });
    assertRefused(refused, 503, 'HF_KEY_PAUSED');
    assert.match(String(refused.headers['retry-after']), /^\d+$/);
    for (const wasPaused of [true, false]) {
      const resumed = assertOk(await call('POST', pathOf(key, '/resume')));
      assert.deepEqual(resumed, { key, instanceId: 'echoes', paused: false, wasPaused });
    }
    await ask(key);
  });

  it('finds the key that a header names, in the instance that is asked for', async () => {
    const headers = { 'x-tenant': 'acme corp' };
    await ask('/tenant', headers);
    const key = '/tenant#x-tenant=acme%20corp';
    assert.equal(assertOk<ResourceInfo>(await call('GET', pathOf(key))).instanceId, 'echoes');
    assert.deepEqual(assertOk(await call('POST', pathOf(key, '/release?instance=echoes'))), {
      released: true,
    });
    await ask('/tenant', headers);
    assertRefused(await call('POST', pathOf(key, '/release?instance=others')), 404, 'HF_NOT_FOUND');
    assertRefused(await call('POST', pathOf(key, '/release?pool=others')), 400, 'HF_REQUEST_INVALID');
  });

  it('refuses bodies that say something else', async () => {
    const { owner } = await ask('/echo/bodies');
    for (const body of [{ to: '' }, { to: null }, { to: {} }, { node: 'node-1' }, [], 'text']) {
      const options = { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
      const answer = await call('POST', pathOf('/echo/bodies', '/move'), options);
      assertRefused(answer, 400, 'HF_REQUEST_INVALID');
    }
    for (const action of actions) {
      const of = (body: string, type = 'application/json') =>
        call('POST', pathOf('/echo/bodies', `/${action}`), { body, headers: { 'content-type': type } });
      assertRefused(await of('{"to":'), 400, 'HF_REQUEST_INVALID');
      assertRefused(await of('<to/>', 'text/xml'), 415, 'HF_MEDIA_TYPE');
      assertRefused(await of('{"surprise":1}'), 400, 'HF_REQUEST_INVALID');
    }
    assert.equal((await ask('/echo/bodies')).owner, owner, 'nothing was done');
  });

  it('lets nobody do it without the scope', async () => {
    await ask('/echo/scopes');
    const words = [holdfast, 'token', 'create', '--scope', 'read', '--expires', '5m'];
    const { stdout } = await run(process.execPath, words, { cwd: cluster.directory });
    const reader = callerOf(cluster.masterUri, stdout.trim());
    assertOk(await reader('GET', pathOf('/echo/scopes')));
    for (const action of actions) {
      const path = pathOf('/echo/scopes', `/${action}`);
      assertRefused(await reader('POST', path), 403, 'HF_FORBIDDEN');
      assertRefused(await send(cluster.masterUri, 'POST', path), 401, 'HF_UNAUTHENTICATED');
    }
    const { code } = (await send(cluster.masterUri, 'GET', pathOf('/echo/scopes'))).json as ErrorBody;
    assert.equal(code, 'HF_UNAUTHENTICATED');
  });
}
