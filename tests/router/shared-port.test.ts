import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { createFixture, ask, until, type Fixture } from './support.ts';
import { skipLoudly } from '../support/skip-loudly.ts';

describe('routers that share a port', () => {
  let fixture: Fixture;
  before(function () {
    if (process.platform !== 'linux') skipLoudly(this, 'ports are shared on Linux only');
  });
  beforeEach(async () => {
    fixture = await createFixture();
  });
  afterEach(() => fixture.dispose());

  const request = 'GET /db/a HTTP/1.1\r\nhost: h\r\n\r\n';

  async function two() {
    await fixture.host();
    const first = await fixture.router({ reusePort: true });
    const second = await fixture.router({ reusePort: true, port: first.address().port });
    assert.equal(second.address().port, first.address().port);
    return { first, second };
  }

  it('both get connections, and one goes on when the other stops', async () => {
    const { first, second } = await two();
    await until(async () => {
      assert.equal((await ask(first, '/db/a')).status, 200);
      return first.counters.requests > 0 && second.counters.requests > 0;
    }, 'both have had requests');
    await first.stop(new AbortController().signal);
    for (let count = 0; count < 10; count += 1) assert.equal((await ask(second, '/db/a')).status, 200);
  });

  it('refuse a router that shares nothing', async () => {
    const { first } = await two();
    await assert.rejects(fixture.router({ port: first.address().port }), { code: 'HF_PORT_IN_USE' });
  });

  it('lose no connection that the system has accepted when one of them stops', async () => {
    const { first } = await two();
    // One turn of the event loop: the handshakes are done, and nobody has taken the connections.
    const sockets = Array.from({ length: 60 }, () => connect(first.address().port, '127.0.0.1'));
    await new Promise(resolve => process.nextTick(resolve));
    const stopped = first.stop(new AbortController().signal);
    await Promise.all(
      sockets.map(async socket => {
        await once(socket, 'connect');
        socket.write(request);
        const [answer] = (await once(socket, 'data')) as [Buffer];
        assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
      }),
    );
    for (const socket of sockets) socket.destroy();
    await stopped;
  });

  it('answer what comes over connections that were there before, and tell clients to go', async () => {
    const { first } = await two();
    const sockets: Socket[] = [];
    // Fresh ones, and some that have had an answer on either path.
    for (let count = 0; count < 24; count += 1) {
      const socket = connect(first.address().port, '127.0.0.1');
      await once(socket, 'connect');
      sockets.push(socket);
      if (count % 3 === 0) continue;
      socket.write(
        count % 3 === 1
          ? request
          : request.replace('/1.1\r\n', '/1.1\r\nte:\r\nkeep-alive: x\r\nupgrade: none\r\n'),
      );
      await once(socket, 'data');
    }
    await until(async () => {
      await ask(first, '/db/a');
      return first.counters.requests > 0;
    }, 'the one that stops has had requests');
    const stopped = first.stop(new AbortController().signal);
    let dismissed = 0;
    await Promise.all(
      sockets.map(async socket => {
        socket.write(request);
        const [answer] = (await once(socket, 'data')) as [Buffer];
        assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
        if (!/^connection: close/im.test(answer.toString())) return socket.destroy();
        dismissed += 1;
        return text(socket);
      }),
    );
    assert.ok(dismissed > 0);
    await stopped;
  });
});
