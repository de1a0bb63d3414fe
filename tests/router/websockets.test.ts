import assert from 'node:assert/strict';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { SETTINGS_DOCUMENT, type InstanceId, type ResourceKey } from '#core';
import type { Host } from '#component-host';
import { createRouter, type Router } from '#router';
import {
  clusterSecret,
  configuration,
  eventually,
  openWorkspace,
  system,
  type Workspace,
} from '../component-host/workspace.ts';
import { raw, silent } from './support.ts';

describe('WebSockets', function () {
  this.timeout(30_000);
  let workspace: Workspace;
  let hosts: Host[];
  let router: Router;
  let clients: WebSocket[];

  beforeEach(async () => {
    workspace = await openWorkspace();
    clients = [];
    const document = {
      clusterName: 'test',
      nodeServers: [],
      componentInstances: [{ id: 'pool', packageName: 'chatty' }],
      routes: [{ pathPrefix: '/room', componentInstanceId: 'pool' }],
    };
    const stored = { text: JSON.stringify(document), updatedAt: '', updatedBy: 'api', fileSha256: null };
    await workspace.coordination.documents.put(SETTINGS_DOCUMENT, JSON.stringify(stored), null);
    hosts = [];
    for (let count = 0; count < 2; count += 1) {
      const host = await workspace.host();
      await host.configure(configuration('chatty'));
      hosts.push(host);
    }
    await hosts[0]!.start();
    router = await startRouter();
  });
  afterEach(async () => {
    for (const client of clients) client.terminate();
    await router.stop(AbortSignal.abort());
    await workspace.close();
  });

  async function startRouter(settings = {}): Promise<Router> {
    const { coordination } = workspace;
    const made = createRouter({
      cluster: { clusterName: 'test', secret: clusterSecret, coordination },
      processId: 'node-1-r1',
      settings: { port: 0, ...settings },
      system,
      log: silent,
    });
    await made.start(new AbortController().signal);
    return made;
  }

  /** A client, and all that it has been told. */
  function join(path: string, protocols: string[] = []) {
    const client = new WebSocket(`ws://127.0.0.1:${router.address().port}${path}`, protocols);
    clients.push(client);
    const heard: (string | Buffer)[] = [];
    client.on('message', (data, isBinary) =>
      heard.push(isBinary ? (data as Buffer) : (data as Buffer).toString()),
    );
    client.on('error', () => {}); // shows as the close
    const closed = new Promise<{ code: number; reason: string }>(resolve => {
      client.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    return { client, heard, closed };
  }

  const heardBy = ({ heard }: { heard: unknown[] }, count: number) =>
    eventually(() => heard.length >= count, `${count} messages`, 25_000);

  async function fenceOf(key: string): Promise<string> {
    const claim = await workspace.coordination.directory.lookup('pool' as InstanceId, key as ResourceKey);
    return String(claim!.fence);
  }

  /** From the first host to the second. */
  async function moveKey(key: string): Promise<void> {
    const sessions = await workspace.coordination.directory.sessions('pool' as InstanceId);
    const to = sessions.find(session => session.address === hosts[1]!.uri)!.sessionId;
    const response = await fetch(`${hosts[0]!.uri}/api/componentHost/resources/handoff`, {
      method: 'POST',
      headers: { authorization: `Bearer ${clusterSecret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ key, to }),
    });
    assert.equal(response.status, 200);
    assert.equal(((await response.json()) as { moved: boolean }).moved, true);
  }

  it('reach the owner of their key, and carry texts and bytes in order both ways', async () => {
    const room = join('/room/a', ['chat.1', 'chat.2']);
    await heardBy(room, 1);
    assert.equal(room.client.protocol, 'chat.2');
    for (let count = 0; count < 100; count += 1) room.client.send(`m${count}`);
    room.client.send(Buffer.from([1, 2, 3]));
    await heardBy(room, 102);
    assert.equal(room.heard[0], 'welcome');
    const fence = await fenceOf('/room/a');
    for (let count = 0; count < 100; count += 1) {
      assert.equal(room.heard[count + 1], `/room/a ${fence}: m${count}`);
    }
    assert.deepEqual(room.heard[101], Buffer.from([1, 2, 3]));
    room.client.close(1000);
    assert.equal((await room.closed).code, 1000);
    await eventually(() => router.counters.tunnels === 0, 'the tunnel is gone');
  });

  it('hold a component back whose client does not read, and lose nothing of it', async () => {
    const room = join('/room/a');
    await heardBy(room, 1);
    room.client.pause();
    room.client.send('flood');
    // Another one goes on meanwhile.
    const other = join('/room/a');
    other.client.on('open', () => other.client.send('hello'));
    await heardBy(other, 2);
    room.client.resume();
    await heardBy(room, 66);
    assert.equal(room.heard.at(-1), 'flooded');
    assert.equal(
      room.heard.slice(1, 65).reduce((sum, part) => sum + part.length, 0),
      64 * 256 * 1024,
    );
  });

  it('are refused as the component says, with an error where it fails, and as the router does without a route', async () => {
    const refused = async (path: string) => {
      const { client } = join(path);
      const [, response] = (await once(client, 'unexpected-response')) as [unknown, { statusCode: number }];
      return response.statusCode;
    };
    assert.equal(await refused('/room/a?no'), 403);
    assert.equal(await refused('/room/a?throw'), 500);
    assert.equal(await refused('/elsewhere'), 404);
    const seen = await raw(
      router,
      'GET /room/a HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
    );
    assert.match(seen, /^HTTP\/1\.1 400 [^]*HF_REQUEST_INVALID/);
    assert.match(await raw(router, 'GET /room/a HTTP/1.0\r\nhost: h\r\n\r\n'), /a room$/);
  });

  it('end as the component wants, and with 1011 when it fails', async () => {
    const one = join('/room/a');
    await heardBy(one, 1);
    one.client.send('leave');
    assert.deepEqual(await one.closed, { code: 4001, reason: 'as you wish' });
    const other = join('/room/a');
    await heardBy(other, 1);
    other.client.send('fail');
    assert.equal((await other.closed).code, 1011);
  });

  it('end with 1012 when their key moves, after a word of the component, and find the new owner', async () => {
    const room = join('/room/a');
    await heardBy(room, 1);
    const untouched = join('/room/b');
    await heardBy(untouched, 1);
    const before = await fenceOf('/room/a');
    await hosts[1]!.start();
    await moveKey('/room/a');
    assert.equal((await room.closed).code, 1012);
    assert.deepEqual(room.heard, ['welcome', 'goodbye']);
    const again = join('/room/a');
    await heardBy(again, 1);
    again.client.send('here?');
    await heardBy(again, 2);
    const after = await fenceOf('/room/a');
    assert.equal(again.heard[1], `/room/a ${after}: here?`);
    assert.notEqual(after, before);
    assert.equal(untouched.client.readyState, WebSocket.OPEN);
  });

  it('end with 1012 when their host stops', async () => {
    const room = join('/room/a');
    await heardBy(room, 1);
    await hosts[0]!.shutdown({ graceMs: 5_000 });
    assert.equal((await room.closed).code, 1012);
    assert.equal(room.heard.at(-1), 'goodbye');
  });

  it('break at once when the right to their key is lost', async () => {
    const room = join('/room/a');
    await heardBy(room, 1);
    const { directory } = workspace.coordination;
    const [session] = await directory.sessions('pool' as InstanceId);
    await directory.endSessionsOf(session!.processId);
    assert.equal((await room.closed).code, 1006);
    assert.ok(!room.heard.includes('goodbye'));
  });

  it('are no more than there may be', async () => {
    await router.stop(AbortSignal.abort());
    router = await startRouter({ maxWebSockets: 1 });
    await heardBy(join('/room/a'), 1);
    const { client } = join('/room/b');
    const [, response] = (await once(client, 'unexpected-response')) as [unknown, { statusCode: number }];
    assert.equal(response.statusCode, 503);
  });
});
