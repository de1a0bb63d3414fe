import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNodeClient } from '#client';
import { HoldfastError, type Fence } from '#core';

describe('node client', () => {
  let server: Server;
  let uri: string;
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  const requests: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = [];

  beforeEach(async () => {
    requests.length = 0;
    server = createServer((request, response) => {
      let body = '';
      request.on('data', chunk => (body += String(chunk)));
      request.on('end', () => {
        requests.push({ method: request.method!, url: request.url!, headers: request.headers, body });
        answer(request, response);
      });
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise(resolve => server.close(resolve));
  });

  const json = (status: number, body: unknown) => (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };

  it('sends the token, encodes names, and marks mutations only', async () => {
    const leader = () => ({ clusterId: 'test', incarnation: 'abc', fence: 7n as Fence });
    const client = createNodeClient({ uri: `${uri}/`, token: 'secret', leader });
    answer = json(200, { killed: [], failed: [] });
    await client.process('app', 'one/0/abc');
    await client.kill('app', 'p 1', { graceMs: 5 });
    assert.deepEqual(
      requests.map(({ method, url, body, headers }) => [
        method,
        url,
        body,
        headers.authorization,
        headers['x-holdfast-leader'],
      ]),
      [
        ['GET', '/api/node/processes/app/one%2F0%2Fabc', '', 'Bearer secret', undefined],
        ['PUT', '/api/node/processes/app/p%201/kill', '{"graceMs":5}', 'Bearer secret', 'test:abc:7'],
      ],
    );
  });

  it('throws what the API answers, with code and details', async () => {
    answer = json(409, {
      statusCode: 409,
      error: 'Conflict',
      code: 'HF_PACKAGE_IN_USE',
      message: 'no',
      details: { a: 1 },
    });
    await assert.rejects(createNodeClient({ uri, token: 't' }).removePackage('app'), {
      code: 'HF_PACKAGE_IN_USE',
      message: 'no',
      details: { a: 1 },
    });
  });

  it('copes with an answer that is not ours', async () => {
    answer = (_request, response) => response.writeHead(502).end('<html>');
    await assert.rejects(createNodeClient({ uri, token: 't' }).stats(), {
      code: 'HF_INTERNAL',
      message: /answered 502/,
    });
    answer = (_request, response) => response.end('not json');
    await assert.rejects(createNodeClient({ uri, token: 't' }).stats(), { code: 'HF_INTERNAL' });
  });

  it('names the URI and the cause when nobody answers, and when nobody answers in time', async () => {
    answer = () => {};
    const unreachable = (pattern: RegExp) => (error: HoldfastError) => {
      assert.equal(error.code, 'HF_NODE_UNREACHABLE');
      assert.match(error.message, pattern);
      assert.ok(error.message.includes(uri));
      return true;
    };
    await assert.rejects(
      createNodeClient({ uri, token: 't', timeoutMs: 50 }).stats(),
      unreachable(/deadline/),
    );
    await new Promise(resolve => (server.closeAllConnections(), server.close(resolve)));
    await assert.rejects(createNodeClient({ uri, token: 't' }).stats(), unreachable(/ECONNREFUSED/));
    assert.equal(await createNodeClient({ uri, token: 't' }).ready(), false);
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  });

  it('also ends a body that stalls', async () => {
    answer = (_request, response) => response.writeHead(200).write('{"half":');
    await assert.rejects(createNodeClient({ uri, token: 't', timeoutMs: 100 }).stats(), {
      code: 'HF_NODE_UNREACHABLE',
    });
  });

  it('uploads bytes and files, and tells created from known', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-client-'));
    try {
      const path = join(directory, 'a.zip');
      await writeFile(path, 'from a file');
      const client = createNodeClient({ uri, token: 't' });
      answer = json(201, { packageName: 'app' });
      assert.equal((await client.uploadPackage({ path }, { makeCurrent: false })).created, true);
      answer = json(200, { packageName: 'app' });
      assert.equal((await client.uploadPackage(Buffer.from('bytes'), { makeCurrent: true })).created, false);
      assert.deepEqual(
        requests.map(({ method, body, headers }) => [method, body, headers['content-type']]),
        [
          ['POST', 'from a file', 'application/zip'],
          ['PUT', 'bytes', 'application/zip'],
        ],
      );
      await assert.rejects(client.uploadPackage({ path: `${path}.none` }, { makeCurrent: false }), {
        code: 'HF_USAGE',
      });
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('sends no bytes to a node that has them, and all to one that has not or cannot be asked', async () => {
    const client = createNodeClient({ uri, token: 't' });
    const zip = Buffer.from('bytes');
    const options = { makeCurrent: false, sha256: 'ab'.repeat(32) };
    answer = json(200, { packageName: 'app' });
    assert.equal((await client.uploadPackage(zip, options)).created, false);
    for (const code of ['HF_PACKAGE_NOT_FOUND', 'HF_REQUEST_INVALID']) {
      answer = (request, response) => {
        if (request.url!.includes('?')) json(404, { code, message: 'send it' })(request, response);
        else json(201, { packageName: 'app' })(request, response);
      };
      assert.equal((await client.uploadPackage(zip, options)).created, true);
    }
    answer = json(503, { code: 'HF_CAPACITY', message: 'full' });
    await assert.rejects(client.uploadPackage(zip, options), { code: 'HF_CAPACITY' });
    const asked = [`/api/node/packages?sha256=${'ab'.repeat(32)}`, ''];
    const sent = ['/api/node/packages', 'bytes'];
    assert.deepEqual(
      requests.map(({ url, body }) => [url, body]),
      [asked, asked, sent, asked, sent, asked],
    );
  });

  it('hears of an upload that is refused before all of it was sent, and ends one at its deadline', async () => {
    const refusing = createServer((request, response) => {
      if (request.method === 'PUT') return; // never answers
      json(413, { code: 'HF_PACKAGE_TOO_LARGE', message: 'too large' })(request, response);
    });
    await new Promise<void>(resolve => refusing.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = refusing.address() as AddressInfo;
      const client = createNodeClient({ uri: `http://127.0.0.1:${port}`, token: 't' });
      const zip = Buffer.alloc(32 * 1024 * 1024);
      await assert.rejects(client.uploadPackage(zip, { makeCurrent: false }), {
        code: 'HF_PACKAGE_TOO_LARGE',
      });
      await assert.rejects(client.uploadPackage(zip, { makeCurrent: true, timeoutMs: 100 }), {
        code: 'HF_NODE_UNREACHABLE',
        message: /deadline/,
      });
    } finally {
      refusing.closeAllConnections();
      await new Promise(resolve => refusing.close(resolve));
    }
  });

  it('yields events until the signal aborts', async () => {
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('event: a\ndata: {"type":"a","at":"now"}\n\n');
    };
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const event of createNodeClient({ uri, token: 't' }).events(stop.signal)) {
      seen.push(event.type);
      stop.abort();
    }
    assert.deepEqual(seen, ['a']);
  });

  it('throws when the stream of events breaks', async () => {
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': hello\n\n', () => response.destroy());
    };
    await assert.rejects(
      async () => {
        for await (const event of createNodeClient({ uri, token: 't' }).events(
          new AbortController().signal,
        )) {
          assert.fail(event.type);
        }
      },
      { code: 'HF_NODE_UNREACHABLE' },
    );
  });
});
