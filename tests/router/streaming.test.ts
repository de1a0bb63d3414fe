import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate as turn } from 'node:timers/promises';
import type { ErrorBody } from '#core';
import { ask, createFixture, echo, raw, until, type Echo, type Fixture } from './support.ts';

const mebibyte = 1024 * 1024;

/** So many chunks of 64 KiB, made as they are asked for. */
function* chunks(bytes: number) {
  const chunk = Buffer.alloc(64 * 1024, 'x');
  for (let sent = 0; sent < bytes; sent += chunk.length) yield chunk;
}

describe('streaming', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await createFixture();
  });
  afterEach(() => fixture.dispose());

  function open(
    router: { address(): { port: number } },
    path: string,
    options: { method?: string; headers?: Record<string, string | number> } = {},
  ) {
    return httpRequest({ host: '127.0.0.1', port: router.address().port, path, agent: false, ...options });
  }

  it('carries 50 MiB up and down with bounded memory', async function () {
    this.timeout(60_000);
    await fixture.host({
      handler: async (request, response) => {
        await pipeline(request, response);
      },
    });
    const router = await fixture.router();
    const before = process.memoryUsage().rss;
    let peak = 0;
    let received = 0;
    const request = open(router, '/db/a', { method: 'POST' });
    const response = once(request, 'response') as Promise<[IncomingMessage]>;
    const sent = pipeline(Readable.from(chunks(50 * mebibyte)), request);
    const [answer] = await response;
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      received += chunk.length;
      peak = Math.max(peak, process.memoryUsage().rss);
    }
    await sent;
    assert.equal(received, 50 * mebibyte);
    // Client, router and host share this process; kept whole, the body would be there several times.
    assert.ok(peak - before < 120 * mebibyte, `${Math.round((peak - before) / mebibyte)} MiB`);
  });

  it('holds the owner back when the client reads slowly', async () => {
    let written = 0;
    await fixture.host({
      handler: async (request, response) => {
        request.resume();
        for (const chunk of chunks(40 * mebibyte)) {
          if (response.destroyed) return;
          if (!response.write(chunk)) await once(response, 'drain');
          written += chunk.length;
        }
        response.end();
      },
    });
    const router = await fixture.router();
    const request = open(router, '/db/a').end();
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    answer.pause();
    await settled(() => written);
    assert.ok(written < 30 * mebibyte, `${written} bytes went into a client that does not read`);
    let received = 0;
    answer.on('data', (chunk: Buffer) => (received += chunk.length)).resume();
    await once(answer, 'end');
    assert.equal(received, 40 * mebibyte);
  });

  it('holds the client back when the owner reads slowly', async () => {
    const go = Promise.withResolvers<void>();
    await fixture.host({
      handler: async (request, response) => {
        await go.promise;
        let bytes = 0;
        for await (const chunk of request as AsyncIterable<Buffer>) bytes += chunk.length;
        response.end(String(bytes));
      },
    });
    const router = await fixture.router();
    const request = open(router, '/db/a', { method: 'PUT' });
    let written = 0;
    const sent = (async () => {
      for (const chunk of chunks(40 * mebibyte)) {
        if (!request.write(chunk)) await once(request, 'drain');
        written += chunk.length;
      }
      request.end();
    })();
    await settled(() => written);
    assert.ok(written < 30 * mebibyte, `${written} bytes went to an owner that does not read`);
    go.resolve();
    const [[answer]] = await Promise.all([once(request, 'response') as Promise<[IncomingMessage]>, sent]);
    assert.equal(Buffer.concat(await answer.toArray()).toString(), String(40 * mebibyte));
  });

  it('passes each piece on as it comes, both ways at once', async () => {
    await fixture.host({
      handler: async (request, response) => {
        response.flushHeaders();
        for await (const chunk of request as AsyncIterable<Buffer>)
          response.write(`heard ${chunk.toString()}`);
        response.end();
      },
    });
    const router = await fixture.router();
    const request = open(router, '/db/a', { method: 'POST' });
    request.write('one');
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    assert.equal(((await once(answer, 'data')) as [Buffer])[0].toString(), 'heard one');
    request.write('two');
    assert.equal(((await once(answer, 'data')) as [Buffer])[0].toString(), 'heard two');
    request.end();
    await once(answer, 'end');
  });

  it('passes the head on before any data comes', async () => {
    const go = Promise.withResolvers<void>();
    await fixture.host({
      handler: async (request, response) => {
        request.resume();
        response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
        await go.promise;
        response.end('data: 1\n\n');
      },
    });
    const request = open(await fixture.router(), '/db/a').end();
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    go.resolve();
    assert.equal(Buffer.concat(await answer.toArray()).toString(), 'data: 1\n\n');
  });

  it('passes on an answer that comes before the body has ended, and serves the next request', async () => {
    await fixture.host({
      handler: (request, response, host) => {
        if (request.method === 'GET') return echo(request, response, host);
        response.writeHead(403).end('no thanks');
        request.resume();
      },
    });
    const router = await fixture.router();
    const request = open(router, '/db/a', { method: 'POST' });
    request.on('error', () => {}); // the router may close before all is sent
    for (let sent = 0; sent < 20; sent++) request.write(Buffer.alloc(64 * 1024));
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    assert.equal(answer.statusCode, 403);
    assert.equal(Buffer.concat(await answer.toArray()).toString(), 'no thanks');
    request.end();
    assert.equal((await ask(router, '/db/a')).status, 200);
  });

  it('lets a client read why its body was refused', async () => {
    await fixture.host();
    const router = await fixture.router({ maxBodyBytes: 200_000 });
    const announced = await ask(router, '/db/a', { method: 'POST', body: Buffer.alloc(300_000) });
    assert.equal(announced.status, 413);
    assert.equal(announced.json<ErrorBody>().code, 'HF_REQUEST_TOO_LARGE');
    const request = open(router, '/db/a', { method: 'POST' });
    request.on('error', () => {}); // as above
    for (let sent = 0; sent < 10; sent++) request.write(Buffer.alloc(64 * 1024));
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    assert.equal(answer.statusCode, 413);
    assert.equal(answer.headers.connection, 'close');
    request.end();
    answer.resume();
    await once(answer, 'end');
    assert.equal((await ask(router, '/db/a', { method: 'POST', body: Buffer.alloc(200_000) })).status, 200);
  });

  it('keeps bodies for another try only as far as the budget goes', async () => {
    let first = true;
    const hosts = [];
    for (let count = 0; count < 2; count++) {
      hosts.push(
        await fixture.host({
          handler: async (request, response, host) => {
            if (!first) return echo(request, response, host);
            first = false;
            for await (const _chunk of request); // takes all, then breaks off
            request.socket.destroy();
          },
        }),
      );
    }
    const router = await fixture.router({ maxHeldBytes: 50_000 });
    const answer = await ask(router, '/db/a', { method: 'PUT', body: Buffer.alloc(100_000) });
    assert.equal(answer.status, 502);
    first = true;
    assert.equal((await ask(router, '/db/a', { method: 'PUT', body: Buffer.alloc(40_000) })).status, 200);
  });

  it('invites a client that waits for 100 Continue, and spares it the body when there is no route', async () => {
    await fixture.host();
    const router = await fixture.router();
    for (const size of [10, 100_000]) {
      const request = open(router, '/db/a', {
        method: 'POST',
        headers: { expect: '100-continue', 'content-length': size },
      });
      request.flushHeaders();
      await once(request, 'continue');
      request.end('x'.repeat(size));
      const [answer] = (await once(request, 'response')) as [IncomingMessage];
      const echoed = JSON.parse(Buffer.concat(await answer.toArray()).toString()) as Echo;
      assert.equal(echoed.body.length, size);
    }
    const request = open(router, '/none', {
      method: 'POST',
      headers: { expect: '100-continue', 'content-length': 10 },
    });
    request.on('continue', () => assert.fail('it was invited'));
    request.flushHeaders();
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    assert.equal(answer.statusCode, 404);
    answer.resume();
    request.destroy();
  });

  it('answers HEAD, 204 and 304 without a body, and keeps the connection in step', async () => {
    await fixture.host({
      handler: (request, response, host) => {
        request.resume();
        if (request.url === '/db/204') return void response.writeHead(204).end();
        if (request.url === '/db/304') return void response.writeHead(304, { etag: '"1"' }).end();
        if (request.method === 'HEAD')
          return void response.writeHead(200, { 'content-length': '1234' }).end();
        return echo(request, response, host);
      },
    });
    const router = await fixture.router();
    const head = await ask(router, '/db/a', { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.headers['content-length'], '1234');
    assert.equal(head.text, '');
    const seen = await raw(
      router,
      ['HEAD /db/a', 'GET /db/204', 'GET /db/304', 'GET /db/a']
        .map(
          (line, index) => `${line} HTTP/1.1\r\nhost: h\r\n${index === 3 ? 'connection: close\r\n' : ''}\r\n`,
        )
        .join(''),
    );
    assert.deepEqual(seen.match(/^HTTP\/1\.1 \d+/gm), [
      'HTTP/1.1 200',
      'HTTP/1.1 204',
      'HTTP/1.1 304',
      'HTTP/1.1 200',
    ]);
    assert.match(seen, /"url":"\/db\/a"/);
  });

  it('lets go of a client that leaves in the middle of its body', async () => {
    const host = await fixture.host();
    const router = await fixture.router();
    const request = open(router, '/db/a', { method: 'POST' });
    request.on('error', () => {}); // it is destroyed below
    request.write(Buffer.alloc(100_000));
    await until(() => host.executed.length === 1, 'the request is with the host');
    request.destroy();
    await until(() => router.counters.active === 0, 'the router has let go');
    assert.equal((await ask(router, '/db/a')).status, 200);
  });

  it('serves many requests over one connection, with and without bodies', async () => {
    await fixture.host();
    const router = await fixture.router();
    const socketText = Array.from({ length: 30 }, (_, index) => {
      const body = index % 3 === 0 ? '' : 'b'.repeat(index * 1_000);
      const last = index === 29 ? 'connection: close\r\n' : '';
      return `${body ? 'POST' : 'GET'} /db/k${index} HTTP/1.1\r\nhost: h\r\ncontent-length: ${body.length}\r\n${last}\r\n${body}`;
    }).join('');
    const seen = await raw(router, socketText);
    assert.equal(seen.match(/HTTP\/1\.1 200/g)?.length, 30);
  });

  /** Waits until a figure has stopped growing for a while. */
  async function settled(figure: () => number): Promise<void> {
    let last = -1;
    let since = performance.now();
    while (performance.now() - since < 300 || figure() === 0) {
      if (figure() !== last) {
        last = figure();
        since = performance.now();
      }
      await turn();
    }
  }
});
