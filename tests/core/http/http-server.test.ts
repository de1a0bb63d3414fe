import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { RequestListener, Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { acceptableRequestId, createHttpServer, type ErrorBody } from '#core';

describe('HTTP server', () => {
  let server: Server | null = null;
  const sockets: Socket[] = [];
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server?.closeAllConnections();
    await new Promise(resolve => (server ? server.close(resolve) : resolve(null)));
    server = null;
  });

  async function start(onRequest: RequestListener): Promise<void> {
    server = createHttpServer({
      headerBytesMax: 1_024,
      keepAliveMs: 60_000,
      requestMs: 0,
      headersMs: 300,
      newRequestId: () => 'made-here',
      onRequest,
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }

  /** Everything that the server says until it ends the connection, which the client never does by itself. */
  function say(text: string): { heard: () => string; ended: Promise<void> } {
    const { port } = server!.address() as AddressInfo;
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    sockets.push(socket);
    let heard = '';
    socket.on('data', chunk => (heard += chunk.toString()));
    socket.on('error', () => {}); // a reset is an end, too
    socket.write(text);
    const ended = new Promise<void>(resolve => {
      socket.once('end', resolve);
      socket.once('close', () => resolve());
    });
    return { heard: () => heard, ended };
  }

  it('answers what is no HTTP in the shape of the contract, and keeps nothing of the connection', async () => {
    await start((_request, response) => response.end());
    const cases = [
      ['nonsense\r\n\r\n', 400, 'HF_REQUEST_INVALID'],
      [`GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(2_000)}\r\n\r\n`, 431, 'HF_HEADERS_TOO_LARGE'],
      ['GET / HTTP/1.1\nhost: a\n\n', 400, 'HF_REQUEST_INVALID'],
      ['GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n z\r\n\r\n', 400, 'HF_REQUEST_INVALID'],
      [
        'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
        400,
        'HF_REQUEST_INVALID',
      ],
    ] as const;
    for (const [text, statusCode, code] of cases) {
      const { heard, ended } = say(text);
      await ended;
      const [head, body] = heard().split('\r\n\r\n') as [string, string];
      assert.match(head, new RegExp(`^HTTP/1\\.1 ${statusCode} `));
      assert.match(head, /\r\nx-request-id: made-here\r\n/);
      const error = JSON.parse(body) as ErrorBody;
      assert.equal(error.statusCode, statusCode);
      assert.equal(error.code, code);
      assert.ok(error.error && error.message);
    }
    const left = () =>
      new Promise<number>(resolve => server!.getConnections((_error, count) => resolve(count)));
    while ((await left()) > 0) await new Promise(resolve => setImmediate(resolve));
  });

  it('serves requests that were sent ahead, in order', async () => {
    await start((request, response) => response.end(`<${request.url}>`));
    const texts = Array.from({ length: 30 }, (_, index) => {
      const last = index === 29 ? 'connection: close\r\n' : '';
      return `GET /${index} HTTP/1.1\r\nhost: a\r\n${last}\r\n`;
    });
    const { heard, ended } = say(texts.join(''));
    await ended;
    const order = [...heard().matchAll(/<\/(\d+)>/g)].map(([, index]) => Number(index));
    assert.deepEqual(
      order,
      Array.from({ length: 30 }, (_, index) => index),
    );
  });

  it('ends a connection that sends thousands ahead, after having begun few of them', async () => {
    let begun = 0;
    await start((_request, response) => {
      begun++;
      setImmediate(() => response.end());
    });
    const { ended } = say('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(5_000));
    await ended;
    assert.ok(begun <= 32, `${begun}`);
  });

  it('does not garble an answer that is under way', async () => {
    await start((_request, response) => {
      response.writeHead(200, { 'content-length': 10 });
      response.write('half');
    });
    const { heard, ended } = say(
      'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n',
    );
    while (!heard().includes('half')) await new Promise(resolve => setImmediate(resolve));
    sockets[0]!.write('this is no chunk\r\n');
    await ended;
    assert.ok(heard().endsWith('half'), heard());
  });

  it('ends a connection that never finishes its head, also where bodies may take for ever', async () => {
    await start((_request, response) => response.end());
    const [silent, half] = [say(''), say('GET / HTTP/1.1\r\nhost: a\r\nx: ')];
    await Promise.all([silent.ended, half.ended]);
    assert.match(half.heard(), /^HTTP\/1\.1 408 /);
  });

  it('takes request ids that a log can hold', () => {
    for (const id of ['a', 'a-b_c.d:e/f+g=', 'x'.repeat(128)]) assert.equal(acceptableRequestId(id), id);
    for (const id of [undefined, '', 'a b', 'a\n', 'a\tb', 'ü', '<i>', 'x'.repeat(129), ['a', 'b']]) {
      assert.equal(acceptableRequestId(id), null);
    }
  });
});
