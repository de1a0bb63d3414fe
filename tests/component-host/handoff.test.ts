import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import type { Claim, InstanceId, ResourceKey, SessionId } from '#core';
import type { Host } from '#component-host';
import { issueToken } from '#http-api';
import {
  channelHeaders,
  clusterSecret,
  configuration,
  eventually,
  openWorkspace,
  routed,
  send,
  type Workspace,
} from './workspace.ts';

const pool = 'pool' as InstanceId;

describe('moving keys between component hosts', function () {
  this.timeout(30_000);
  let workspace: Workspace;
  let hosts: Host[];
  beforeEach(async () => {
    workspace = await openWorkspace();
    hosts = [];
    for (let count = 0; count < 2; count++) {
      const host = await workspace.host();
      await host.configure(configuration('keeper', { journal: workspace.journal }));
      hosts.push(host);
    }
    await hosts[0]!.start();
  });
  afterEach(() => workspace.close());

  async function call(body: unknown, token = clusterSecret, host = hosts[0]!) {
    const response = await fetch(`${host.uri}/api/componentHost/resources/handoff`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  const sessionOf = async (host: Host): Promise<SessionId> => {
    const sessions = await workspace.coordination.directory.sessions(pool);
    return sessions.find(session => session.address === host.uri)!.sessionId;
  };
  const lookup = (key: string): Promise<Claim | null> =>
    workspace.coordination.directory.lookup(pool, key as ResourceKey);
  const metric = async (host: Host, name: string) => {
    const response = await fetch(`${host.uri}/metrics`, {
      headers: { authorization: `Bearer ${clusterSecret}` },
    });
    return Number(new RegExp(`^${name} (\\d+)`, 'm').exec(await response.text())?.[1]);
  };

  it('hands a key to another host, which opens it before anybody asks', async () => {
    await routed(workspace, hosts[0]!, '/a', { key: '/a' });
    const before = (await lookup('/a'))!;
    await hosts[1]!.start();
    const to = await sessionOf(hosts[1]!);
    const { status, body } = await call({ key: '/a', fence: String(before.fence), to });
    assert.equal(status, 200);
    assert.equal(body.moved, true);
    const after = (await lookup('/a'))!;
    assert.deepEqual(body.claim, { ...after, fence: String(after.fence) });
    assert.equal(after.sessionId, to);
    assert(after.fence > before.fence);
    await eventually(() => workspace.lines().includes(`open /a ${after.fence}`), 'opening ahead');
    assert.deepEqual(
      workspace.lines().filter(line => !line.startsWith('request')),
      [`open /a ${before.fence}`, 'close /a', `open /a ${after.fence}`],
    );
    assert.equal((await routed(workspace, hosts[1]!, '/a', { key: '/a' })).status, 200);
    assert.equal(await metric(hosts[0]!, 'holdfast_guard_handoffs_total'), 1);
    const again = await call({ key: '/a', to: null });
    assert.deepEqual(again, { status: 200, body: { moved: false, claim: null } });
  });

  it('hands some keys over, as many as were asked for', async () => {
    for (const key of ['/a', '/b', '/c']) await routed(workspace, hosts[0]!, key, { key });
    await hosts[1]!.start();
    const { body } = await call({ count: 2, to: await sessionOf(hosts[1]!) });
    const moved = body.moved as { key: string; claim: { fence: string } }[];
    assert.deepEqual(moved.map(one => one.key).sort(), ['/a', '/b']);
    for (const { key, claim } of moved) assert.equal(String((await lookup(key))!.fence), claim.fence);
    assert.equal(hosts[0]!.status().ownedKeys, 1);
  });

  it('gives a key back, and closes it although a request does not finish', async () => {
    await routed(workspace, hosts[0]!, '/a', { key: '/a' });
    const { body } = await call({ key: '/a', release: true, deadlineMs: 1_000 });
    assert.deepEqual(body, { moved: true, claim: null });
    assert.equal(await lookup('/a'), null);
  });

  it('says what is wrong with what it is asked, and who may ask', async () => {
    for (const [body, at] of [
      [{}, '$'],
      [{ key: '/a', count: 1 }, '$'],
      [{ count: 1, fence: '1' }, '$.fence'],
      [{ key: '/a', fence: '9999999999999999999' }, '$.fence'],
      [{ count: 0 }, '$.count'],
      [{ key: '/a', to: '' }, '$.to'],
      [{ key: '/a', to: 'x', release: true }, '$.release'],
      [{ key: '/a', deadlineMs: -1 }, '$.deadlineMs'],
      [{ key: '/a', more: 1 }, '$.more'],
    ] as const) {
      const answer = await call(body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.equal(answer.body.code, 'HF_REQUEST_INVALID');
      const { problems } = answer.body.details as { problems: { path: string }[] };
      assert.equal(problems[0]!.path, at, JSON.stringify(answer.body));
    }
    assert.equal((await call({ key: '/a' }, issueToken(clusterSecret, 'read', 0))).status, 403);
    assert.equal((await call({ key: '/a' }, clusterSecret, hosts[1])).body.code, 'HF_WRONG_STATE');
  });

  it('describes what moves keys', async () => {
    const response = await fetch(`${hosts[0]!.uri}/openapi.json`, {
      headers: { authorization: `Bearer ${clusterSecret}` },
    });
    const { paths } = (await response.json()) as { paths: Record<string, { post?: { summary: string } }> };
    assert.match(paths['/api/componentHost/resources/handoff']!.post!.summary, /another host/);
  });

  it('opens ahead only what it owns', async () => {
    const headers = await channelHeaders(workspace, hosts[0]!, { key: '/a' });
    const url = new URL('/', await workspace.entrance(hosts[0]!));
    const open = (change: Record<string, string>) =>
      send(url, { method: 'POST', headers: { ...headers, 'x-holdfast-open': '1', ...change } });
    const refused = await open({ 'x-holdfast-fence': '9000' });
    assert.deepEqual([refused.status, refused.headers['x-holdfast-refused']], [421, 'not-owner']);
    assert.deepEqual(workspace.lines(), []);
    assert.equal((await open({})).status, 204);
    assert.equal(workspace.lines().length, 1);
  });
});

describe('a guard that refuses', function () {
  this.timeout(30_000);
  let workspace: Workspace;
  let host: Host;
  beforeEach(async () => {
    workspace = await openWorkspace();
    host = await workspace.host();
    await host.configure(configuration('stalls', {}, { sessionTtlMs: 1_000 }));
    await host.start();
  });
  afterEach(() => workspace.close());

  /** With which code the connection breaks, whether the answer has begun or not. */
  async function broken(path: string): Promise<string> {
    const headers = await channelHeaders(workspace, host, { key: '/a' });
    const at = await workspace.entrance(host);
    return new Promise((resolve, reject) => {
      const request = httpRequest(new URL(path, at), { headers }, response => {
        response.on('error', (error: NodeJS.ErrnoException) => resolve(error.code!));
        response.on('end', () => reject(new Error(`answered: ${response.statusCode}`)));
        response.resume();
      });
      request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code!));
      request.end();
    });
  }

  it('can be told from a component that answers 421 itself', async () => {
    const guard = await routed(workspace, host, '/a', { key: '/a', fence: '9000' });
    assert.deepEqual([guard.status, guard.headers['x-holdfast-refused']], [421, 'not-owner']);
    const own = await routed(workspace, host, '/a?own421', { key: '/a' });
    assert.deepEqual([own.status, own.text, own.headers['x-holdfast-refused']], [421, 'mine', undefined]);
  });

  it('resets what is being answered when ownership ends, begun or not', async () => {
    const { directory } = workspace.coordination;
    await routed(workspace, host, '/a', { key: '/a' });
    const [waiting, streaming] = ['/a?wait=86400000', '/a?stream'].map(path => broken(path));
    await eventually(() => host.status().ownedKeys === 1, 'the key');
    const [session] = await directory.sessions(pool);
    await directory.closeSession(session!.sessionId);
    assert.deepEqual(await Promise.all([waiting, streaming]), ['ECONNRESET', 'ECONNRESET']);
  });

  it('answers nothing when it finds only afterwards that its time is over', async () => {
    await routed(workspace, host, '/a', { key: '/a' });
    // Nothing else runs in between: neither a renewal nor the timer that would end the right.
    assert.equal(await broken('/a?block=1500'), 'ECONNRESET');
  });
});
