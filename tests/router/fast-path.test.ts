import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { createServer } from 'node:http';
import { createSystem } from '#core';
import type { Exchange } from '../../router/exchange.ts';
import { readHead } from '../../router/fast/head.ts';
import { createListener } from '../../router/listener.ts';
import { NodeExchange } from '../../router/node-exchange.ts';
import { fuzzHeads } from './fuzz/differential.ts';
import { hostileStream, randomFrom } from './fuzz/heads.ts';

const read = (head: string) => readHead(Buffer.from(head, 'latin1'), 0, null);

describe('heads on the fast path', () => {
  it('are plain requests, and nothing else', () => {
    const head = read('POST /db/a?b HTTP/1.1\r\nHost: h\r\nX:  y \r\nContent-Length: 5\r\n\r\nhello');
    assert.ok(head);
    assert.equal(head.method, 'POST');
    assert.equal(head.target, '/db/a?b');
    assert.deepEqual(head.rawHeaders, ['Host', 'h', 'X', 'y', 'Content-Length', '5']);
    assert.equal(head.bodyBytes, 5);
    for (const other of [
      'GET /a HTTP/1.1\r\nhost: h\r\n', // not all of it
      'GET /a HTTP/1.1\r\n\r\n',
      'GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n',
      'GET /a HTTP/1.0\r\nhost: h\r\n\r\n',
      'GET http://h/a HTTP/1.1\r\nhost: h\r\n\r\n',
      'OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n',
      'CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n',
      'BREW /a HTTP/1.1\r\nhost: h\r\n\r\n',
      'GET /a HTTP/1.1\nhost: h\n\n',
      'GET /a HTTP/1.1\r\nhost : h\r\n\r\n',
      'GET /a HTTP/1.1\r\nhost: h\r\nx: a\r\n b\r\n\r\n',
      'GET /a HTTP/1.1\r\nhost: h\r\nx: a\rb\r\n\r\n',
      'GET /a HTTP/1.1\r\nhost: h\r\nx: a\0\r\n\r\n',
      'POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      'POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx',
      'POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 01\r\n\r\nx',
      'POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: +1\r\n\r\nx',
      'POST /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx',
      'GET /a HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\n\r\n',
      'GET /a HTTP/1.1\r\nhost: h\r\nconnection: x\r\n\r\n',
      `GET /a HTTP/1.1\r\nhost: h\r\nx: ${'y'.repeat(10_000)}\r\n\r\n`,
      `GET /a HTTP/1.1\r\nhost: h\r\n${'x: y\r\n'.repeat(100)}\r\n`,
    ]) {
      assert.equal(read(other), null, JSON.stringify(other.slice(0, 80)));
    }
  });

  it('are read by Node’s parser as the same requests, whatever the bytes', async function () {
    this.timeout(60_000);
    const seed = Math.floor(performance.timeOrigin) % 1_000_000_007;
    const report = await fuzzHeads({ seed, streams: 10_000 });
    assert.deepEqual(report.disagreements.slice(0, 3), [], `seed ${seed}`);
    assert.ok(report.accepted > 500, `only ${report.accepted} were accepted`);
  });
});

interface Seen {
  head: unknown;
  /** Null until it has come to its end. */
  body: string | null;
}

/** Notes what it reads, and answers. */
function recorder(): { seen: Seen[]; onExchange: (exchange: Exchange) => void } {
  const seen: Seen[] = [];
  function onExchange(exchange: Exchange): void {
    const { method, target, rawHeaders } = exchange;
    const entry: Seen = { head: { method, target, rawHeaders }, body: null };
    seen.push(entry);
    if (exchange.expectsContinue) exchange.writeContinue(); // a client that was not invited gets its answer and no further one
    const answer = (body: string) => {
      entry.body = body;
      exchange.respond(200, ['content-length', '2']);
      exchange.end(Buffer.from('ok'));
    };
    const whole = exchange.announcedBytes === 0 ? null : exchange.takeBody();
    if (exchange.announcedBytes === 0 || whole) return answer(whole?.toString('latin1') ?? '');
    let body = '';
    const onData = (chunk: Buffer) => void (body += chunk.toString('latin1'));
    exchange.readBody({ onData, onEnd: () => answer(body), onIdle() {}, onLost() {} }, 60_000);
  }
  return { seen, onExchange };
}

describe('connections that begin on the fast path', () => {
  /** Sends a stream in pieces, and waits for the end of the connection. */
  async function send(port: number, pieces: readonly Buffer[]): Promise<void> {
    const socket = connect(port, '127.0.0.1');
    socket.setNoDelay(true).on('error', () => {}); // it may be refused in the middle
    await once(socket, 'connect');
    const all = text(socket).catch(() => '');
    for (const piece of pieces) {
      socket.write(piece);
      await new Promise(resolve => setImmediate(resolve));
    }
    // The end, for both servers: a last request that asks for it, or that cannot be one. Or it is part of a body that never ends.
    socket.write('GET /last HTTP/1.1\r\nhost: last\r\nconnection: close\r\n\r\n\0');
    const endless = setTimeout(() => socket.destroy(), 1_000);
    await all;
    clearTimeout(endless);
    socket.destroy();
  }

  /** Requests of both readers, with nothing wrong, in an order of chance. */
  function plainStream(random: () => number): Buffer {
    const requests = [
      'GET /a?b=c HTTP/1.1\r\nhost: h\r\n\r\n',
      'HEAD /a HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nx-a: 2\r\n\r\n',
      'POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello',
      'PUT /a HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n',
      'POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
      'POST /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx',
      'PROPFIND /a HTTP/1.1\r\nhost: h\r\n\r\n',
    ];
    const count = 1 + Math.floor(random() * 5);
    const chosen = Array.from({ length: count }, () => requests[Math.floor(random() * requests.length)]!);
    return Buffer.from(chosen.join(''));
  }

  function cut(bytes: Buffer, random: () => number): Buffer[] {
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      const next = random() < 0.5 ? bytes.length : at + 1 + Math.floor(random() * 60);
      pieces.push(bytes.subarray(at, next));
      at = next;
    }
    return pieces;
  }

  it('are read as node:http reads them, whatever comes in whatever pieces', async function () {
    this.timeout(60_000);
    const here = recorder();
    const there = recorder();
    const end = (_request: unknown, socket: Duplex) => void socket.destroy();
    const listener = createListener({
      system: createSystem(),
      newRequestId: () => 'id',
      onExchange: exchange => (exchange.upgrade ? exchange.destroy() : here.onExchange(exchange)),
      onConnect: end,
    });
    await listener.listen({ host: '127.0.0.1', port: 0, reusePort: false });
    const node = createServer(
      // As the router: other upgrades are offers that a server may pass over.
      { shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket' },
      (request, response) => there.onExchange(new NodeExchange(request, response, false)),
    );
    node.on('upgrade', end).on('connect', end).listen(0, '127.0.0.1');
    await once(node, 'listening');
    const seed = Math.floor(performance.timeOrigin) % 1_000_000_007;
    const random = randomFrom(seed);
    try {
      for (let round = 0; round < 120; round += 1) {
        const plain = round % 2 === 0;
        const streams = plain ? [plainStream(random)] : [hostileStream(random), hostileStream(random)];
        const bytes = Buffer.concat([Buffer.from('GET /first HTTP/1.1\r\nhost: h\r\n\r\n'), ...streams]);
        const pieces = cut(bytes, random);
        await send(listener.address().port, pieces);
        await send((node.address() as AddressInfo).port, pieces);
        const [mine, nodes] = [here.seen.splice(0), there.seen.splice(0)];
        const facts = `seed ${seed}, round ${round}: ${JSON.stringify(bytes.toString('latin1'))}`;
        if (plain) {
          assert.deepEqual(mine, nodes, facts);
          assert.equal((mine.at(-1)!.head as { target: string }).target, '/last', facts);
          continue;
        }
        // With an error a connection ends, and when that meets what is still on its way is a matter of time.
        const both = Math.min(mine.length, nodes.length);
        assert.deepEqual(
          mine.slice(0, both).map(one => one.head),
          nodes.slice(0, both).map(one => one.head),
          facts,
        );
        for (let index = 0; index < both; index++) {
          const [ours, theirs] = [mine[index]!.body, nodes[index]!.body];
          assert.ok(ours === null || theirs === null || ours === theirs, facts);
        }
      }
    } finally {
      node.close();
      node.closeAllConnections();
      await listener.close(AbortSignal.abort());
    }
  });
});
