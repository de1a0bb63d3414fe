import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { createFixture, echo, raw, type Fixture, type Handler } from './support.ts';

describe('HTTP/1.1 through the router', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await createFixture();
  });
  afterEach(() => fixture.dispose());

  const last = 'connection: close\r\n';

  it('answers pipelined requests in order, whichever reader takes them and however slow the owner is', async () => {
    const handler: Handler = async (request, response, host) => {
      // The first ones take longest.
      const turns = 40 - Number(/\d+/.exec(request.url!)?.[0] ?? 0);
      for (let turn = 0; turn < turns; turn += 1) await new Promise(resolve => setImmediate(resolve));
      return echo(request, response, host);
    };
    await Promise.all([fixture.host({ handler }), fixture.host({ handler })]);
    const router = await fixture.router();
    const stream = Array.from({ length: 24 }, (_, index) => {
      const close = index === 23 ? last : '';
      if (index % 6 === 5) {
        return `POST /db/k${index} HTTP/1.1\r\nhost: h\r\n${close}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`;
      }
      return `PUT /db/k${index} HTTP/1.1\r\nhost: h\r\n${close}content-length: 3\r\n\r\nabc`;
    }).join('');
    const seen = await raw(router, stream);
    assert.deepEqual(
      [...seen.matchAll(/"url":"\/db\/k(\d+)"/g)].map(match => Number(match[1])),
      Array.from({ length: 24 }, (_, index) => index),
    );
    assert.equal(seen.match(/"body":"abc"/g)?.length, 24);
  });

  it('reads trailers and drops them, in requests and responses', async () => {
    await fixture.host({
      handler: (request, response, host) => {
        if (request.method === 'POST') return echo(request, response, host);
        response.writeHead(200, { trailer: 'x-sum' });
        response.write('body');
        response.addTrailers({ 'x-sum': '1' });
        response.end();
      },
    });
    const router = await fixture.router();
    const seen = await raw(
      router,
      'POST /db/a HTTP/1.1\r\nhost: h\r\ntrailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n' +
        `GET /db/a HTTP/1.1\r\nhost: h\r\n${last}\r\n`,
    );
    assert.match(seen, /"body":"abc"/);
    assert.doesNotMatch(seen, /x-t: |x-sum: /);
    assert.match(seen, /4\r\nbody\r\n0\r\n\r\n$/);
  });

  it('serves HTTP/1.0, whose clients know no chunks', async () => {
    await fixture.host({
      handler: (_request, response) => {
        response.write('in ');
        response.end('pieces');
      },
    });
    const seen = await raw(await fixture.router(), 'GET /db/a HTTP/1.0\r\nhost: h\r\n\r\n');
    assert.match(seen, /^HTTP\/1\.1 200 /);
    assert.match(seen, /\r\n\r\nin pieces$/);
    assert.doesNotMatch(seen, /transfer-encoding/i);
  });

  it('gives what has no length to a client of HTTP/1.1 in chunks, and keeps the connection', async () => {
    await fixture.host({
      handler: (_request, response) => {
        response.write('in ');
        response.end('pieces');
      },
    });
    const router = await fixture.router();
    const seen = await raw(
      router,
      `GET /db/a HTTP/1.1\r\nhost: h\r\n\r\nGET /db/a HTTP/1.1\r\nhost: h\r\n${last}\r\n`,
    );
    const answers = seen.split(/(?=HTTP\/1\.1 200)/);
    assert.equal(answers.length, 2);
    for (const answer of answers) {
      assert.match(answer, /transfer-encoding: chunked\r\n/i);
      assert.match(answer, /0\r\n\r\n$/);
    }
  });

  it('passes a header that comes twice on twice, both ways', async () => {
    await fixture.host({
      handler: (request, response) => {
        response.writeHead(200, ['set-cookie', 'a=1', 'set-cookie', 'b=2', 'content-length', '0']);
        response.end();
        assert.deepEqual(request.headersDistinct['x-two'], ['1', '2']);
      },
    });
    const seen = await raw(
      await fixture.router(),
      `GET /db/a HTTP/1.1\r\nhost: h\r\nx-two: 1\r\nx-two: 2\r\n${last}\r\n`,
    );
    assert.match(seen, /^HTTP\/1\.1 200 /);
    assert.deepEqual(seen.match(/set-cookie: \w=\d/gi), ['set-cookie: a=1', 'set-cookie: b=2']);
    assert.equal(seen.match(/^date:/gim)?.length, 1);
  });

  it('breaks the connection off when an owner’s answer does not come to its end', async () => {
    await fixture.host({
      handler: async (request, response) => {
        request.resume();
        response.writeHead(200, { 'content-length': '100' });
        await new Promise<void>(resolve => response.write('half', () => resolve()));
        response.destroy();
      },
    });
    const router = await fixture.router();
    const socket = connect(router.address().port, '127.0.0.1');
    socket.on('error', () => {}); // it may be a reset
    socket.write('POST /db/a HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n');
    let seen = '';
    socket.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    await once(socket, 'close');
    assert.equal(
      seen.match(/HTTP\/1\.1/g)?.length ?? 0,
      seen.includes('half') ? 1 : seen.match(/HTTP\/1\.1 50/g)!.length,
    );
  });

  it('goes on after an answer that came before the body had ended', async () => {
    await fixture.host({
      handler: (request, response, host) => {
        if (request.method === 'GET') return echo(request, response, host);
        response.writeHead(403, { 'content-length': '2' }).end('no');
        request.resume();
      },
    });
    const router = await fixture.router();
    const socket = connect(router.address().port, '127.0.0.1');
    socket.write('POST /db/a HTTP/1.1\r\nhost: h\r\ncontent-length: 200000\r\n\r\nbegun');
    const [first] = (await once(socket, 'data')) as [Buffer];
    assert.match(first.toString(), /^HTTP\/1\.1 403 /);
    socket.write(`${'x'.repeat(199_995)}GET /db/a HTTP/1.1\r\nhost: h\r\n${last}\r\n`);
    assert.match(await text(socket), /HTTP\/1\.1 200 [^]*"url":"\/db\/a"/);
  });
});
