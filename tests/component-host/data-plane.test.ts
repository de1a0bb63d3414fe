import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Host } from '#component-host';
import { bridgeHeaders } from '../support/frames-bridge.ts';
import {
  channelHeaders,
  configuration,
  eventually,
  openWorkspace,
  routed,
  send,
  type Workspace,
} from './workspace.ts';

describe('component host data plane', function () {
  this.timeout(30_000);
  let workspace: Workspace;
  let host: Host;
  beforeEach(async () => {
    workspace = await openWorkspace();
    host = await workspace.host();
  });
  afterEach(() => workspace.close());

  async function run(packageName: string, settings = {}): Promise<void> {
    await host.configure(configuration(packageName, settings));
    await host.start();
  }

  describe('of a component that answers without ownership', () => {
    it('shows the request as the client sent it, without any header of Holdfast', async () => {
      await run('echo');
      const answer = await routed(workspace, host, '/describe?a=1', {
        headers: {
          'x-forwarded-proto': 'https',
          'x-forwarded-host': 'shop.example',
          'x-holdfast-anything': '1',
          'x-own': 'kept',
        },
      });
      assert.equal(answer.status, 200);
      const seen = JSON.parse(answer.text) as {
        url: string;
        copied: string;
        headers: Record<string, string>;
      };
      assert.equal(seen.url, 'https://shop.example/describe?a=1');
      assert.equal(seen.copied, seen.url, 'new Request(request) works');
      assert.equal(seen.headers['x-own'], 'kept');
      assert.deepEqual(
        Object.keys(seen.headers).filter(name => name.startsWith('x-holdfast')),
        [],
      );
    });

    it('streams both ways while the request is still being sent', async () => {
      await run('echo');
      const request = httpRequest(new URL('/echo', await workspace.entrance(host)), {
        method: 'POST',
        headers: await channelHeaders(workspace, host),
      });
      request.write('one');
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      assert.equal(String((await once(response, 'data'))[0]), 'one');
      request.write('two');
      assert.equal(String((await once(response, 'data'))[0]), 'two');
      request.end();
      await once(response, 'end');
    });

    it('carries a large body unharmed and holds back a sender that is faster than the reader', async () => {
      await run('echo');
      const request = httpRequest(new URL('/echo', await workspace.entrance(host)), {
        method: 'PUT',
        headers: await channelHeaders(workspace, host),
      });
      const [chunk, chunks] = [Buffer.alloc(64 * 1024, 'x'), 512]; // 32 MiB: more than all buffers on the way
      let written = 0;
      const write = () => {
        while (written < chunks) {
          written += 1;
          if (!request.write(chunk)) return void request.once('drain', write);
        }
        request.end();
      };
      write();
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      let previous = -1;
      await eventually(async () => {
        const stalled = written === previous;
        previous = written;
        await new Promise(resolve => setImmediate(resolve));
        return stalled || written === chunks;
      }, 'the sender stalls or ends');
      assert.ok(written < chunks, 'the sender was held back');
      let sizeBytes = 0;
      for await (const part of response) sizeBytes += (part as Buffer).length;
      assert.equal(sizeBytes, chunk.length * chunks);
    });

    it('keeps every cookie and drops what belongs to a connection or to Holdfast', async () => {
      await run('echo');
      const answer = await routed(workspace, host, '/cookies');
      assert.equal(answer.status, 204);
      assert.deepEqual(answer.headers['set-cookie'], ['a=1', 'b=2']);
      assert.notEqual(answer.headers.connection, 'close');
    });

    it('lets a component pass its request on with fetch', async () => {
      const target = createServer((request, response) => request.pipe(response)).listen(0, '127.0.0.1');
      await once(target, 'listening');
      try {
        await run('echo');
        const to = `http://127.0.0.1:${(target.address() as AddressInfo).port}/`;
        const path = `/forward?to=${encodeURIComponent(to)}`;
        const answer = await routed(workspace, host, path, { method: 'POST', body: 'onwards' });
        assert.equal(answer.text, 'onwards');
      } finally {
        target.close();
        target.closeAllConnections();
      }
    });

    it('tells the component when the client goes away', async () => {
      const { journal } = workspace;
      await run('echo', { journal });
      const request = httpRequest(new URL('/slow', await workspace.entrance(host)), {
        headers: await channelHeaders(workspace, host),
      });
      request.on('error', () => {}); // it is this side that breaks off
      request.end();
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      response.on('error', () => {});
      await once(response, 'data');
      request.destroy();
      await eventually(
        () => workspace.lines().includes('aborted') && workspace.lines().includes('cancelled'),
        'the signal and the end of the stream',
      );
    });

    it('answers 500 with the text of what the component threw, and no stack', async () => {
      await run('echo');
      const answer = await routed(workspace, host, '/throw');
      assert.equal(answer.status, 500);
      assert.deepEqual(JSON.parse(answer.text), {
        statusCode: 500,
        error: 'Internal Server Error',
        code: 'HF_COMPONENT_FAILED',
        message: 'it broke',
      });
      const nothing = await routed(workspace, host, '/nothing');
      assert.match(nothing.text, /HF_COMPONENT_FAILED.*did not return a Response/);
    });

    it("keeps the status and the details of the component's own Holdfast errors", async () => {
      await run('echo');
      const answer = await routed(workspace, host, '/refuse');
      assert.equal(answer.status, 503);
      assert.match(answer.text, /"code":"HF_STATE_MISSING".*"details":{"key":"\/k"}/);
    });

    it('answers for a component that answers oddly, and lives on', async () => {
      await run('echo');
      assert.equal((await routed(workspace, host, '/odd?as=used')).text, 'only once');
      for (const [as, message] of [
        ['used', /was used before; make a new one for each request/],
        ['early', /did not return a Response/],
        ['switching', /did not return a Response/],
        ['none', /did not return a Response/],
        ['fraction', /did not return a Response/],
        ['text', /getReader/],
        ['reason', /Invalid character in statusMessage/],
        ['header', /Invalid character in header content/],
        ['headers', /not iterable/],
        ['nameless', /thrown that has no text/],
      ] as const) {
        const answer = await routed(workspace, host, `/odd?as=${as}`);
        assert.equal(answer.status, 500, as);
        assert.equal(answer.headers['content-encoding'], undefined, as);
        const error = JSON.parse(answer.text) as { code: string; message: string };
        assert.equal(error.code, 'HF_COMPONENT_FAILED');
        assert.match(error.message, message);
      }
      const answer = await routed(workspace, host, '/odd?as=bigint');
      assert.equal(answer.status, 503);
      assert.match(answer.text, /HF_STATE_MISSING/);
    });

    it('breaks the connection rather than pass half an answer off as a whole one', async () => {
      await run('echo');
      await assert.rejects(routed(workspace, host, '/break'), /aborted|hang up|ECONNRESET/);
      const long = await routed(workspace, host, '/long-length');
      assert.deepEqual([long.status, /not as long as its content-length/.test(long.text)], [500, true]);
      assert.equal((await routed(workspace, host, '/describe')).status, 200);
    });

    it('refuses what is for another session, before the body', async () => {
      await run('echo');
      const good = await channelHeaders(workspace, host);
      const request = httpRequest(new URL('/echo', await workspace.entrance(host)), {
        method: 'POST',
        headers: { ...good, [bridgeHeaders.session]: 'another' },
      });
      request.flushHeaders(); // and no body ever
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      assert.equal(response.statusCode, 421);
      request.destroy();
    });

    it('gives the REST API to whoever speaks HTTP, whatever he sends', async () => {
      await run('echo');
      const answer = await send(new URL('/describe', host.uri), {
        headers: { [bridgeHeaders.session]: 's', [bridgeHeaders.resource]: '/db/x' },
      });
      assert.equal(answer.status, 401);
    });

    it('tells the directory when the component is not ready', async () => {
      await run('echo');
      await routed(workspace, host, '/unready');
      assert.deepEqual(host.status().health, { ready: false, message: 'told to' });
      await eventually(
        async () => (await workspace.coordination.directory.sessions())[0]?.ready === false,
        'the directory knows',
      );
    });
  });

  describe('of a component that owns resources', () => {
    it('opens a key once, serves it with its fence, and closes it at the stop', async () => {
      const { journal } = workspace;
      await run('keeper', { journal });
      for (const body of ['a', 'b']) {
        const answer = await routed(workspace, host, '/db/x', { method: 'POST', body, key: '/db/x' });
        assert.equal(answer.status, 200, answer.text);
        const served = JSON.parse(answer.text) as { key: string; fence: string; body: string };
        assert.deepEqual([served.key, served.body], ['/db/x', body]);
      }
      assert.equal(host.status().ownedKeys, 1);
      await host.stop();
      const lines = workspace.lines();
      assert.match(lines[0]!, /^open \/db\/x \d+$/);
      assert.deepEqual(lines.slice(1), ['request /db/x', 'request /db/x', 'close /db/x', 'stop']);
    });

    it('answers 421 for a key that is not its own, or with a fence that is not', async () => {
      await run('keeper');
      const other = await workspace.host();
      await other.configure(configuration('keeper'));
      await other.start();
      const answers = await Promise.all(
        [host, other].map(each => routed(workspace, each, '/db/y', { key: '/db/y' })),
      );
      assert.deepEqual(
        answers.map(answer => answer.status).sort((a, b) => a - b),
        [200, 421],
      );
      const owner = answers[0]!.status === 200 ? host : other;
      const stale = await routed(workspace, owner, '/db/z', { key: '/db/z', fence: '9999' });
      assert.equal(stale.status, 421);
      assert.match(stale.text, /HF_NOT_OWNER/);
      const keyless = await routed(workspace, owner, '/db/z');
      assert.equal(keyless.status, 421);
    });

    it('breaks the connection when the component finds in the middle that ownership has ended', async () => {
      // 421 would say that nothing was executed, and the router would send it again, a POST too.
      await run('keeper');
      await assert.rejects(
        routed(workspace, host, '/db/x?lost', { method: 'POST', body: 'x', key: '/db/x' }),
        { code: 'ECONNRESET' },
      );
    });

    it('gives a key back when the resource refuses its fence, and serves it again under a higher one', async () => {
      const { journal } = workspace;
      await run('keeper', { journal });
      await assert.rejects(
        routed(workspace, host, '/db/x?fenced', { method: 'POST', body: 'x', key: '/db/x' }),
        { code: 'ECONNRESET' },
      );
      await eventually(() => workspace.lines().includes('close /db/x'), 'the key is closed');
      const answer = await eventually(async () => {
        const { status, text } = await routed(workspace, host, '/db/x', { key: '/db/x' });
        return status === 200 ? (JSON.parse(text) as { fence: string }) : null;
      }, 'an answer under a new claim');
      const [first] = workspace.lines().filter(line => line.startsWith('open /db/x'));
      assert(BigInt(answer.fence) > BigInt(first!.split(' ')[2]!));
    });

    it('finishes what is in flight before it closes, and answers 421 from then on', async () => {
      const { journal } = workspace;
      await run('keeper', { journal });
      const headers = await channelHeaders(workspace, host, { key: '/db/x' });
      const request = httpRequest(new URL('/db/x', await workspace.entrance(host)), {
        method: 'POST',
        headers,
      });
      request.write('first ');
      await eventually(() => workspace.lines().includes('request /db/x'), 'the request is running');
      const stopped = host.stop();
      request.end('last');
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      let text = '';
      for await (const part of response) text += String(part);
      assert.equal(response.statusCode, 200);
      assert.match(text, /first last/);
      await stopped;
      assert.deepEqual(workspace.lines().slice(-2), ['close /db/x', 'stop']);
      const late = await send(new URL('/db/x', await workspace.entrance(host)), { headers });
      assert.equal(late.status, 421);
    });

    it('lets go of its connections when it ends, and nobody takes that for a broken answer', async () => {
      await run('keeper');
      const headers = await channelHeaders(workspace, host, { key: '/db/x' });
      const at = new URL('/db/x', await workspace.entrance(host));
      assert.equal((await send(at, { headers })).status, 200);
      await host.shutdown({ graceMs: 2_000 });
      await host.ended;
      const late = await send(at, { headers });
      assert.deepEqual([late.status, late.headers[bridgeHeaders.refused]], [421, 'unsent']);
    });
  });

  it('answers 421 before anything is started', async () => {
    const answer = await routed(workspace, host, '/echo', { method: 'POST', body: 'x' });
    assert.equal(answer.status, 421);
  });
});
