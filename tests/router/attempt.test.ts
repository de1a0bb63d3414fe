import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { createSystem, type ProcessId, type SessionId } from '#core';
import type { ResponseReceiver } from '#frames';
import type { Upstream } from '#ownership';
import { startAttempt, type Outcome } from '../../router/attempt.ts';
import { createListener } from '../../router/listener.ts';

describe('an attempt', () => {
  it('lets no host break the framing of a client’s connection, or the router', async () => {
    const outcomes: Outcome[] = [];
    let block = '';
    const upstream: Upstream = {
      sessionId: 's' as SessionId,
      processId: 'p' as ProcessId,
      inFlight: 0,
      send(_request, receiver: ResponseReceiver) {
        const headers = Buffer.from(block, 'latin1');
        setImmediate(() =>
          receiver.onHead({ status: 200, reason: '', headers, body: Buffer.from('ok'), end: true }),
        );
        return { write: () => true, end() {}, cancel() {}, pause() {}, resume() {} };
      },
    };
    const listener = createListener({
      system: createSystem(),
      newRequestId: () => 'id',
      onConnect() {},
      onExchange(exchange) {
        const { method, target } = exchange;
        const facts = { method, target, headers: [], body: null, right: null, requestId: 'id', exchange };
        void startAttempt(upstream, { ...facts, onResponse() {} }).outcome.then(outcome => {
          outcomes.push(outcome);
          if (outcome.type === 'broken') exchange.destroy();
        });
      },
    });
    await listener.listen({ host: '127.0.0.1', port: 0, reusePort: false });
    try {
      for (block of [
        'x: a\nset-cookie: b\r\n',
        'x: a\r\rb\r\n',
        'x y: a\r\n',
        'Transfer-Encoding: chunked\r\n',
        'x-own: yes\r\n',
      ]) {
        const socket = connect(listener.address().port, '127.0.0.1');
        await once(socket, 'connect');
        socket.write('GET /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n');
        const seen = await text(socket);
        if (block === 'x-own: yes\r\n') assert.match(seen, /^HTTP\/1\.1 200 [^]*x-own: yes\r\n[^]*ok/);
        else assert.equal(seen, '', JSON.stringify(block));
      }
    } finally {
      await listener.close(AbortSignal.abort());
    }
    assert.deepEqual(
      outcomes.map(outcome => outcome.type),
      ['broken', 'broken', 'broken', 'broken', 'answered'],
    );
  });
});
