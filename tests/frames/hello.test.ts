import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createSystem } from '#core';
import { createFrameServer, dial, type Dialed, type FrameServer } from '#frames';
import { collector, plain } from './pair.ts';

const system = createSystem();

describe('the beginning of a connection in frames', () => {
  let frames: FrameServer;
  let server: Server;
  let address: string;
  let executed: string[];
  beforeEach(async () => {
    executed = [];
    frames = createFrameServer({
      system,
      secret: 'secret',
      serves: sessionId => sessionId === 'mine',
      onRequest(request, sessionId) {
        executed.push(`${sessionId} ${request.target}`);
        request.respond({ status: 200, reason: '', headers: '' }, 'hello', true);
      },
    });
    server = createServer((_request, response) => void response.writeHead(404).end());
    server.on('upgrade', (request, socket, head) => frames.accept(request, socket, head));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    frames.destroy();
    server.close();
    server.closeAllConnections();
  });

  function connect(
    change: { secret?: string; sessionId?: string; onLeaving?: () => void } = {},
  ): Promise<Dialed> {
    const nothing = () => {};
    return dial({
      system,
      address,
      sessionId: 'mine',
      secret: 'secret',
      timeoutMs: 20_000,
      onLeaving: nothing,
      onEnded: nothing,
      ...change,
    });
  }

  it('proves to each side that the other knows the secret, and then carries requests', async () => {
    const dialed = await connect();
    assert.equal(dialed.type, 'open');
    const answer = collector();
    const { promise, resolve } = Promise.withResolvers<void>();
    const taker = {
      ...answer,
      onHead: (head: Parameters<typeof answer.onHead>[0]) => (answer.onHead(head), resolve()),
    };
    if (dialed.type === 'open') dialed.link.send(plain, taker, 0);
    await promise;
    assert.deepEqual([answer.status, answer.body().toString(), executed], [200, 'hello', ['mine /a']]);
  });

  it('tells who knows another secret from who serves another session', async () => {
    const stranger = await connect({ secret: 'another' });
    assert.equal(stranger.type, 'unreachable');
    assert.match(stranger.type === 'unreachable' ? stranger.text : '', /does not know the cluster secret/);
    assert.equal((await connect({ sessionId: 'another' })).type, 'not-owner');
    assert.deepEqual(executed, []);
  });

  it('says which versions do not match', async () => {
    const request = httpRequest(address, {
      headers: { connection: 'upgrade', upgrade: 'holdfast-frames/99' },
    }).end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    assert.deepEqual([response.statusCode, response.headers.upgrade], [426, 'holdfast-frames/1']);
    response.resume();
    server.removeAllListeners('upgrade');
    server.on('upgrade', (_request, socket) => {
      socket.end('HTTP/1.1 426 Upgrade Required\r\nupgrade: holdfast-frames/99\r\ncontent-length: 0\r\n\r\n');
    });
    const dialed = await connect();
    assert.match(
      dialed.type === 'unreachable' ? dialed.text : '',
      /speaks holdfast-frames\/99, not holdfast-frames\/1/,
    );
  });

  it('lets everybody go before it ends, and takes nobody new', async () => {
    const left = Promise.withResolvers<void>();
    const dialed = await connect({ onLeaving: left.resolve });
    assert.equal(dialed.type, 'open');
    const answer = collector();
    if (dialed.type === 'open') dialed.link.send(plain, answer, 0);
    await system.timers.sleep(0);
    await Promise.all([frames.leave(), left.promise]);
    assert.ok(answer.status === 200 || answer.failure?.type === 'refused');
    assert.equal((await connect()).type, 'not-owner');
  });
});
